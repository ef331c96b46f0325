"""Put QuantizeLinear/DequantizeLinear pairs where they were measured to belong, and nowhere else.

Quantised are the inputs of ordinary convolutions and their weights, per output channel; both symmetric
signed eight-bit with zero point 0. Nothing stands between a convolution and its ReLU, on a bias, on the
average pooling, the embedding, a sum, a concatenation or around a depthwise convolution. A max pool
between two such inputs reads the dequantised one and its result has the same scale, so that a builder
may pool in INT8. BatchNormalization must not be folded: per-tensor ranges are kind to equal channels.

Where eight bits are too few for an input, a convolution may read it in two terms: what the first rounds away
is rounded again, 250 times finer, and goes through the same INT8 weights; both results are added.

The result is FP32-typed (opset 17). Weights stay float before their Q/DQ pair there, the form that every
TensorRT since 8 reads; they already lie on the INT8 grid, so quantising them again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from calibration.network import quantised_convolutions, quantised_tensors
from calibration.ranges import QMAX, scale_of
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy.typing as npt

    from build_engine.rounding import Rounded

#: Candidate weight ranges, as shares of a channel's largest magnitude.
_SHARES: Final = np.linspace(0.7, 1.0, 31)
#: A first term is off by half a step at most; the second covers that with 127 steps, and a little to spare.
_FINER: Final = 250
#: Ends of the names of a convolution's two terms.
FIRST, SECOND = "/first", "/second"
#: A channel without weights still needs a scale that FP16 can hold.
_LEAST_AMAX: Final = QMAX * 6.2e-5


def weight_scales(kernel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return each output channel's scale, (O,), with the smallest squared error for `kernel` (O, I, H, W)."""
    flat = kernel.reshape(len(kernel), -1).astype(np.float64)
    amax = np.maximum(np.abs(flat).max(axis=1), _LEAST_AMAX)
    scales = np.array([[scale_of(float(a * share)) for share in _SHARES] for a in amax])
    error = np.empty_like(scales)
    for column in range(scales.shape[1]):
        step = scales[:, column, None]
        copy = np.clip(np.round(flat / step), -QMAX, QMAX) * step
        error[:, column] = ((flat - copy) ** 2).sum(axis=1)
    best = error.argmin(axis=1)
    return np.asarray(scales[np.arange(len(flat)), best], np.float32)


