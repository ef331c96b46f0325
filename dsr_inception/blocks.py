"""The convolution blocks of the paper: DS-Inception (eq. 13-18) and the Inception block it replaces.

A DS-Inception block looks at its input in four ways at once -- 1x1, 3x3, 5x5 and a 3x3 max pool --
and adds a 1x1 residual branch to the four concatenated results. The two large kernels are
depthwise-separable, which is where the parameters are saved. The paper's closed forms count kernels
(no biases) without the residual branch: ``4NK + 34K + 2K^2`` for DS-Inception and ``4NK + 34K^2`` for
Inception, N channels in, K filters a branch, 4K channels out. Eq. 14-15 write ``Dw``; the two ``K^2`` in
the count are pointwise kernels, so ``Dw`` is read as depthwise-*separable*.

Every branch ends in a ReLU and a sum of non-negative maps is non-negative, so the paper's ReLU after
the sum changes nothing and is not built. What follows the block is BatchNormalization and a 2x2 max
pool; its scale is kept positive so that it commutes with the pooling (see ``build_engine.fold``).
"""

from __future__ import annotations

from typing import Any, Final

import keras

#: Below this a BatchNormalization scale is clipped, so that it stays positive after training.
MIN_GAMMA: Final = 1e-3

BN_MOMENTUM: Final = 0.99
BN_EPSILON: Final = 1e-3


@keras.saving.register_keras_serializable(package="dsr_inception")
class AtLeast(keras.constraints.Constraint):  # type: ignore[misc]
    """Clip a weight from below; with a positive `minimum` a BatchNormalization scale stays positive."""

    def __init__(self, minimum: float = MIN_GAMMA) -> None:
        """Keep every value at or above `minimum`."""
        self.minimum = float(minimum)

    def __call__(self, w: Any) -> Any:
        """Return `w` with every value at least `minimum`."""
        return keras.ops.maximum(w, keras.ops.cast(self.minimum, w.dtype))

    def get_config(self) -> dict[str, float]:
        """Return what `__init__` needs to make this again."""
        return {"minimum": self.minimum}


def _pointwise(x: Any, filters: int, name: str) -> Any:
    """Return ReLU(conv 1x1 + b) of `x`."""
    return keras.layers.Conv2D(filters, 1, activation="relu", kernel_initializer="he_normal", name=name)(x)


def _separable(x: Any, filters: int, size: int, name: str) -> Any:
    """Return ReLU(depthwise size x size, pointwise 1x1 + b) of `x`."""
    return keras.layers.SeparableConv2D(
        filters,
        size,
        padding="same",
        activation="relu",
        depthwise_initializer="he_normal",
        pointwise_initializer="he_normal",
        name=name,
    )(x)


def _pooled(x: Any, filters: int, name: str) -> Any:
    """Return eq. 16: a 3x3 max pool, then ReLU(conv 1x1 + b)."""
    pooled = keras.layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    return _pointwise(pooled, filters, name)


def ds_inception_block(x: Any, filters: int, *, name: str) -> Any:
    """Return F' of eq. 13-18: (B, H, W, N) -> (B, H, W, 4 * `filters`)."""
    f1 = _pointwise(x, filters, f"{name}_f1")
    f2 = _separable(_pointwise(x, filters, f"{name}_f2_in"), filters, 3, f"{name}_f2")
    f3 = _separable(_pointwise(x, filters, f"{name}_f3_in"), filters, 5, f"{name}_f3")
    f4 = _pooled(x, filters, f"{name}_f4")
    f5 = _pointwise(x, 4 * filters, f"{name}_f5")
    joined = keras.layers.Concatenate(name=f"{name}_concat")([f1, f2, f3, f4])
    return keras.layers.Add(name=f"{name}_add")([joined, f5])


def inception_block(x: Any, filters: int, *, name: str) -> Any:
    """Return the plain Inception block the paper starts from: (B, H, W, N) -> (B, H, W, 4 * `filters`)."""

    def wide(y: Any, size: int, layer: str) -> Any:
        return keras.layers.Conv2D(
            filters, size, padding="same", activation="relu", kernel_initializer="he_normal", name=layer
        )(y)

    f1 = _pointwise(x, filters, f"{name}_f1")
    f2 = wide(_pointwise(x, filters, f"{name}_f2_in"), 3, f"{name}_f2")
    f3 = wide(_pointwise(x, filters, f"{name}_f3_in"), 5, f"{name}_f3")
    f4 = _pooled(x, filters, f"{name}_f4")
    return keras.layers.Concatenate(name=f"{name}_concat")([f1, f2, f3, f4])


def stage(x: Any, filters: int, *, name: str) -> Any:
    """Return one of the five stages: DS-Inception, BatchNormalization, 2x2/2 max pool.

    (B, H, W, N) -> (B, H/2, W/2, 4 * `filters`).
    """
    x = ds_inception_block(x, filters, name=name)
    x = keras.layers.BatchNormalization(
        momentum=BN_MOMENTUM, epsilon=BN_EPSILON, gamma_constraint=AtLeast(), name=f"{name}_bn"
    )(x)
    return keras.layers.MaxPooling2D(2, name=f"{name}_down")(x)
