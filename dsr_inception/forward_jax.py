"""The forward pass' primitives for jax on a GPU, where moving maps through memory is what takes the time.

The 1x1 convolutions of one input are one matrix product, which reads the map once. A maximum is one of
shifted maps, whose gradient XLA makes one kernel of. Pooling comes before normalising: a positive scale
commutes with a maximum (``blocks.MIN_GAMMA``), and a quarter of the pixels is left to normalise. The
gradients of 1x1 kernels and the statistics are summed in float32, whatever the maps are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax  # type: ignore[import-not-found]  # not in the lock
import jax.numpy as jnp  # type: ignore[import-not-found]
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras


@jax.custom_vjp  # type: ignore[untyped-decorator]
def _pointwise_relu(x: Any, kernel: Any, bias: Any) -> Any:
    """Return ReLU(x @ kernel + b): (B, H, W, C) by (C, K)."""
    return jax.nn.relu(x @ kernel.astype(x.dtype) + bias.astype(x.dtype))


def _pointwise_forward(x: Any, kernel: Any, bias: Any) -> Any:
    y = _pointwise_relu(x, kernel, bias)
    return y, (x, kernel, y)


def _pointwise_backward(kept: Any, dy: Any) -> Any:
    x, kernel, y = kept
    dy = jnp.where(y > 0, dy, jnp.zeros_like(dy))
    flat = dy.reshape(-1, dy.shape[-1])
    d_kernel = jax.lax.dot_general(
        x.reshape(-1, x.shape[-1]), flat, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32
    )
    return dy @ kernel.T.astype(dy.dtype), d_kernel, flat.sum(axis=0, dtype=jnp.float32)


_pointwise_relu.defvjp(_pointwise_forward, _pointwise_backward)


def _most(x: Any, axis: int) -> Any:
    """Return the maximum of every element and its two neighbours along `axis`."""
    edges = [(0, 0)] * x.ndim
    edges[axis] = (1, 1)
    padded = jnp.pad(x, edges, constant_values=-np.inf)
    near = [jax.lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i in range(3)]
    return jnp.maximum(jnp.maximum(near[0], near[1]), near[2])


def _halved(x: Any) -> Any:
    """Return the 2x2 maximum, (B, H, W, C) -> (B, H // 2, W // 2, C)."""
    batch, height, width, channels = x.shape
    even = x[:, : height // 2 * 2, : width // 2 * 2]
    pairs = even.reshape(batch, height // 2, 2, width // 2, 2, channels)
    rows = jnp.maximum(pairs[:, :, 0], pairs[:, :, 1])
    return jnp.maximum(rows[:, :, :, 0], rows[:, :, :, 1])


class JaxPrimitives:
    """`forward.Primitives` for jax; called inside a stateless scope of Keras."""

    def pointwise(self, x: Any, weights: Sequence[tuple[Any, Any]]) -> list[Any]:
        """Return ReLU(conv 1x1 + b) of one map for each pair of kernel and bias, from one product."""
        kernel = jnp.concatenate([kernel[0, 0] for kernel, _ in weights], axis=-1)
        joined = _pointwise_relu(x, kernel, jnp.concatenate([bias for _, bias in weights]))
        ends = np.cumsum([bias.shape[0] for _, bias in weights])
        return list(jnp.split(joined, ends[:-1], axis=-1))

    def depthwise(self, x: Any, kernel: Any) -> Any:
        """Return the depthwise convolution."""
        return jax.lax.conv_general_dilated(
            x,
            kernel[..., 0][:, :, None].astype(x.dtype),
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[-1],
        )

    def spread(self, x: Any) -> Any:
        """Return the 3x3 maximum around every pixel, first along rows, then along columns."""
        return _most(_most(x, 1), 2)

    def normalised(self, x: Any, layer: keras.layers.BatchNormalization, momentum: float) -> Any:
        """Return the 2x2 maximum of `x` normalised by its batch; move the running statistics."""
        wide = x.astype(jnp.float32)
        mean = wide.mean(axis=(0, 1, 2))
        variance = jnp.maximum(jnp.square(wide).mean(axis=(0, 1, 2)) - mean * mean, 0.0)
        for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving.value * momentum + jax.lax.stop_gradient(now) * (1 - momentum))
        scale = jax.lax.rsqrt(variance + layer.epsilon) * layer.gamma.value
        small = _halved(x).astype(jnp.float32)
        return ((small - mean) * scale + layer.beta.value).astype(x.dtype)
