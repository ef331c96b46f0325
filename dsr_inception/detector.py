"""The network of the dust detector: YuNet's (Wu et al. 2023, MIT), as Keras code that can be trained on.

53,104 weights: a 3x3 stem, then pairs of a 1x1 and a 3x3 depthwise convolution, maxima between them,
and a small feature pyramid over strides 8, 16 and 32. Each cell of a stride says how sure it is of a
face (class times objectness), where its box is and where its five landmarks are, all relative to the
cell's upper left corner in units of the stride; sizes as logarithms.

Its authors' weights were learnt on WIDER FACE and stand in the file of the OpenCV Zoo with the
BatchNormalization folded. Starting from them is what makes half an hour on a CPU enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from dsr_inception.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

STRIDES: Final = (8, 16, 32)
#: Per cell: class, objectness, box (x, y, log width, log height), five landmarks (x, y).
CELL_VALUES: Final = 16
#: The backbone: name, channels, and whether a 2x2 maximum follows.
BACKBONE: Final = (
    ("model0.conv2", 16, True), ("model1.conv1", 16, False), ("model1.conv2", 32, False),
    ("model2.conv1", 32, False), ("model2.conv2", 64, True), ("model3.conv1", 64, False),
    ("model3.conv2", 64, True), ("model4.conv1", 64, False), ("model4.conv2", 64, True),
    ("model5.conv1", 64, False), ("model5.conv2", 64, False),
)  # fmt: skip
#: What the pyramid takes, by stride.
TAPS: Final = {8: "model3.conv2", 16: "model4.conv2", 32: "model5.conv2"}
HEADS: Final = (("cls", 1), ("bbox", 4), ("obj", 1), ("kps", 10))


def build_detector() -> keras.Model:
    """Return the network: (B, H, W, 3) float32 BGR 0..255, sides multiples of 32, to one map a stride.

    Each map is (B, H / stride, W / stride, `CELL_VALUES`); class and objectness are logits.
    """
    layers = keras.layers
    picture = keras.Input((None, None, 3), name="image")
    x = layers.ZeroPadding2D(1, name="stem_pad")(picture)
    x = layers.Conv2D(16, 3, strides=2, activation="relu", name="stem")(x)
    taps: dict[str, Any] = {}
    for name, channels, pooled in BACKBONE:
        x = taps[name] = _unit(x, name, channels)
        x = layers.MaxPool2D(2, name=f"{name}_pool")(x) if pooled else x
    maps: dict[int, Any] = {}
    above = None
    for level, stride in reversed(tuple(enumerate(STRIDES))):
        x = taps[TAPS[stride]]
        if above is not None:
            up = layers.UpSampling2D(2, name=f"up_{stride}")(above)
            x = layers.Add(name=f"sum_{stride}")([x, up])
        above = _unit(x, f"lateral_{level}", 64)
        maps[stride] = above
    outputs = [_head(maps[stride], level) for level, stride in enumerate(STRIDES)]
    return keras.Model(picture, outputs, name="dustface")


def _unit(x: Any, name: str, channels: int, *, activation: str | None = "relu") -> Any:
    x = keras.layers.Conv2D(channels, 1, name=f"{name}_pw")(x)
    return keras.layers.DepthwiseConv2D(3, padding="same", activation=activation, name=f"{name}_dw")(x)


def _head(x: Any, level: int) -> Any:
    parts = {name: _unit(x, f"{name}_{level}", n, activation=None) for name, n in HEADS}
    ordered = [parts["cls"], parts["obj"], parts["bbox"], parts["kps"]]
    return keras.layers.Concatenate(name=f"stride_{STRIDES[level]}")(ordered)


def unit_names() -> list[str]:
    """Return the names of the pairs of convolutions in the order in which YuNet's file has them."""
    backbone = [name for name, _, _ in BACKBONE]
    laterals = [f"lateral_{level}" for level in (2, 1, 0)]
    heads = [f"{name}_{level}" for name, _ in HEADS for level in range(len(STRIDES))]
    return backbone + laterals + heads


def load_yunet(model: keras.Model, path: Path) -> None:
    """Give `model` the weights of ``face_detection_yunet_2023mar.onnx``.

    Raises:
        DataError: the file is missing, or its convolutions are not YuNet's.
    """
    import onnx
    from onnx import numpy_helper

    if not path.is_file():
        raise DataError(
            f"YuNet's file is missing: {path}; take face_detection_yunet_2023mar.onnx from the OpenCV Zoo"
        )
    graph: Any = onnx.load(str(path)).graph
    stored = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    wanted = ["stem", *(f"{name}_{part}" for name in unit_names() for part in ("pw", "dw"))]
    if len(convolutions) != len(wanted):
        raise DataError(f"{path} has {len(convolutions)} convolutions, YuNet has {len(wanted)}")
    for name, node in zip(wanted, convolutions, strict=True):
        kernel, bias = (np.asarray(stored[i]) for i in node.input[1:3])
        layer = model.get_layer(name)
        moved = kernel.transpose(2, 3, 0, 1) if name.endswith("_dw") else kernel.transpose(2, 3, 1, 0)
        if layer.get_weights()[0].shape != moved.shape:
            raise DataError(f"{path}: convolution {name} is {moved.shape}, not YuNet's")
        layer.set_weights([moved, bias])


def weights_of(model: keras.Model) -> dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Return kernel (height, width, in, out) and bias by the convolution's name."""
    names = ["stem", *(f"{name}_{part}" for name in unit_names() for part in ("pw", "dw"))]
    return {name: tuple(model.get_layer(name).get_weights()) for name in names}
