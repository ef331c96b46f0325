"""The forward pass' primitives in TensorFlow's own operations, about 1.6 times faster to train on CPUs.

Keras' layers train 122 pictures/s at 64x64 on two x86 cores, these 190-210. The difference is (a) the
weight gradient of a 1x1 convolution, here one matrix product of the flattened maps instead of a
convolution primitive that takes a third of the whole step, (b) TensorFlow's fused BatchNormalization, and
(c) the weight gradient of a 5x5 depthwise convolution, put together from four 3x3 ones: TensorFlow has a
fast one up to 3x3 only (16.6 ms against 1.3 at 64x64x16). Measured 2026 on two AVX-512 cores, batch 64;
XLA was 4 times slower, merging the 1x1 convolutions costs more in splitting than it saves.

On a processor with AVX512-BF16 a step in bfloat16 takes .7 of float32's time
(``python -m benchmarks.training_step``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

_BY_ONE: Final = [1, 1, 1, 1]


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _pointwise_relu(x: Any, kernel: Any, bias: Any) -> Any:
    """Return ReLU(conv 1x1 + b), with the kernel's gradient as one matrix product."""
    y = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias))

    def gradient(dy: Any) -> Any:
        dy = tf.raw_ops.ReluGrad(gradients=dy, features=y)
        channels, filters = kernel.shape[2], kernel.shape[3]
        flat = tf.reshape(dy, [-1, filters])
        d_kernel = tf.matmul(tf.reshape(x, [-1, channels]), flat, transpose_a=True)
        d_input = tf.nn.conv2d(dy, tf.transpose(kernel, [0, 1, 3, 2]), 1, "SAME")
        return d_input, tf.reshape(d_kernel, [1, 1, channels, filters]), tf.reduce_sum(flat, 0)

    return y, gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def depthwise_5x5(x: Any, kernel: Any) -> Any:
    """Return the depthwise convolution of `x` (B, H, W, C) by `kernel` (5, 5, C, 1), same size."""
    y = tf.nn.depthwise_conv2d(x, kernel, _BY_ONE, "SAME")

    def gradient(dy: Any) -> Any:
        height, width = tf.shape(dy)[1], tf.shape(dy)[2]
        padded = tf.pad(x, [[0, 0], [2, 2], [2, 2], [0, 0]])

        def taps(row: int, column: int) -> Any:
            part = padded[:, row : row + height + 2, column : column + width + 2]
            return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                input=part, filter_sizes=[3, 3, kernel.shape[2], 1], out_backprop=dy,
                strides=_BY_ONE, padding="VALID",
            )  # fmt: skip

        upper, lower = (tf.concat([taps(row, 0), taps(row, 2)[:, 1:]], 1) for row in (0, 2))
        d_input = tf.nn.depthwise_conv2d(dy, tf.reverse(kernel, [0, 1]), _BY_ONE, "SAME")
        return d_input, tf.concat([upper, lower[1:]], 0)

    return y, gradient


class TensorFlowPrimitives:
    """`forward.Primitives` for TensorFlow on CPUs."""

    def pointwise(self, x: Any, weights: Sequence[tuple[Any, Any]]) -> list[Any]:
        """Return ReLU(conv 1x1 + b) of one map for each pair of kernel and bias."""
        return [
            _pointwise_relu(x, tf.cast(kernel, x.dtype), tf.cast(bias, x.dtype)) for kernel, bias in weights
        ]

    def depthwise(self, x: Any, kernel: Any) -> Any:
        """Return the depthwise convolution, 5x5 with the faster gradient."""
        kernel = tf.cast(kernel, x.dtype)
        is_wide = kernel.shape[0] == 5  # noqa: PLR2004 -- the block's larger kernel, eq. 15
        return depthwise_5x5(x, kernel) if is_wide else tf.nn.depthwise_conv2d(x, kernel, _BY_ONE, "SAME")

    def spread(self, x: Any) -> Any:
        """Return the 3x3 maximum around every pixel."""
        return tf.nn.max_pool2d(x, 3, 1, "SAME")

    def normalised(self, x: Any, layer: keras.layers.BatchNormalization, momentum: float) -> Any:
        """Return the 2x2 maximum of `x` normalised by its batch; move the running statistics."""
        x, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=layer.gamma.value, offset=layer.beta.value, mean=[], variance=[],
            epsilon=layer.epsilon, is_training=True,
        )  # fmt: skip
        for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.value.assign(moving.value * momentum + now * (1 - momentum))
        return tf.nn.max_pool2d(x, 2, 2, "VALID")
