"""Opening an ONNX file for calibration, and which of its tensors are to be quantised.

The rule is the measured one: **inputs of ordinary convolutions**. Depthwise convolutions stay in
float, as do sums, concatenations, the average pooling and the embedding. A tensor that comes out of a
max pool of another such input shares that one's scale, so that pooling can stay in INT8.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import ModelError
from edge_app.faces.preprocess import PREPROCESS_ID, PREPROCESS_SHA256

if TYPE_CHECKING:
    from pathlib import Path

_RESTORE: Final = "restore the file with its manifest, or export it again: dsr-engine export"


def load_network(path: Path, *, sha256: str | None = None) -> Any:
    """Return the ONNX ModelProto in `path`, checked.

    Raises:
        ModelError: missing, empty, truncated or garbage, another file than `sha256`, an operator that ONNX
            does not know, or a graph without inputs or with a dangling one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}", fix=_RESTORE) from error
    if not content:
        raise ModelError(f"{path} is empty", fix=_RESTORE)
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ModelError(
            f"{path} is another file than expected: sha256 {sha256}, received {found}", fix=_RESTORE
        )
    return parse_network(content, name=str(path))


def parse_network(content: bytes, *, name: str) -> Any:
    """Return the ModelProto in `content`, checked; `name` stands in the errors."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ModelError(f"{name} is no ONNX file, or is cut short: {error}", fix=_RESTORE) from error
    if not model.graph.input or not model.graph.output or not model.graph.node:
        raise ModelError(f"{name} holds no network: no inputs, outputs or nodes", fix=_RESTORE)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(f"{name} is no network that can be used: {first}", fix=_RESTORE) from error
    return model


def require_preprocess(model: Any, *, name: str) -> None:
    """Refuse a network whose metadata names another preprocessing than this program's.

    Raises:
        ModelError: another one, or none.
    """
    found = {entry.key: entry.value for entry in model.metadata_props}.get("preprocess_sha256")
    if found != PREPROCESS_SHA256:
        raise ModelError(
            f"{name} was made with the preprocessing {found!r:.20}; this program has {PREPROCESS_ID!r}",
            fix="export the network with this release: dsr-engine export",
        )


def attribute(node: Any, name: str, default: int) -> int:
    """Return an integer attribute of an ONNX node."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def quantised_convolutions(model: Any) -> list[Any]:
    """Return the nodes that run in INT8: ordinary convolutions with constant weights, in graph order."""
    weights = {w.name for w in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and attribute(node, "group", 1) == 1 and node.input[1] in weights
    ]


def quantised_tensors(model: Any) -> dict[str, str]:
    """Return every tensor that is quantised, and the tensor whose scale it has (usually itself).

    The order is that of the graph.
    """
    producers = {output: node for node in model.graph.node for output in node.output}
    inputs = dict.fromkeys(node.input[0] for node in quantised_convolutions(model))
    shared: dict[str, str] = {}
    for tensor in inputs:
        owner, at = tensor, tensor
        while (node := producers.get(at)) is not None and node.op_type == "MaxPool":
            at = node.input[0]
            owner = at if at in inputs else owner
        shared[tensor] = owner
    return shared


def float_tensors(model: Any) -> list[str]:
    """Return the names of all activations, the input first; what an implicit calibration cache lists."""
    integers = {"Shape", "Size", "ArgMax", "NonZero"}
    made = [n.output[0] for n in model.graph.node if n.op_type not in integers]
    return [*(value.name for value in model.graph.input), *made]
