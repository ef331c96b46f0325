"""A small recogniser with every kind of layer that DSR-Inception has, as all the files a builder wants.

It is to engines what `tests.tiny_models` is to the box: real, quick, and worked through the project's own
quantiser. Shapes, types and names are those of the export; the weights are random.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from build_engine.fp16 import to_fp16
from build_engine.qdq import insert_qdq
from calibration.network import quantised_tensors
from edge_app.engines.golden import golden_batch
from edge_app.faces.preprocess import PREPROCESS_ID, PREPROCESS_SHA256
from tests.tiny_models import save, tensor

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "small"
DIM: Final = 128
_WIDE: Final = 64
_QMAX: Final = 127


class _Builder:
    """Collects nodes and weights."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, name: str, *shape: int, around: float = 0.0) -> str:
        scale = 0.2 if around else np.sqrt(2 / max(1, int(np.prod(shape[1:]))))
        values = (self.rng.normal(size=shape) * scale + around).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def add(self, kind: str, inputs: list[str], out: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [out], name=out, **attributes))
        return out

    def conv(self, x: str, out: str, *shape: int, stride: int = 1, group: int = 1, relu: bool = True) -> str:
        pads = [shape[2] // 2] * 4
        made = self.add(
            "Conv",
            [x, self.weight(f"{out}_w", *shape), self.weight(f"{out}_b", shape[0])],
            out,
            strides=[stride, stride],
            pads=pads,
            group=group,
        )
        return self.add("Relu", [made], f"{out}_relu") if relu else made


def network(path: Path, *, seed: int = 1) -> Path:
    """Write the recogniser: a stem, one DS-Inception block, pooling, embedding of unit length."""
    b = _Builder(seed)
    x = b.conv("input", "stem", 32, 3, 3, 3, stride=4)
    one = b.conv(x, "f1", 32, 32, 1, 1)
    two = b.conv(b.conv(x, "f2_in", 16, 32, 1, 1), "f2_depthwise", 16, 1, 3, 3, group=16, relu=False)
    two = b.conv(two, "f2", 16, 16, 1, 1)
    pool = b.add("MaxPool", [x], "f4_pool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    four = b.conv(pool, "f4", 16, 32, 1, 1)
    both = b.add("Concat", [one, two, four], "join", axis=1)
    scaled = b.add("Mul", [both, b.weight("bn_scale", 1, _WIDE, 1, 1, around=1.0)], "bn_mul")
    scaled = b.add("Add", [scaled, b.weight("bn_shift", 1, _WIDE, 1, 1)], "bn")
    down = b.add("MaxPool", [scaled], "down", kernel_shape=[2, 2], strides=[2, 2])
    last = b.conv(down, "last", 128, _WIDE, 3, 3)
    pooled = b.add("Flatten", [b.add("GlobalAveragePool", [last], "gap")], "flat")
    linear = b.add("MatMul", [pooled, b.weight("matrix", 128, DIM)], "linear")
    b.weights.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"))
    norm = b.add("ReduceSum", [b.add("Mul", [linear, linear], "square"), "axis"], "sum", keepdims=1)
    b.add("Div", [linear, b.add("Sqrt", [norm], "norm")], "embedding")
    return save(
        path, b.nodes, [tensor("input", ["N", 3, 224, 224])], [tensor("embedding", ["N", DIM])], b.weights
    )


def write(folder: Path, *, seed: int = 1) -> Path:
    """Write the FP32 model and the graphs for builders beside it; return the FP32 model's manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = onnx.load(network(folder / f"{NAME}.onnx", seed=seed))
    scales = _scales(plain)
    quantised = insert_qdq(plain, scales)
    extra = {"scales_sha256": hashlib.sha256(json.dumps(scales).encode()).hexdigest(), "precision": "int8"}
    for suffix, model, more in (
        ("plain", plain, {}),
        ("fp16", to_fp16(plain), {"precision": "fp16"}),
        ("qdq-fp32", quantised, extra),
        ("qdq-fp16", to_fp16(quantised), extra),
    ):
        _write(folder, f"{NAME}.{suffix}", model.SerializeToString(deterministic=True), more)
    return _write(folder, NAME, (folder / f"{NAME}.onnx").read_bytes(), {})


def _scales(model: Any) -> dict[str, float]:
    wanted = [name for name in quantised_tensors(model) if name != "input"]
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    wide.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted)
    session = onnxruntime.InferenceSession(wide.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(wanted, {"input": golden_batch()})
    found = {name: float(np.abs(value).max()) / _QMAX for name, value in zip(wanted, values, strict=True)}
    return {"input": 1 / _QMAX, **found}


def _write(folder: Path, name: str, content: bytes, more: dict[str, Any]) -> Path:
    (folder / f"{name}.onnx").write_bytes(content)
    manifest = {
        "name": name,
        "kind": "recogniser",
        "file": f"{name}.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "input": {"name": "input", "shape": [None, 3, 224, 224], "dtype": "float32"},
        "output": {"name": "embedding", "dim": DIM},
        "preprocess": {"id": PREPROCESS_ID, "sha256": PREPROCESS_SHA256},
        "threshold": 0.41,
        "threshold_source": "none: random weights",
        "licence": "MIT",
        "training": "none",
        **more,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return path
