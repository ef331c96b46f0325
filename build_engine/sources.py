"""Which ONNX file an engine is built from, and what the box must get out of it.

The box is configured with one FP32 recogniser, ``NAME.json``; under its hash the register of people keeps its
embeddings. Beside it stand the graphs for builders: ``NAME.qdq-fp16`` and ``NAME.qdq-fp32`` for INT8,
``NAME.fp16`` for strongly typed FP16. An engine stands for the FP32 model, so its golden embeddings are
the FP32 model's, as recorded in its manifest or else computed here by ONNX Runtime; a graph whose own
golden says something else was made from other weights and is refused before the long build.

A detector goes the same way, in FP32 and FP16: its maps say where a face is to a fraction of a pixel, and it
is not quantised. Its picture's size is free in the graph and fixed in an engine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_app.engines.manifest import DETECTOR, RECOGNISER, ModelManifest, load_manifest
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

#: Cosine between the golden embeddings of two FP32 files of the same weights.
SAME_WEIGHTS: Final = 0.9999
#: A detector halves its picture five times.
_STEP: Final = 32
#: Cosine below which an engine's golden embedding is wrong, by what it computes in.
MIN_COSINE: Final = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.99}


@dataclass(frozen=True, slots=True)
class Source:
    """The file to build, its manifest, and the FP32 model that the engine stands for, with its golden."""

    name: str
    path: Path
    manifest: dict[str, Any]
    embeds_as: str
    golden: dict[str, Any]


def find_source(model: Path, *, precision: str, strong: bool, implicit: bool) -> Source:
    """Return what to build for the FP32 model whose manifest is `model`.

    Args:
        model: ``NAME.json``.
        precision: ``fp32``, ``fp16`` or ``int8``.
        strong: the builder takes every type from the graph.
        implicit: INT8 by a calibrator, from the graph without Q/DQ.

    Raises:
        ModelError: a file is missing, altered, or of other weights than the FP32 model, or a detector is
            asked for in INT8.
    """
    reference = load_manifest(model)
    if reference.kind == DETECTOR:
        return _detector(model, reference, precision=precision, strong=strong)
    reference.require_kind(RECOGNISER)
    variant = _variant(precision, strong=strong, implicit=implicit)
    path = model if variant is None else model.with_name(f"{model.stem}.{variant}.json")
    if not path.exists():
        raise ModelError(
            f"an {precision.upper()} engine is made here from {path.stem}.onnx, which is not there",
            fix="make it: dsr-engine export, dsr-calibrate collect, dsr-engine quantize",
        )
    graph = load_manifest(path)
    manifest = json.loads(path.read_text(encoding="utf-8"))
    model_path = reference.verify()
    golden = dict(reference.golden or {}) if _is_current(reference.golden) else golden_of(model_path)
    _require_same_weights(manifest, golden, graph.path)
    return Source(
        name=reference.name,
        path=graph.verify(),
        manifest=manifest,
        embeds_as=reference.sha256,
        golden=golden | {"reference_sha256": reference.sha256, "min_cosine": _least(manifest, precision)},
    )


def _detector(model: Path, reference: ModelManifest, *, precision: str, strong: bool) -> Source:
    if precision == "int8":
        raise ModelError(
            f"{reference.name} is a detector; those are not quantised here",
            fix="--precision fp16, or fp32",
        )
    variant = _variant(precision, strong=strong, implicit=False)
    path = model if variant is None else model.with_name(f"{model.stem}.{variant}.json")
    if not path.exists():
        raise ModelError(
            f"an {precision.upper()} engine is made here from {path.stem}.onnx, which is not there",
            fix="make it: dsr-engine export --detector",
        )
    graph = load_manifest(path)
    manifest = json.loads(path.read_text(encoding="utf-8"))
    return Source(
        name=reference.name, path=graph.verify(), manifest=manifest, embeds_as=reference.sha256, golden={}
    )


def load_model(source: Source, *, size: tuple[int, int] | None = None) -> bytes:
    """Return the bytes of the ONNX file that is built, its picture `size` (width, height) fixed if given.

    Raises:
        ModelError: the size is not free in the graph, or must be given.
    """
    content = source.path.read_bytes()
    return content if size is None else with_size(content, size)


def with_size(content: bytes, size: tuple[int, int]) -> bytes:
    """Return the ONNX model `content` with pictures of `size` (width, height) going in, nodes named.

    Raises:
        ModelError: it has another size already, or the size is not a multiple of 32.
    """
    import onnx

    width, height = size
    if width < _STEP or height < _STEP or width % _STEP or height % _STEP:
        raise ModelError(f"a picture of {width}x{height} does not go in", fix="give multiples of 32")
    model = onnx.load_model_from_string(content)
    for axis, wanted in zip(
        model.graph.input[0].type.tensor_type.shape.dim[2:], (height, width), strict=True
    ):
        if axis.dim_value not in (0, wanted):
            raise ModelError(
                f"pictures of {axis.dim_value} pixels a side go into this network, no others", fix="no --size"
            )
        axis.dim_value = wanted
    for node in model.graph.node:  # an engine's layers are found again by these
        node.name = node.name or node.output[0]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def golden_of(path: Path) -> dict[str, Any]:
    """Return the golden embeddings of the FP32 model in the file `path`."""
    from edge_app.engines.golden import GOLDEN_ID, golden_batch
    from edge_app.engines.onnx_engine import OnnxEngine

    engine = OnnxEngine(path)
    vectors = engine.run(golden_batch())[0]
    engine.close()
    return {"pictures": GOLDEN_ID, "embedding": [[round(float(x), 7) for x in row] for row in vectors]}


def _variant(precision: str, *, strong: bool, implicit: bool) -> str | None:
    if precision == "int8":
        if implicit:
            return "equal"
        return "qdq-fp16" if strong else "qdq-fp32"
    return "fp16" if precision == "fp16" and strong else None


def _is_current(golden: Any) -> bool:
    from edge_app.engines.golden import GOLDEN_ID

    return isinstance(golden, dict) and golden.get("pictures") == GOLDEN_ID and "embedding" in golden


def _least(manifest: dict[str, Any], precision: str) -> float:
    own = manifest.get("golden")
    if isinstance(own, dict) and "min_cosine" in own:
        return float(own["min_cosine"])
    return MIN_COSINE[precision]


def _require_same_weights(manifest: dict[str, Any], golden: dict[str, Any], path: Path) -> None:
    own = manifest.get("golden")
    if not isinstance(own, dict) or own.get("pictures") != golden["pictures"]:
        return
    ours, theirs = np.asarray(golden["embedding"]), np.asarray(own["embedding"])
    cosine = float((ours * theirs).sum(1).min()) if ours.shape == theirs.shape else -1.0
    if cosine < SAME_WEIGHTS:
        raise ModelError(
            f"{path} was made from other weights than the FP32 model beside it: their golden embeddings "
            f"have a cosine of {cosine:.4f}, at least {SAME_WEIGHTS} was expected",
            fix="export and quantise again from the same Keras model",
        )
