"""A DSR-Inception stage in small, as tf2onnx writes it: every rule of placement and equalisation applies."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_app.faces.preprocess import PREPROCESS_ID, PREPROCESS_SHA256

#: Ordinary convolutions, depthwise ones, and what each reads.
ORDINARY = {
    "f5": "input",
    "f2_in": "input",
    "f4": "f4_pool",
    "f2": "f2_depthwise",
    "next": "down",
    "side": "side_pool",
}
DEPTHWISE = ("f2_depthwise",)
CHANNELS, DIM = 8, 16


def network(*, seed: int = 3) -> Any:
    """Return the network, (N, 3, 224, 224) -> (N, 16) of unit length; its channels are far from equal."""
    rng = np.random.default_rng(seed)
    weights: dict[str, Any] = {}
    nodes: list[Any] = []

    def constant(name: str, value: Any) -> str:
        weights[name] = np.asarray(value, np.int64 if name == "axes" else np.float32)
        return name

    def conv(
        name: str, source: str, into: int, out: int, *, side: int = 1, group: int = 1, bias: bool = True
    ) -> str:
        kernel = rng.normal(0, 1 / np.sqrt(into * side * side / group), (out, into // group, side, side))
        inputs = [source, constant(f"{name}/kernel", kernel)]
        if bias:
            inputs.append(constant(f"{name}/bias", rng.normal(0, 0.1, out)))
        pads = [side // 2] * 4
        nodes.append(
            helper.make_node(
                "Conv", inputs, [name], name=name, group=group, pads=pads, kernel_shape=[side] * 2
            )
        )
        return name

    def simple(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def pool(source: str, name: str, size: int, stride: int) -> str:
        return simple(
            "MaxPool",
            [source],
            name,
            kernel_shape=[size] * 2,
            strides=[stride] * 2,
            pads=[size // 2 if stride == 1 else 0] * 4,
        )

    shrunk = simple("AveragePool", ["picture"], "input", kernel_shape=[7, 7], strides=[7, 7])
    wide = simple("Relu", [conv("f5", shrunk, 3, 2 * CHANNELS)], "f5_relu")
    inner = simple("Relu", [conv("f2_in", shrunk, 3, CHANNELS)], "f2_in_relu")
    spread = conv("f2_depthwise", inner, CHANNELS, CHANNELS, side=3, group=CHANNELS, bias=False)
    right = simple("Relu", [conv("f2", spread, CHANNELS, CHANNELS)], "f2_relu")
    left = simple("Relu", [conv("f4", pool(shrunk, "f4_pool", 3, 1), 3, CHANNELS)], "f4_relu")
    joined = simple("Add", [simple("Concat", [left, right], "concat", axis=1), wide], "sum")
    scale = np.exp(rng.normal(0, 1.5, (2 * CHANNELS, 1, 1)))
    scaled = simple("Mul", [joined, constant("bn/scale", scale)], "bn_mul")
    shifted = simple("Add", [scaled, constant("bn/shift", rng.normal(0, 1, scale.shape))], "bn")
    down = pool(shifted, "down", 2, 2)
    last = simple("Relu", [conv("next", down, 2 * CHANNELS, DIM)], "next_relu")
    side = simple("Relu", [conv("side", pool(down, "side_pool", 3, 1), 2 * CHANNELS, DIM)], "side_relu")
    mean = simple("GlobalAveragePool", [simple("Add", [last, side], "both")], "gap")
    flat = simple("Squeeze", [mean, constant("axes", [2, 3])], "flat")
    line = simple("MatMul", [flat, constant("matrix", rng.normal(0, 1, (DIM, DIM)))], "line")
    square = simple("ReduceL2", [line], "length", axes=[1], keepdims=1)
    simple("Div", [line, square], "embedding")
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["N", 3, 224, 224])
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", DIM])
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", [picture], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"preprocess_id": PREPROCESS_ID, "preprocess_sha256": PREPROCESS_SHA256})
    onnx.checker.check_model(model)
    return model


def pictures(count: int, *, seed: int = 0) -> Any:
    """Return smooth random pictures over the whole range, (N, 224, 224, 3) uint8."""
    import cv2

    rng = np.random.default_rng(seed)
    small = rng.uniform(0, 255, (count, 9, 9, 3)).astype(np.float32)
    made = np.stack([cv2.resize(one, (224, 224), interpolation=cv2.INTER_CUBIC) for one in small])
    return np.clip(made + rng.normal(0, 4, made.shape), 0, 255).astype(np.uint8)
