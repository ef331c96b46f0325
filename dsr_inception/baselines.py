"""The three networks the paper compares with, at the same input and head.

Inception-v1 (Szegedy et al. 2015, without the auxiliary classifiers), VGG-16 (Simonyan and Zisserman
2015) and ResNet-18 (He et al. 2016), each 224x224x3 to ``{"feature", "logits"}`` as `network.classifier`
gives them, so that the same losses, data and measurements serve all four. The two without
normalisation in their papers (Inception-v1, VGG-16) are built without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from dsr_inception.network import INPUT_SIDE

if TYPE_CHECKING:
    from collections.abc import Callable

    Builder = Callable[[int], keras.Model]

layers = keras.layers

#: Inception-v1: filters of 1x1, 3x3 reduction, 3x3, 5x5 reduction, 5x5, pool projection; None is a pool.
_INCEPTION: Final = (
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), None,
    (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), None,
    (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
)  # fmt: skip
_VGG: Final = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
_RESNET: Final = (64, 128, 256, 512)


def _with_head(inputs: Any, feature: Any, identities: int, name: str) -> keras.Model:
    logits = layers.Dense(identities, name="logits")(layers.Dropout(0.5)(feature))
    return keras.Model(inputs, {"feature": feature, "logits": logits}, name=name)


def _relu(x: Any, filters: int, size: int, stride: int = 1) -> Any:
    return layers.Conv2D(filters, size, stride, padding="same", activation="relu")(x)


def inception_v1(identities: int) -> keras.Model:
    """Return Inception-v1 with `identities` classes."""
    inputs = keras.Input((INPUT_SIDE, INPUT_SIDE, 3))
    x = layers.MaxPooling2D(3, 2, padding="same")(_relu(inputs, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2, padding="same")(_relu(_relu(x, 64, 1), 192, 3))
    for row in _INCEPTION:
        if row is None:
            x = layers.MaxPooling2D(3, 2, padding="same")(x)
            continue
        one, three_in, three, five_in, five, pool = row
        pooled = layers.MaxPooling2D(3, 1, padding="same")(x)
        branches = [_relu(x, one, 1), _relu(_relu(x, three_in, 1), three, 3)]
        branches += [_relu(_relu(x, five_in, 1), five, 5), _relu(pooled, pool, 1)]
        x = layers.Concatenate()(branches)
    return _with_head(inputs, layers.GlobalAveragePooling2D()(x), identities, "inception_v1")


def vgg_16(identities: int) -> keras.Model:
    """Return VGG-16 with `identities` classes."""
    inputs = x = keras.Input((INPUT_SIDE, INPUT_SIDE, 3))
    for repeat, filters in _VGG:
        for _ in range(repeat):
            x = _relu(x, filters, 3)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Dense(4096, activation="relu")(layers.Flatten()(x))
    x = layers.Dense(4096, activation="relu")(layers.Dropout(0.5)(x))
    return _with_head(inputs, x, identities, "vgg_16")


def _normalised(x: Any, filters: int, size: int, stride: int = 1) -> Any:
    x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)


def resnet_18(identities: int) -> keras.Model:
    """Return ResNet-18 with `identities` classes."""
    inputs = keras.Input((INPUT_SIDE, INPUT_SIDE, 3))
    x = layers.MaxPooling2D(3, 2, padding="same")(layers.ReLU()(_normalised(inputs, 64, 7, 2)))
    for level, filters in enumerate(_RESNET):
        for block in range(2):
            stride = 2 if level and not block else 1
            y = _normalised(layers.ReLU()(_normalised(x, filters, 3, stride)), filters, 3)
            short = _normalised(x, filters, 1, stride) if stride > 1 else x
            x = layers.ReLU()(layers.Add()([short, y]))
    return _with_head(inputs, layers.GlobalAveragePooling2D()(x), identities, "resnet_18")


BASELINES: Final[dict[str, Builder]] = {
    "inception_v1": inception_v1,
    "vgg_16": vgg_16,
    "resnet_18": resnet_18,
}


def multiplications(model: keras.Model) -> int:
    """Return the multiply-accumulates of a picture through convolutions and dense layers."""
    total = 0
    for layer in model.layers:
        kernels = [w for w in layer.weights if "kernel" in w.path]
        if kernels:
            pixels = int(np.prod(layer.output.shape[1:-1])) if len(layer.output.shape) > 2 else 1  # noqa: PLR2004
            total += pixels * sum(int(np.prod(w.shape)) for w in kernels)
    return total
