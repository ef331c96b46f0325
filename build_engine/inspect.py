"""What an engine really computes in: its layer table held against the graph that it was built from.

A builder may leave a convolution in floating point without a word, and an "INT8 engine" is then one in
name only. So every convolution of the ONNX graph is looked up in the engine by the name of its node,
with the multiply-accumulates that the graph says it costs; the share of them that runs in INT8 must be
at least 90 %. A depthwise convolution in INT8 is refused as well: grouped INT8 is slower than FP16.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import ModelError, NotInt8

if TYPE_CHECKING:
    from collections.abc import Sequence

    from build_engine.layers import EngineLayer

#: The least share of the convolutions' multiply-accumulates that an INT8 engine runs in INT8.
MIN_INT8_SHARE: Final = 0.90
_UNKNOWN: Final = "not found"


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution of the graph: its node, its multiply-accumulates for one picture, its groups."""

    node: str
    macs: int
    groups: int

    @property
    def depthwise(self) -> bool:
        """Whether it works on each channel by itself."""
        return self.groups > 1


@dataclass(frozen=True, slots=True)
class Placed:
    """A convolution and the type that the engine computes it in (``Int8``, ``Half``, ``Float`` ...)."""

    convolution: Convolution
    type: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """All convolutions of a graph with the types that an engine computes them in."""

    placed: tuple[Placed, ...]

    @property
    def int8_mac_share(self) -> float:
        """Share of the convolutions' multiply-accumulates that run in INT8, 0..1."""
        total = sum(one.convolution.macs for one in self.placed)
        return sum(one.convolution.macs for one in self.placed if one.type == "Int8") / total

    @property
    def depthwise_int8(self) -> tuple[str, ...]:
        """The depthwise convolutions that run in INT8; there should be none."""
        return tuple(
            one.convolution.node for one in self.placed if one.convolution.depthwise and one.type == "Int8"
        )

    @property
    def lost(self) -> tuple[str, ...]:
        """The convolutions that the engine's table does not name."""
        return tuple(one.convolution.node for one in self.placed if one.type == _UNKNOWN)

    def record(self) -> dict[str, Any]:
        """Return the summary that stands in the engine's manifest under ``layers``."""
        return {
            "convolutions": len(self.placed),
            "int8": sum(one.type == "Int8" for one in self.placed),
            "int8_mac_share": round(self.int8_mac_share, 4),
            "depthwise_int8": list(self.depthwise_int8),
            "by_type": dict(sorted(Counter(one.type for one in self.placed).items())),
        }

    def require_int8(self) -> None:
        """Refuse an engine that is INT8 in name only.

        Raises:
            NotInt8: too little runs in INT8, or a depthwise convolution does.
        """
        if self.int8_mac_share < MIN_INT8_SHARE:
            floats = [one.convolution.node for one in self.placed if one.type != "Int8"]
            raise NotInt8(
                f"only {self.int8_mac_share:.1%} of the multiply-accumulates run in INT8; at least "
                f"{MIN_INT8_SHARE:.0%} are needed; in other types: {', '.join(floats[:5])} "
                f"({len(floats)} of {len(self.placed)})",
                fix="build from the Q/DQ graph (dsr-engine quantize), on a GPU that has INT8",
            )
        if self.depthwise_int8:
            raise NotInt8(
                f"depthwise convolutions run in INT8: {', '.join(self.depthwise_int8)}",
                fix="leave them in floating point: dsr-engine quantize places no Q/DQ before them",
            )


def convolutions_of(model: bytes) -> tuple[Convolution, ...]:
    """Return every convolution of an ONNX `model` with its cost, by shape inference.

    Raises:
        ModelError: it is no ONNX model, or has no convolution of known size.
    """
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model))
    except Exception as error:
        raise ModelError(f"the ONNX model cannot be read: {error}") from error
    graph = inferred.graph
    shapes = {w.name: tuple(w.dims) for w in graph.initializer}
    for value in (*graph.value_info, *graph.output, *graph.input):
        shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    found = []
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        weight, out = shapes.get(node.input[1], ()), shapes.get(node.output[0], ())
        if len(weight) != 4 or len(out) != 4 or 0 in out[2:]:  # noqa: PLR2004 -- (out, in / groups, h, w)
            raise ModelError(f"the size of the convolution {node.name} is not known: {weight} -> {out}")
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        macs = weight[0] * weight[1] * weight[2] * weight[3] * out[2] * out[3]
        found.append(Convolution(node=node.name or node.output[0], macs=macs, groups=groups))
    if not found:
        raise ModelError(
            "the ONNX model has no convolution", fix="give the graph that the engine was built from"
        )
    return tuple(found)


def inspect(model: bytes, layers: Sequence[EngineLayer]) -> Inspection:
    """Look up every convolution of the ONNX `model` in an engine's `layers`.

    Raises:
        ModelError: the model has no convolution, or the engine names none of them (another model's).
    """
    by_node: dict[str, EngineLayer] = {}
    for layer in layers:
        for node in layer.nodes:
            # A layer that only quantises for its successor can carry the convolution's name too.
            if layer.computes and (node not in by_node or _is_convolution(layer)):
                by_node[node] = layer
    placed = tuple(Placed(one, _type_of(by_node.get(one.node))) for one in convolutions_of(model))
    result = Inspection(placed)
    if len(result.lost) == len(placed):
        raise ModelError(
            "the engine names none of the graph's convolutions: it was built from another graph",
            fix="give the ONNX file whose hash stands in the engine's manifest",
        )
    return result


def _is_convolution(layer: EngineLayer) -> bool:
    return "conv" in layer.kind.lower() or layer.kind == "correlation"


def _type_of(layer: EngineLayer | None) -> str:
    if layer is None:
        return _UNKNOWN
    if layer.int8:
        return "Int8"
    return layer.inputs[0] if layer.inputs else _UNKNOWN
