"""Small real ONNX networks whose answers can be worked out by hand, written with their manifests."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_app.faces.preprocess import PREPROCESS_ID, PREPROCESS_SHA256

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

DIM = 8
#: What the tiny recogniser multiplies the mean colour (RGB, -1..1) with: (3, DIM).
WEIGHTS: npt.NDArray[np.float32] = np.random.default_rng(7).normal(size=(3, DIM)).astype(np.float32)


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> Path:
    """Write a checked network of opset 17 to `path`."""
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def tensor(name: str, shape: list[int | str], kind: int = TensorProto.FLOAT) -> Any:
    """Return the description of an input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def mean_colour_network(
    path: Path, *, batch: int | str = "n", weights: npt.NDArray[np.float32] = WEIGHTS
) -> Path:
    """Write a recogniser: the mean of each colour plane times `weights`."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
    ]
    return save(
        path,
        nodes,
        [tensor("input", [batch, 3, 224, 224])],
        [tensor("embedding", [batch, weights.shape[1]])],
        [numpy_helper.from_array(weights, "weights")],
    )


def recogniser(folder: Path, *, network: Path | None = None, **changes: Any) -> Path:
    """Write the tiny recogniser and its manifest into `folder`, with `changes` to the manifest's keys."""
    model = network or mean_colour_network(folder / "tiny.onnx")
    content = model.read_bytes()
    manifest = {
        "name": "tiny",
        "kind": "recogniser",
        "file": model.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "input": {"name": "input", "shape": [None, 3, 224, 224], "dtype": "float32"},
        "output": {"name": "embedding", "dim": DIM},
        "preprocess": {"id": PREPROCESS_ID, "sha256": PREPROCESS_SHA256},
        "threshold": 0.41,
        "threshold_source": "worked out by hand",
        "licence": "MIT",
        "training": "none",
    }
    path = model.with_suffix(".json")
    path.write_text(json.dumps(manifest | changes), encoding="utf-8")
    return path


def cell_network(path: Path, *, size: float = 1.0) -> Path:
    """Write a network with the dust detector's outputs that finds a face in every blue cell.

    The score is the mean of blue; the box is `size` strides high and wide about the cell's middle, its
    landmarks lie at fixed places in the cell.
    """
    nodes, weights, outputs = [], [], []
    for stride in (8, 16, 32):
        kernel = np.zeros((15, 3, stride, stride), np.float32)
        kernel[0, 0] = 1 / (255 * stride * stride)
        marks = [0.25, 0.25, 0.75, 0.25, 0.5, 0.5, 0.25, 0.75, 0.75, 0.75]
        bias = np.array([0.0, 0.5, 0.5, np.log(size), np.log(size), *marks], np.float32)
        weights += [
            numpy_helper.from_array(kernel, f"k{stride}"),
            numpy_helper.from_array(bias, f"b{stride}"),
        ]
        inputs = ["image", f"k{stride}", f"b{stride}"]
        nodes.append(helper.make_node("Conv", inputs, [f"stride_{stride}"], strides=[stride, stride]))
        outputs.append(tensor(f"stride_{stride}", [1, 15, f"height/{stride}", f"width/{stride}"]))
    return save(path, nodes, [tensor("image", [1, 3, "height", "width"])], outputs, weights)
