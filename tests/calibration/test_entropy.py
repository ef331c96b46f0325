from __future__ import annotations

import numpy as np
import pytest

from calibration.entropy import entropy_amax


def _reference(counts: np.ndarray, amax: float, levels: int) -> float:  # type: ignore[type-arg]
    """Return what ONNX Runtime's own calibrator says to the same histogram."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    collector = HistogramCollector("entropy", True, len(counts), levels, 99.9, "same")
    edges = np.linspace(-amax, amax, len(counts) + 1).astype(np.float32)
    histogram = (counts, edges, np.float32(-amax), np.float32(amax))
    return float(collector.get_entropy_threshold(histogram, levels)[1])


@pytest.mark.parametrize("levels", [63, 127])
@pytest.mark.parametrize("kind", ["gauss", "laplace", "relu", "heavy tails"])
def test_range_is_that_of_onnx_runtime(kind: str, levels: int) -> None:
    """Bin for bin the reference implementation, on four kinds of distributions."""
    rng = np.random.default_rng(5)
    values = {
        "gauss": rng.normal(0, 1, 40_000),
        "laplace": rng.laplace(0, 1, 40_000),
        "relu": np.maximum(rng.normal(0.2, 1, 40_000), 0),
        "heavy tails": rng.standard_t(3, 40_000),
    }[kind]
    amax = float(np.abs(values).max())
    counts, _ = np.histogram(values, bins=401, range=(-amax, amax))
    expected = _reference(counts.astype(np.int64), amax, levels)
    assert expected == pytest.approx(entropy_amax(counts.astype(np.int64), amax, levels=levels), rel=1e-5)


def test_far_outliers_are_cut_off() -> None:
    """Two values in 40,000 do not make the range thirty times as wide."""
    values = np.concatenate([np.random.default_rng(1).normal(0, 0.3, 40_000), [30.0, -30.0]])
    counts, _ = np.histogram(values, bins=4097, range=(-30, 30))
    assert entropy_amax(counts.astype(np.int64), 30.0) < 5


@pytest.mark.parametrize("bins", [400, 101])
def test_unusable_histograms_are_refused(bins: int) -> None:
    """An even number of bins has no middle; too few cannot show 255 levels."""
    with pytest.raises(ValueError, match="odd number of bins, at least 255"):
        entropy_amax(np.ones(bins, np.int64), 1.0)
