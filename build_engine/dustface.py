"""The dust detector from Keras to the box: an ONNX file for any picture size, with a manifest beside it.

The graph is written node by node from the network's own table of layers (`dsr_inception.detector`), so
that no converter's names or padding stand in it: 27 pairs of convolutions with symmetric padding, four
four
maxima, two enlargements. At the end class and objectness become one score, the root of their product, so
that the box decodes one map of fifteen values for each stride.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from calibration.manifest import replace_file
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INPUT: Final = "image"
LICENCE: Final = (
    "research weights: trained on from YuNet (MIT, OpenCV Zoo) with CelebA photos, which are for "
    "non-commercial research; not for a product"
)
_OPSET: Final = 17
_IR_VERSION: Final = 8


def dustface_from_keras(weights: Path, folder: Path, *, name: str = "dustface") -> Path:
    """Write ``NAME.onnx`` and ``NAME.json`` into `folder` and return the manifest's path.

    Args:
        weights: ``dustface.keras`` as `dsr-train detector` writes it; ``recipe.json`` beside it is noted.
        folder: made if missing. Both files are written aside and renamed, the manifest last.
        name: of the files.

    Raises:
        ModelError: `weights` is missing or another network.
    """
    import keras

    from dsr_inception.detector import STRIDES, weights_of

    try:
        kept = keras.saving.load_model(weights)
        layers = weights_of(kept)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{weights} is no dust detector: {str(error).splitlines()[0]}",
            fix="give the dustface.keras that `dsr-train detector` wrote",
        ) from error
    model = onnx_of(layers)
    folder.mkdir(parents=True, exist_ok=True)
    recipe = weights.with_name("recipe.json")
    manifest = {
        "name": name,
        "kind": "detector",
        "file": f"{name}.onnx",
        "sha256": hashlib.sha256(model).hexdigest(),
        "bytes": len(model),
        "input": {"name": INPUT, "shape": [1, 3, None, None], "dtype": "float32"},
        "outputs": [f"stride_{stride}" for stride in STRIDES],
        "licence": LICENCE,
        "training": json.loads(recipe.read_text(encoding="utf-8")) if recipe.is_file() else {},
        "source_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    replace_file(folder / f"{name}.onnx", model)
    replace_file(folder / f"{name}.json", json.dumps(manifest, indent=1).encode() + b"\n")
    return folder / f"{name}.json"


def onnx_of(layers: Mapping[str, tuple[Any, Any]]) -> bytes:
    """Return the ONNX file of a network with these kernels and biases (`detector.weights_of`)."""
    import onnx
    from onnx import helper

    from dsr_inception.detector import STRIDES

    graph = _Graph(layers)
    graph.network()
    outputs = [
        helper.make_tensor_value_info(
            f"stride_{stride}", onnx.TensorProto.FLOAT, [1, 15, f"height/{stride}", f"width/{stride}"]
        )
        for stride in STRIDES
    ]
    picture = helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, [1, 3, "height", "width"])
    made = helper.make_graph(graph.nodes, "dustface", [picture], outputs, graph.weights)
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(made, opset_imports=opset, ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


class _Graph:
    """Collects nodes and weights; every method returns the name of what it made."""

    def __init__(self, layers: Mapping[str, tuple[Any, Any]]) -> None:
        self._layers = layers
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def network(self) -> None:
        """Add everything from the picture to the maps."""
        from dsr_inception.detector import BACKBONE, STRIDES, TAPS

        x = self._convolution(INPUT, "stem", strides=[2, 2])
        x = self._node("Relu", [x], "stem_relu")
        taps: dict[str, str] = {}
        for name, _, pooled in BACKBONE:
            x = taps[name] = self._unit(x, name)
            if pooled:
                x = self._node("MaxPool", [x], f"{name}_pool", kernel_shape=[2, 2], strides=[2, 2])
        self._weight("twice", np.ones((64, 1, 2, 2), np.float32))
        above = ""
        for level, stride in reversed(tuple(enumerate(STRIDES))):
            x = taps[TAPS[stride]]
            if above:
                # Each value four times: a Resize would want FP32 scales among FP16 tensors.
                how = {"kernel_shape": [2, 2], "strides": [2, 2], "group": 64}
                up = self._node("ConvTranspose", [above, "twice"], f"up_{stride}", **how)
                x = self._node("Add", [x, up], f"sum_{stride}")
            above = self._unit(x, f"lateral_{level}")
            self._head(above, level, stride)

    def _head(self, x: str, level: int, stride: int) -> None:
        sure = [
            self._node("Sigmoid", [self._unit(x, f"{name}_{level}", relu=False)], f"{name}_{level}_share")
            for name in ("cls", "obj")
        ]
        score = self._node("Sqrt", [self._node("Mul", sure, f"product_{level}")], f"score_{level}")
        rest = [self._unit(x, f"{name}_{level}", relu=False) for name in ("bbox", "kps")]
        self._node("Concat", [score, *rest], f"stride_{stride}", axis=1)

    def _unit(self, x: str, name: str, *, relu: bool = True) -> str:
        x = self._convolution(x, f"{name}_pw")
        x = self._convolution(x, f"{name}_dw")
        return self._node("Relu", [x], f"{name}_relu") if relu else x

    def _convolution(self, x: str, name: str, **how: Any) -> str:
        kernel, bias = self._layers[name]
        each = name.endswith("_dw")
        moved = kernel.transpose(2, 3, 0, 1) if each else kernel.transpose(3, 2, 0, 1)
        self._weight(f"{name}/kernel", moved)
        self._weight(f"{name}/bias", bias)
        side = int(kernel.shape[0])
        how |= {"kernel_shape": [side, side], "pads": [side // 2] * 4, "group": len(bias) if each else 1}
        return self._node("Conv", [x, f"{name}/kernel", f"{name}/bias"], name, **how)

    def _weight(self, name: str, values: Any) -> None:
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))

    def _node(self, kind: str, inputs: list[str], name: str, **how: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{name}_node", **how))
        return name
