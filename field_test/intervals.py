"""Confidence intervals of shares: Wilson's for passages, a bootstrap over passages for faces.

Faces of one passage are no independent trials: a passage that is missed is missed in all its frames. So
the interval of a share of faces draws whole passages, with replacement (Efron's percentiles).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_Z: Final = 1.959964
_DRAWS: Final = 1000


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of `hits` in `trials`; (0, 1) without trials (Wilson 1927)."""
    if trials == 0:
        return 0.0, 1.0
    share, square = hits / trials, _Z**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    reach = _Z * np.sqrt(share * (1 - share) / trials + square / (4 * trials**2)) / (1 + square / trials)
    return max(0.0, float(middle - reach)), min(1.0, float(middle + reach))


def over_groups(groups: Sequence[tuple[int, int]], *, seed: int = 7) -> tuple[float, float]:
    """Return the 95 % interval of sum(hits) / sum(trials) over groups of (hits, trials).

    Where all or none are hits, no draw differs: then Wilson's interval over the groups is given, which is
    the more careful one.
    """
    counts = np.array([one for one in groups if one[1] > 0], dtype=np.float64).reshape(-1, 2)
    if not len(counts):
        return 0.0, 1.0
    hits, trials = counts.sum(axis=0)
    if hits in {0.0, trials}:
        return wilson(len(counts) if hits else 0, len(counts))
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(counts), size=(_DRAWS, len(counts)))
    sums = counts[drawn].sum(axis=1)
    shares = sums[:, 0] / np.maximum(sums[:, 1], 1)
    low, high = np.percentile(shares, (2.5, 97.5))
    return float(low), float(high)
