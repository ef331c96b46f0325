"""The trunk's forward pass in training, walked once; what a backend does faster than Keras is its own.

`forward_tensorflow` and `forward_jax` give the `Primitives`: on a CPU and on a GPU other things are slow.
Keras' layers compute the same, and the weights stay theirs, so checkpoints and export know nothing of it.

In bfloat16 the maps between the layers are half as wide; weights, statistics and what the features are
averaged in stay float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from keras import ops

from dsr_inception.network import STAGE_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras


class Primitives(Protocol):
    """What is done a backend's own way; maps are (B, H, W, C) in the run's precision, weights float32."""

    def pointwise(self, x: Any, weights: Sequence[tuple[Any, Any]]) -> list[Any]:
        """Return ReLU(conv 1x1 + b) of one map for each pair of kernel (1, 1, C, K) and bias (K,)."""

    def depthwise(self, x: Any, kernel: Any) -> Any:
        """Return the depthwise convolution of `x` by `kernel` (S, S, C, 1), same size."""

    def spread(self, x: Any) -> Any:
        """Return the 3x3 maximum around every pixel, same size."""

    def normalised(self, x: Any, layer: keras.layers.BatchNormalization, momentum: float) -> Any:
        """Return `x` normalised by its batch, then its 2x2 maximum; move the layer's running statistics."""


def rounded(x: Any) -> Any:
    """Return `x` on the 255 levels of a symmetric INT8 tensor, its gradient passed straight through.

    The range is the batch's own largest magnitude: a little wider than a calibrated one, so weights that
    bear this rounding bear that of an engine (Jacob et al. 2018, arXiv 1712.05877, section 3).
    """
    wide = ops.cast(x, "float32")
    scale = ops.maximum(ops.max(ops.abs(wide)), 1e-6) / 127.0
    return ops.cast(wide + ops.stop_gradient(ops.round(wide / scale) * scale - wide), x.dtype)


def train_forward(
    model: keras.Model,
    x: Any,
    momentum: float,
    primitives: Primitives,
    *,
    quantised: bool = False,
    precision: str = "float32",
) -> Any:
    """Return the averaged features (B, 1024), float32, in training mode and move the running BN statistics.

    Args:
        model: a model whose first layers are `network.trunk`'s.
        x: (B, H, W, 3) float32 in -1..1.
        momentum: of the running mean and variance (Keras' convention: the share that is kept).
        primitives: of the backend.
        quantised: round the inputs of the stages and the depthwise outputs as an INT8 engine does.
        precision: of the maps, ``float32`` or ``bfloat16``.
    """
    own = primitives
    x = ops.cast(x, precision)

    def level(y: Any) -> Any:
        return rounded(y) if quantised else y

    def separable(y: Any, layer: keras.layers.Layer) -> Any:
        y = level(own.depthwise(y, layer.depthwise_kernel.value))
        return own.pointwise(y, [(layer.pointwise_kernel.value, layer.bias.value)])[0]

    for name in STAGE_NAMES:
        x = level(x)
        layers = [model.get_layer(f"{name}_{branch}") for branch in ("f1", "f2_in", "f3_in", "f5", "f4")]
        weights = [(layer.kernel.value, layer.bias.value) for layer in layers]
        f1, f2, f3, f5 = own.pointwise(x, weights[:4])
        f2, f3 = (separable(y, model.get_layer(f"{name}_{b}")) for y, b in ((f2, "f2"), (f3, "f3")))
        f4 = own.pointwise(own.spread(x), weights[4:])[0]
        x = ops.concatenate([f1, f2, f3, f4], -1) + f5
        x = own.normalised(x, model.get_layer(f"{name}_bn"), momentum)
    return ops.mean(ops.cast(x, "float32"), axis=(1, 2))
