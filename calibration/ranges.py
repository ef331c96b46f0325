"""What a tensor's values were, and five ways to choose the range that INT8 will cover.

Quantisation is symmetric: ``q = round(x / scale)`` in -127..127, ``scale = amax / 127``. A large amax
makes every step coarse, a small one cuts off the largest values. *max* cuts off nothing, *percentile*
a fixed share, *mse* balances both errors by their squares, *entropy* by information
(`calibration.entropy`). *wide*, half way between mse and max, is the default: on the average face mse is
a little better, but it cuts off what makes a rare face that face, and the gate asks for the worst one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from calibration.entropy import entropy_amax

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

BINS: Final = 4097
PERCENTILE: Final = 99.99
QMAX: Final = 127
#: Candidate ranges of `mse_range`, as shares of the largest value.
_CANDIDATES: Final = np.linspace(0.05, 1.0, 191)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of a tensor's values over -amax..amax in an odd number of equal bins, and its extremes."""

    counts: npt.NDArray[np.int64]
    amax: float
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse what no tensor can give."""
        if not (np.isfinite(self.amax) and self.amax > 0 and len(self.counts) % 2):
            msg = (
                f"need a finite range above 0 and odd bins; received {self.amax} and {len(self.counts)} bins"
            )
            raise ValueError(msg)

    @property
    def magnitudes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return the middle of each bin of the absolute value, and its count."""
        middle = len(self.counts) // 2
        folded = self.counts[middle:].copy()
        folded[1:] += self.counts[:middle][::-1]
        width = 2 * self.amax / len(self.counts)
        return np.arange(middle + 1, dtype=np.float64) * width, folded.astype(np.int64)

    def clipped_share(self, amax: float) -> float:
        """Return the share of values beyond `amax`."""
        at, counts = self.magnitudes
        return float(counts[at > amax].sum() / max(1, counts.sum()))


def bin_values(values: npt.NDArray[np.float32], amax: float, *, bins: int = BINS) -> npt.NDArray[np.int64]:
    """Return how many `values` fall into each bin over -amax..amax; what is beyond counts at the edge."""
    scaled = values.ravel() * np.float32(bins / (2 * amax)) + np.float32(bins / 2)
    place = np.clip(scaled.astype(np.int32), 0, bins - 1)
    return np.bincount(place, minlength=bins).astype(np.int64)


def max_range(histogram: Histogram) -> float:
    """Return the largest magnitude seen."""
    return histogram.amax


def percentile_range(histogram: Histogram, *, percentile: float = PERCENTILE) -> float:
    """Return the magnitude that `percentile` percent of the values do not exceed."""
    at, counts = histogram.magnitudes
    share = np.cumsum(counts) / counts.sum()
    width = at[1]
    return min(histogram.amax, float(at[int(np.searchsorted(share, percentile / 100))] + width / 2))


def mse_range(histogram: Histogram) -> float:
    """Return the range with the smallest mean squared difference between values and their INT8 copies."""
    at, counts = histogram.magnitudes
    error = [squared_error(at, counts, histogram.amax * share) for share in _CANDIDATES]
    return float(histogram.amax * _CANDIDATES[int(np.argmin(error))])


def squared_error(at: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], amax: float) -> float:
    """Return the mean squared quantisation error of values `at` that occur `counts` times."""
    scale = amax / QMAX
    copy = np.minimum(np.round(at / scale), QMAX) * scale
    return float((counts * (at - copy) ** 2).sum() / max(1, counts.sum()))


def wide_range(histogram: Histogram) -> float:
    """Return the geometric mean of the ranges of `mse_range` and `max_range`."""
    return float(np.sqrt(mse_range(histogram) * histogram.amax))


def entropy_range(histogram: Histogram) -> float:
    """Return the range with the smallest divergence (`calibration.entropy`)."""
    return entropy_amax(histogram.counts, histogram.amax)


METHODS: Final[dict[str, Callable[[Histogram], float]]] = {
    "max": max_range,
    "percentile": percentile_range,
    "mse": mse_range,
    "wide": wide_range,
    "entropy": entropy_range,
}


def scale_of(amax: float) -> float:
    """Return ``amax / 127`` as FP16 can hold it: both Q/DQ files and the cache share the very number.

    Raises:
        ValueError: it is not a normal FP16 number (about 6e-5 .. 65504).
    """
    limits = np.finfo(np.float16)
    if not float(limits.tiny) <= amax / QMAX <= float(limits.max):
        msg = f"a range of {amax:g} gives a scale of {amax / QMAX:g}, which FP16 cannot hold"
        raise ValueError(msg)
    return float(np.float16(amax / QMAX))
