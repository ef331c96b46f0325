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
