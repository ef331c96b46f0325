from __future__ import annotations

import numpy as np
import pytest

from calibration.ranges import BINS, METHODS, QMAX, Histogram, bin_values, mse_range, scale_of


def _histogram(values: np.ndarray) -> Histogram:  # type: ignore[type-arg]
    amax = float(np.abs(values).max())
    return Histogram(
        bin_values(values.astype(np.float32), amax), amax, float(values.min()), float(values.max())
    )


def _error(values: np.ndarray, amax: float) -> float:  # type: ignore[type-arg]
    step = amax / QMAX
    return float(((np.clip(np.round(values / step), -QMAX, QMAX) * step - values) ** 2).mean())


def test_bins_are_numpys() -> None:
    """The quick binning counts what numpy.histogram counts, up to rounding at an edge."""
    values = np.random.default_rng(2).normal(0, 1, 20_000).astype(np.float32)
    expected, _ = np.histogram(values, bins=101, range=(-3, 3))
    counts = bin_values(values, 3.0, bins=101)
    assert np.abs(expected - counts)[1:-1].sum() <= 4
    assert len(values) == counts.sum()


def test_mse_is_the_best_of_all_candidates_on_the_values_themselves() -> None:
    """The range found on the histogram is within a percent of the best found by trying on the values."""
    values = np.random.default_rng(3).laplace(0, 1, 50_000)
    best = min(_error(values, share * np.abs(values).max()) for share in np.linspace(0.05, 1, 400))
    assert _error(values, mse_range(_histogram(values))) <= 1.01 * best


def test_max_cuts_off_nothing_and_percentile_its_share() -> None:
    """99.99 % of the values stay inside."""
    values = np.random.default_rng(4).normal(0, 1, 200_000)
    histogram = _histogram(values)
    assert np.abs(values).max() == METHODS["max"](histogram)
    expected = np.quantile(np.abs(values), 0.9999)
    assert expected == pytest.approx(METHODS["percentile"](histogram), rel=0.02)
    assert histogram.clipped_share(METHODS["percentile"](histogram)) <= 1.1e-4


def test_wide_is_half_way_between_mse_and_max() -> None:
    """By their ratio: what is rare is cut off less than mse would."""
    histogram = _histogram(np.random.default_rng(4).laplace(0, 1, 50_000))
    narrow, wide, most = (METHODS[name](histogram) for name in ("mse", "wide", "max"))
    assert narrow < wide < most
    assert wide / narrow == pytest.approx(most / wide)


def test_scale_is_an_fp16_number() -> None:
    """Both files and the cache share it to the bit; what FP16 cannot hold is refused."""
    scale = scale_of(3.21)
    assert float(np.float16(scale)) == scale
    assert 3.21 / 127 == pytest.approx(scale, rel=1e-3)
    for amax in (1e-6, 1e8):
        with pytest.raises(ValueError, match="FP16 cannot hold"):
            scale_of(amax)


def test_histogram_of_nothing_is_refused() -> None:
    """A range of 0 or NaN comes from no tensor."""
    for amax in (0.0, float("nan")):
        with pytest.raises(ValueError, match="finite range above 0"):
            Histogram(np.zeros(BINS, np.int64), amax, 0.0, 0.0)
