"""Rounding a kernel for the inputs that it meets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build_engine.qdq import quantised_weights, weight_scales
from build_engine.rounding import input_covariances, round_kernel, round_weights
from calibration.network import quantised_convolutions
from tests import small_inception as small


def together(rng: np.random.Generator, channels: int) -> Any:
    """Return inputs, (channels, 4000), that go together: few causes behind all of them."""
    causes = rng.normal(size=(channels // 4, 4000))
    return rng.normal(size=(channels, channels // 4)) @ causes + 0.05 * rng.normal(size=(channels, 4000))


def squared_error(kernel: Any, copy: Any, inputs: Any) -> float:
    """Return the mean squared difference of the outputs, without their mean."""
    off = (kernel - copy)[:, :, 0, 0] @ inputs
    return float((off - off.mean(axis=1, keepdims=True)).var())


def test_outputs_are_off_less_than_with_the_nearest_steps() -> None:
    """Where inputs go together; scales and range stay the same."""
    rng = np.random.default_rng(2)
    inputs, kernel = together(rng, 64), rng.normal(size=(32, 64, 1, 1)).astype(np.float32)
    scales = weight_scales(kernel)
    nearest = quantised_weights(kernel, scales) * scales[:, None, None, None]
    found = round_kernel(kernel, np.cov(inputs))
    np.testing.assert_array_equal(scales, found.scales)
    assert (np.int8, kernel.shape) == (found.steps.dtype, found.steps.shape)
    assert 127 >= np.abs(found.steps.astype(int)).max()
    copy = found.steps * found.scales[:, None, None, None]
    assert squared_error(kernel, copy, inputs) < 0.35 * squared_error(kernel, nearest, inputs)


def test_inputs_that_have_nothing_to_do_with_each_other_leave_the_nearest_steps() -> None:
    """There is nothing to be made good."""
    kernel = np.random.default_rng(3).normal(size=(8, 16, 1, 1)).astype(np.float32)
    found = round_kernel(kernel, np.diag(np.linspace(1, 2, 16)))
    np.testing.assert_array_equal(quantised_weights(kernel, weight_scales(kernel)), found.steps)


@pytest.mark.parametrize("dead", [[0], list(range(8))], ids=["one-input", "all-inputs"])
def test_inputs_that_never_vary_are_no_harm(dead: list[int]) -> None:
    """A dead channel, and a picture set of one colour."""
    rng = np.random.default_rng(4)
    inputs, kernel = rng.normal(size=(8, 100)), rng.normal(size=(4, 8, 1, 1)).astype(np.float32)
    inputs[dead] = 3.0
    found = round_kernel(kernel, np.cov(inputs))
    assert np.abs(found.steps * found.scales[:, None, None, None] - kernel).max() < 0.2


def test_covariances_are_those_of_the_tensors() -> None:
    """Over all places of all pictures, by hand for the network's input."""
    crops = small.pictures(3)
    found = input_covariances(small.network(), ["picture", "f5"], crops)["picture"]
    values = (crops.reshape(-1, 3).astype(np.float64) - 127.5) / 127.5
    np.testing.assert_allclose(np.cov(values.T, bias=True), found, rtol=1e-4)


def test_every_ordinary_kernel_is_rounded_and_no_other() -> None:
    """All 1x1 here; the depthwise one stays in float."""
    model = small.network()
    found = round_weights(model, small.pictures(4))
    assert [node.input[1] for node in quantised_convolutions(model)] == list(found)
    assert "f2_depthwise/kernel" not in found
