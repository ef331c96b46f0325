"""The layer table of an engine: which layers there are, and in which types they compute.

It comes in two forms. A builder that logs at its most talkative, asked for detail, prints one line a
layer, which is all that a machine without a GPU can see of an engine; and where the engine can be
loaded, TensorRT's inspector gives the same as JSON. Both say from which nodes of the ONNX graph a
layer was made, and that is what `build_engine.inspect` goes by: an engine's own names are mangled.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LINE: Final = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<type>[^,]*), Inputs: (?P<rest>.*)")
_SECTION: Final = re.compile(r"(Constants|Outputs|TacticName|Metadata): ")
_TYPE: Final = re.compile(r"Datatype: (\w+)")
_FORMAT_TYPE: Final = re.compile(r"\b(Int8|FP8|Half|BFloat16|Float|Int32|Int64|Bool|FP16|FP32)\b")
_ORIGIN: Final = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_MOVES: Final = ("signal", "wait", "shape_call", "NoOp", "Reformat", "reformat")


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """One layer: its kind, the types of its inputs, constants (weights) and outputs, the ONNX nodes in it."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]

    @property
    def computes(self) -> bool:
        """Whether it is more than a wait, a signal or a change of layout."""
        return self.kind not in _MOVES

    @property
    def int8(self) -> bool:
        """Whether what goes in is INT8, and so are the weights, where the table shows them."""
        return "Int8" in self.inputs[:1] and self.constants[:1] in ((), ("Int8",))

    def record(self) -> dict[str, Any]:
        """Return it for a JSON file."""
        return {
            "name": self.name,
            "kind": self.kind,
            "inputs": list(self.inputs),
            "constants": list(self.constants),
            "outputs": list(self.outputs),
            "nodes": list(self.nodes),
        }


def layer_of(record: Mapping[str, Any]) -> EngineLayer:
    """Return the layer that `EngineLayer.record` wrote."""
    lists = {key: tuple(map(str, record[key])) for key in ("inputs", "constants", "outputs", "nodes")}
    return EngineLayer(name=str(record["name"]), kind=str(record["kind"]), **lists)


def parse_layers(text: str) -> tuple[EngineLayer, ...]:
    """Return the layers in a builder's log or in the inspector's JSON.

    Raises:
        ModelError: there is no layer in it.
    """
    stripped = text.lstrip()
    layers = _from_json(stripped) if stripped.startswith("{") else _from_log(text)
    if not layers:
        raise ModelError(
            f"there is no layer table in the {len(text)} characters that the builder said",
            fix="build with ProfilingVerbosity.DETAILED and a log at VERBOSE, as dsr-engine build does",
        )
    return layers


def _from_log(text: str) -> tuple[EngineLayer, ...]:
    found = []
    for line in text.splitlines():
        match = _LINE.search(line)
        if match is None:
            continue
        parts = _SECTION.split(match["rest"])
        sections = {"Inputs": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}
        types = {key: tuple(_TYPE.findall(value)) for key, value in sections.items()}
        found.append(
            EngineLayer(
                name=match["name"],
                kind=match["type"].strip(),
                inputs=types["Inputs"],
                constants=types.get("Constants", ()),
                outputs=types.get("Outputs", ()),
                nodes=tuple(_ORIGIN.findall(sections.get("Metadata", ""))),
            )
        )
    return tuple(found)


def _from_json(text: str) -> tuple[EngineLayer, ...]:
    try:
        layers = json.loads(text)["Layers"]
    except (ValueError, KeyError) as error:
        raise ModelError(f"the inspector's table is not what it was: {error}") from error
    return tuple(_json_layer(layer) for layer in layers if isinstance(layer, dict))


def _json_layer(layer: Mapping[str, Any]) -> EngineLayer:
    weights = layer.get("Weights")
    constants = layer.get("Constants", [])
    if isinstance(weights, dict) and "Type" in weights:
        constants = [{"Datatype": weights["Type"]}]
    return EngineLayer(
        name=str(layer.get("Name", "")),
        kind=str(layer.get("LayerType", "")),
        inputs=_json_types(layer.get("Inputs", [])),
        constants=_json_types(constants),
        outputs=_json_types(layer.get("Outputs", [])),
        nodes=tuple(_ORIGIN.findall(str(layer.get("Metadata", "")))),
    )


def _json_types(tensors: list[Mapping[str, Any]]) -> tuple[str, ...]:
    found = []
    for tensor in tensors:
        said = tensor.get("Datatype") or tensor.get("Format/Datatype") or ""
        match = _FORMAT_TYPE.search(str(said))
        found.append(match[1] if match else str(said))
    return tuple(found)