def quantised_weights(
    kernel: npt.NDArray[np.float32], scales: npt.NDArray[np.float32]
) -> npt.NDArray[np.int8]:
    """Return `kernel` in steps of each channel's scale, -127..127, its shape kept."""
    steps = kernel / scales.reshape(-1, *[1] * (kernel.ndim - 1))
    return np.clip(np.round(steps), -QMAX, QMAX).astype(np.int8)


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a network runs in INT8: convolutions of all, and multiply-adds of all."""

    convolutions: int
    of: int
    macs: int
    all_macs: int

    @property
    def mac_share(self) -> float:
        """The share of multiply-adds in INT8, 0..1."""
        return self.macs / max(1, self.all_macs)


def insert_qdq(
    model: Any,
    scales: Mapping[str, float],
    *,
    only: Collection[str] | None = None,
    rounded: Mapping[str, Rounded] | None = None,
    two_terms: Collection[str] = (),
) -> Any:
    """Return a copy of `model` with Q/DQ on the inputs and weights of its ordinary convolutions.

    Args:
        model: the plain ONNX ModelProto (opset 13 or later, float32).
        scales: amax / 127 of every tensor of `quantised_tensors`.
        only: quantise these convolutions (output names) alone.
        rounded: kernels in steps by name; others are rounded to the nearest.
        two_terms: these convolutions (output names) read their input in two terms.

    Raises:
        ModelError: the network has no such convolution, or a scale is missing or not positive.
    """
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    convolutions = [n for n in quantised_convolutions(result) if only is None or n.output[0] in only]
    if not convolutions:
        raise ModelError(
            "there is no convolution to quantise in this network", fix="give the plain recogniser"
        )
    maker = _Maker(result, scales, rounded or {})
    for node in convolutions:
        source = node.input[0]
        node.input[0] = maker.activation(source)
        node.input[1] = maker.weight(node.input[1])
        if node.output[0] in two_terms:
            maker.add_second_term(node, source)
    for pool in result.graph.node:
        if pool.op_type == "MaxPool" and maker.reads_from(pool):
            pool.input[0] = maker.activation(pool.input[0])
    maker.finish()
    onnx.checker.check_model(result)
    return result


class _Maker:
    """Makes each Q/DQ pair once and keeps the graph in topological order."""

    def __init__(self, model: Any, scales: Mapping[str, float], rounded: Mapping[str, Rounded]) -> None:
        from onnx import numpy_helper

        self._rounded = rounded

        self._graph = model.graph
        self._scales = scales
        self._owners = quantised_tensors(model)
        self._weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
        self._pairs: dict[str, tuple[str, list[Any]]] = {}
        self._rests: dict[str, tuple[str, list[Any]]] = {}
        self._sums: dict[str, list[Any]] = {}
        self._added: dict[str, Any] = {}

    def reads_from(self, pool: Any) -> bool:
        """Tell whether `pool` lies between two quantised tensors that share a scale."""
        source, target = pool.input[0], pool.output[0]
        fits = source in self._pairs and target in self._pairs and self._owners.get(target) == source
        return fits and target not in self._rests  # what is pooled in INT8 has no second term

    def activation(self, tensor: str) -> str:
        """Return the dequantised twin of `tensor`."""
        if tensor not in self._pairs:
            owner = self._owners[tensor]
            scale = self._scales.get(owner)
            if scale is None or not scale > 0:
                raise ModelError(
                    f"there is no scale for {owner!r}: received {scale}", fix="dsr-calibrate collect"
                )
            self._pairs[tensor] = self._pair(tensor, owner, np.float32(scale), axis=None)
        return self._pairs[tensor][0]

    def add_second_term(self, node: Any, source: str) -> None:
        """Let the convolution `node`, already quantised, also read what the rounding of `source` left."""
        import onnx
        from onnx import helper

        if source not in self._rests:
            rest, owner = f"{source}/rest", self._owners[source]
            finer = max(float(self._scales[owner]) / _FINER, _LEAST_AMAX / QMAX)
            back, pair = self._pair(rest, f"{owner}/rest", np.float32(np.float16(finer)), axis=None)
            taken = helper.make_node("Sub", [source, self._pairs[source][0]], [rest], name=rest)
            self._rests[source] = back, [taken, *pair]
        out = node.output[0]
        second = onnx.NodeProto()
        second.CopyFrom(node)
        second.name = second.output[0] = f"{out}{SECOND}"
        second.input[0] = self._rests[source][0]
        del second.input[2:]  # the bias is added once
        node.name = node.output[0] = f"{out}{FIRST}"
        total = helper.make_node("Add", [node.output[0], second.output[0]], [out], name=out)
        self._sums[node.output[0]] = [second, total]

    def weight(self, name: str) -> str:
        """Return the dequantised twin of the weight `name`, moved onto the INT8 grid."""
        if name not in self._pairs:
            kernel = self._weights[name]
            ready = self._rounded.get(name)
            scales = weight_scales(kernel) if ready is None else ready.scales
            steps = quantised_weights(kernel, scales) if ready is None else ready.steps
            grid = steps.astype(np.float32)
            self._replace(name, grid * scales.reshape(-1, *[1] * (kernel.ndim - 1)))
            self._pairs[name] = self._pair(name, name, scales, axis=0)
        return self._pairs[name][0]

    def _pair(
        self, tensor: str, owner: str, scale: npt.NDArray[np.float32] | np.float32, *, axis: int | None
    ) -> tuple[str, list[Any]]:
        from onnx import helper

        step = self._constant(f"{owner}/scale", np.asarray(scale, np.float32))
        zero = self._constant(f"{owner}/zero", np.zeros(np.shape(scale), np.int8))
        extra = {} if axis is None else {"axis": axis}
        quantised, back = f"{tensor}/quantised", f"{tensor}/dequantised"
        nodes = [
            helper.make_node("QuantizeLinear", [tensor, step, zero], [quantised], name=quantised, **extra),
            helper.make_node("DequantizeLinear", [quantised, step, zero], [back], name=back, **extra),
        ]
        return back, nodes

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        self._added.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def _replace(self, name: str, value: npt.NDArray[np.float32]) -> None:
        from onnx import numpy_helper

        weight = next(w for w in self._graph.initializer if w.name == name)
        weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))

    def finish(self) -> None:
        """Put each pair right after what makes its tensor, and add the constants."""
        nodes: list[Any] = []

        def follow(name: str) -> None:
            for kept in (self._pairs, self._rests):
                nodes.extend(kept[name][1] if name in kept else ())

        for value in (*self._graph.initializer, *self._graph.input):
            follow(value.name)
        for node in self._graph.node:
            nodes.append(node)
            for output in node.output:
                follow(output)
                for more in self._sums.get(output, ()):
                    nodes.append(more)
                    follow(more.output[0])
        copied = list(nodes)
        del self._graph.node[:]
        self._graph.node.extend(copied)
        self._graph.initializer.extend(self._added.values())


def share_in_int8(model: Any) -> Share:
    """Return how much of the Q/DQ network `model` is in INT8: multiply-adds of convolutions and products."""
    import onnx

    shapes = _shapes(onnx.shape_inference.infer_shapes(model, data_prop=True))
    quantised = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    count = of = macs = total = 0
    for node in model.graph.node:
        if node.op_type not in ("Conv", "MatMul", "Gemm"):
            continue
        kernel = shapes[node.input[1]]
        area = int(np.prod(shapes[node.output[0]][2:])) if node.op_type == "Conv" else 1
        cost = int(np.prod(kernel)) * area
        total += cost
        of += node.op_type == "Conv"
        if node.op_type == "Conv" and {node.input[0], node.input[1]} <= quantised:
            count, macs = count + 1, macs + cost
    return Share(count, of, macs, total)


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    graph = model.graph
    found = {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    return found | {w.name: tuple(w.dims) for w in graph.initializer}
