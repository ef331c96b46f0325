"""The fast forward pass against Keras' own layers: outputs, gradients and running statistics."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from dsr_inception import network
from dsr_inception.forward import rounded as rounded_maps
from dsr_inception.forward import train_forward
from dsr_inception.forward_tensorflow import TensorFlowPrimitives

OURS = TensorFlowPrimitives()


def test_agrees_with_keras_in_training_mode() -> None:
    """Features, every gradient and the moving statistics agree with Keras' layers."""
    keras.utils.set_random_seed(2)
    model = network.trunk(32)
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    pictures = tf.constant(rng.uniform(-1, 1, (4, 32, 32, 3)), tf.float32)
    weights = [v.value for v in model.trainable_variables]
    state = [v.numpy() for v in model.non_trainable_variables]
    with tf.GradientTape() as tape:
        theirs = model(pictures, training=True)
        loss = tf.reduce_sum(theirs * theirs)
    wanted = tape.gradient(loss, weights)
    statistics = [v.numpy() for v in model.non_trainable_variables]
    for variable, value in zip(model.non_trainable_variables, state, strict=True):
        variable.assign(value)
    with tf.GradientTape() as tape:
        ours = train_forward(model, pictures, 0.99, OURS)
        loss = tf.reduce_sum(ours * ours)
    found = tape.gradient(loss, weights)
    np.testing.assert_allclose(theirs.numpy(), ours.numpy(), atol=3e-3)
    for name, one, two in zip(model.trainable_variables, wanted, found, strict=True):
        # Near-ties of the max pools fall either way in float32, so single elements may differ a little.
        difference = np.linalg.norm(one - two) / (np.linalg.norm(one) + 1e-6)
        assert 0.05 > difference, name.path
    moving = zip(statistics, model.non_trainable_variables, strict=True)
    for value, variable in moving:
        # TensorFlow's fused variance is unbiased (n/(n-1)), Keras' is not: 16 pixels at the last stage.
        np.testing.assert_allclose(value, variable.numpy(), rtol=5e-3, atol=5e-3, err_msg=variable.path)


def test_rounds_to_an_engines_levels_and_passes_the_gradient() -> None:
    """Values land on 255 levels of the largest magnitude, at most half a level off; the gradient is one."""
    x = tf.constant(np.linspace(-2, 1, 1000), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        rounded = rounded_maps(x)
        total = tf.reduce_sum(rounded)
    level = 2 / 127
    np.testing.assert_allclose(np.round(rounded / level), rounded / level, atol=1e-3)
    assert level / 2 + 1e-6 >= float(tf.reduce_max(tf.abs(rounded - x)))
    np.testing.assert_array_equal(np.ones(1000), tape.gradient(total, x))


def test_quantised_forward_is_near_the_float_one_and_not_it() -> None:
    """Rounding moves the features a little: that is what the weights learn to bear."""
    keras.utils.set_random_seed(3)
    model = network.trunk(32)
    pictures = tf.constant(np.random.default_rng(3).uniform(-1, 1, (4, 32, 32, 3)), tf.float32)
    plain = train_forward(model, pictures, 0.99, OURS).numpy()
    rounded = train_forward(model, pictures, 0.99, OURS, quantised=True).numpy()
    difference = np.linalg.norm(plain - rounded) / np.linalg.norm(plain)
    assert 1e-4 < difference < 0.2


def test_bfloat16_forward_is_near_the_float32_one_and_not_it() -> None:
    """Narrow maps move an untrained network's features by hundredths; what leaves is float32."""
    keras.utils.set_random_seed(3)
    model = network.trunk(32)
    pictures = tf.constant(np.random.default_rng(3).uniform(-1, 1, (4, 32, 32, 3)), tf.float32)
    plain = train_forward(model, pictures, 0.99, OURS).numpy()
    narrow = train_forward(model, pictures, 0.99, OURS, precision="bfloat16")
    assert tf.float32 == narrow.dtype
    difference = np.linalg.norm(plain - narrow.numpy()) / np.linalg.norm(plain)
    assert 1e-4 < difference < 0.1
