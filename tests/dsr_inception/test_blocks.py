"""Parameter counts of the blocks against the paper's closed forms."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from dsr_inception import blocks

SIZES = [(3, 16), (64, 32), (10, 7), (128, 64), (512, 256)]


def _kernels(model: Any) -> dict[str, int]:
    return {w.path: int(np.prod(w.shape)) for w in model.weights if "kernel" in w.path}


@pytest.mark.parametrize(("channels", "filters"), SIZES)
def test_ds_inception_counts(channels: int, filters: int) -> None:
    """Kernels of the four branches: 4NK + 34K + 2K^2; the residual 1x1 has 4NK on top."""
    x = keras.Input((8, 8, channels))
    model = keras.Model(x, blocks.ds_inception_block(x, filters, name="b"))
    kernels = _kernels(model)
    residual = kernels.pop("b_f5/kernel")
    assert 4 * channels * filters + 34 * filters + 2 * filters**2 == sum(kernels.values())
    assert 4 * channels * filters == residual
    assert (None, 8, 8, 4 * filters) == model.output_shape


@pytest.mark.parametrize(("channels", "filters"), SIZES)
def test_inception_counts(channels: int, filters: int) -> None:
    """Kernels of the plain Inception block: 4NK + 34K^2."""
    x = keras.Input((8, 8, channels))
    model = keras.Model(x, blocks.inception_block(x, filters, name="b"))
    assert 4 * channels * filters + 34 * filters**2 == sum(_kernels(model).values())
    assert (None, 8, 8, 4 * filters) == model.output_shape


def test_block_is_equations_13_to_18() -> None:
    """The block's output equals the equations written out in numpy, for one pixel with its neighbours."""
    x = keras.Input((5, 5, 2))
    model = keras.Model(x, blocks.ds_inception_block(x, 3, name="b"))
    rng = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    w = {v.path: np.asarray(v) for v in model.weights}
    picture = rng.normal(0, 1, (5, 5, 2)).astype(np.float32)

    def relu_1x1(values: Any, name: str) -> Any:
        return np.maximum(values @ w[f"{name}/kernel"][0, 0] + w[f"{name}/bias"], 0)

    def separable(values: Any, name: str, size: int) -> Any:
        depthwise = (values[2 - size // 2 : 3 + size // 2, 2 - size // 2 : 3 + size // 2]
                     * w[f"{name}/depthwise_kernel"][..., 0]).sum((0, 1))  # fmt: skip
        return np.maximum(depthwise @ w[f"{name}/pointwise_kernel"][0, 0] + w[f"{name}/bias"], 0)

    f1 = relu_1x1(picture[2, 2], "b_f1")
    f2 = separable(relu_1x1(picture, "b_f2_in"), "b_f2", 3)
    f3 = separable(relu_1x1(picture, "b_f3_in"), "b_f3", 5)
    f4 = relu_1x1(picture[1:4, 1:4].max((0, 1)), "b_f4")
    wanted = np.concatenate([f1, f2, f3, f4]) + relu_1x1(picture[2, 2], "b_f5")
    np.testing.assert_allclose(wanted, np.asarray(model(picture[None]))[0, 2, 2], atol=1e-5)


def test_scale_stays_positive_under_the_optimiser() -> None:
    """A gradient that pulls the BatchNormalization scale below zero is stopped by the constraint."""
    x = keras.Input((4, 4, 3))
    model = keras.Model(x, blocks.stage(x, 2, name="s"))
    model.compile(keras.optimizers.SGD(50.0), loss=lambda _, y: keras.ops.mean(keras.ops.square(y)))
    data = np.random.default_rng(0).normal(0, 1, (8, 4, 4, 3)).astype(np.float32)
    model.fit(data, np.zeros((8, 2, 2, 8)), epochs=1, verbose=0)
    gamma = np.asarray(model.get_layer("s_bn").gamma)
    assert blocks.MIN_GAMMA == pytest.approx(float(gamma.min()))


def test_constraint_survives_saving() -> None:
    """The constraint's configuration makes the same constraint again."""
    again = blocks.AtLeast.from_config(blocks.AtLeast(0.25).get_config())
    np.testing.assert_allclose([0.25, 0.25, 3.0], np.asarray(again(np.array([-1.0, 0.1, 3.0], np.float32))))
