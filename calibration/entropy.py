"""The range that loses the least information: Kullback-Leibler calibration.

Migacz, *8-bit inference with TensorRT* (GTC 2017, S7310): for every candidate range, what lies outside
is moved to its edge (P), the inside is merged into as many bins as there are levels and spread again
(Q), and the range with the smallest divergence of Q from P is taken. Bin for bin this is what ONNX
Runtime's ``HistogramCollector.get_entropy_threshold`` computes (its whole-number spreading and its
smoothing included; a test compares them), without its Python loops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

#: Symmetric signed eight bits without -128.
LEVELS: Final = 255
_SMOOTH: Final = 1e-4


def entropy_amax(counts: npt.NDArray[np.int64], amax: float, *, levels: int = LEVELS) -> float:
    """Return the range -r..r with the smallest divergence.

    Args:
        counts: (2n + 1,) histogram over -amax..amax in equal bins, the middle one around zero.
        amax: the largest magnitude that the histogram covers.
        levels: how many values the quantised type has.

    Raises:
        ValueError: an even number of bins, or fewer than `levels`.
    """
    bins = len(counts)
    if bins % 2 == 0 or bins < levels:
        msg = f"need an odd number of bins, at least {levels}; received {bins}"
        raise ValueError(msg)
    middle, half = bins // 2, levels // 2
    edge = np.linspace(-amax, amax, bins + 1)
    best, best_range = np.inf, amax
    for reach in range(half, middle + 1):
        divergence = _divergence(counts, middle - reach, min(middle + reach + 1, bins), levels)
        if divergence < best:
            best, best_range = divergence, float(edge[min(middle + reach + 1, bins)])
    return min(best_range, amax)


def _divergence(counts: npt.NDArray[np.int64], start: int, end: int, levels: int) -> float:
    inside = counts[start:end]
    reference = inside.copy()
    reference[0] += counts[:start].sum()
    reference[-1] += counts[end:].sum()
    merged = len(inside) // levels
    used = merged * levels
    sums = inside[:used].reshape(levels, merged).sum(axis=1)
    sums[-1] += inside[used:].sum()
    filled = (reference[:used].reshape(levels, merged) != 0).sum(axis=1)
    each = np.where(filled > 0, sums / np.maximum(filled, 1), 0).astype(np.int64)
    spread = np.zeros(len(inside), np.int64)
    spread[:used] = np.repeat(each, merged)
    p, q = _smoothed(reference), _smoothed(spread)
    if p is None or q is None:
        return float(np.inf)
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def _smoothed(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64] | None:
    """Return counts with a little moved from filled bins to empty ones; None where that cannot be."""
    empty = counts == 0
    filled = len(counts) - int(empty.sum())
    if not filled:
        return None
    taken = _SMOOTH * float(empty.sum()) / filled
    if taken >= 1:
        return None
    smooth = counts.astype(np.float64)
    smooth[empty] += _SMOOTH
    smooth[~empty] -= taken
    return smooth if (smooth > 0).all() else None
