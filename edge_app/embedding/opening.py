"""Open the recogniser on the best engine there is, and say why it is not a better one.

In this order: the TensorRT engine that the operator has taken into use, OpenVINO, ONNX Runtime. An engine
stands for the FP32 model that the box is configured with, under whose hash the register keeps its
embeddings, so every step down this list leaves the register as it is. Before a face is looked at, the
engine must give the golden embeddings; one that does not, or cannot be opened, is passed over, and what
was wrong with it is handed to the caller for the log and an event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_app.embedding.recogniser import MAX_BATCH, Recogniser
from edge_app.engines.choose import open_engine
from edge_app.engines.golden import GOLDEN_ID, golden_batch
from edge_app.engines.manifest import RECOGNISER, ModelManifest, load_manifest
from edge_app.engines.onnx_engine import BACKEND as ORT
from edge_app.errors import ModelError
from edge_app.faces.preprocess import PREPROCESS_ID, PREPROCESS_SHA256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_app.engines.engine import Engine
    from edge_app.engines.store import EngineStore

#: A GPU and OpenVINO take a face and its mirror image in one run; ONNX Runtime gains nothing by it.
_PAIR: Final = 2


@dataclass(frozen=True, slots=True)
class Fallback:
    """A backend that should have been used, and why it is not."""

    backend: str
    reason: str


@dataclass(frozen=True, slots=True)
class Opening:
    """The recogniser, the stored engine that it runs on (None: the CPU), and what was passed over."""

    recogniser: Recogniser
    engine_id: str | None = None
    fallbacks: tuple[Fallback, ...] = ()


def open_recogniser(
    manifest_path: Path, *, store: EngineStore | None = None, threads: int = 1, without: tuple[str, ...] = ()
) -> Opening:
    """Open the model of `manifest_path` on the engine in use, and on the CPU where that fails.

    Args:
        manifest_path: the FP32 model's manifest.
        store: the box's engines; None for the CPU alone.
        threads: threads of a CPU engine.
        without: CPU backends that are not to be tried.

    Raises:
        ModelError: nothing can run the model, or its own file is missing or altered.
    """
    manifest = recogniser_manifest(manifest_path)
    fallbacks: list[Fallback] = []
    engine_id = None if store is None else store.choice().active
    if store is not None and engine_id is not None:
        try:
            return Opening(open_stored(manifest, store, engine_id), engine_id)
        except ModelError as error:
            fallbacks.append(Fallback(engine_id, error.what))
    skipped = list(without)
    while True:
        opened = open_engine(manifest.verify(), threads=threads, reduced=True, without=skipped)
        try:
            batch = MAX_BATCH if opened.engine.backend == ORT else _PAIR
            recogniser = Recogniser(
                manifest=manifest, engine=opened.engine, reason=opened.reason, max_batch=batch
            )
            if manifest.golden is not None:
                require_golden(opened.engine, manifest, manifest.golden)
            return Opening(recogniser, None, tuple(fallbacks))
        except ModelError as error:
            if opened.last:
                raise
            backend = opened.engine.backend
            opened.engine.close()
            fallbacks.append(Fallback(backend, error.what))
            skipped.append(backend)


def recogniser_manifest(path: Path) -> ModelManifest:
    """Return the manifest of a recogniser for this program's preprocessing.

    Raises:
        ModelError: it is none.
        PreprocessMismatch: it is one for another preprocessing.
    """
    manifest = load_manifest(path)
    manifest.require_kind(RECOGNISER)
    manifest.require_preprocess(preprocess_id=PREPROCESS_ID, sha256=PREPROCESS_SHA256)
    return manifest


def open_stored(manifest: ModelManifest, store: EngineStore, engine_id: str) -> Recogniser:
    """Open a stored engine for the FP32 model of `manifest`, after its golden embeddings were checked.

    Raises:
        ModelError: it is not signed, damaged, for another model or GPU, or answers wrongly.
    """
    from edge_app.engines.tensorrt_engine import open_plan

    stored = store.read(engine_id)
    require_stands_for(stored.manifest.embeds_as, manifest, engine_id)
    engine = open_plan(stored)
    try:
        cosine = require_golden(engine, manifest, stored.manifest.golden)
        reason = f"{engine_id}: signed by {stored.signed_by}, golden cosine {cosine:.4f}"
        return Recogniser(manifest=manifest, engine=engine, reason=reason, max_batch=_PAIR)
    except ModelError:
        engine.close()
        raise


def require_stands_for(embeds_as: str, manifest: ModelManifest, engine_id: str) -> None:
    """Refuse an engine of another model than the configured one.

    Raises:
        ModelError: it stands for another one.
    """
    if embeds_as != manifest.sha256:
        raise ModelError(
            f"the engine {engine_id} stands for the model {embeds_as[:16]}...; "
            f"the configured one is {manifest.name} {manifest.sha256[:16]}...",
            fix="build an engine of the configured model: dsr-engine build",
        )


def require_golden(engine: Engine, manifest: ModelManifest, golden: Mapping[str, Any]) -> float:
    """Return the smallest cosine between what `engine` says to the golden pictures and what it should.

    Raises:
        ModelError: it is below the golden record's own limit, or the record is of other pictures.
    """
    try:
        pictures, limit = golden["pictures"], float(golden["min_cosine"])
        wanted = np.asarray(golden["embedding"], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the golden record of {manifest.name} cannot be read: {error!r}") from error
    batch = golden_batch()
    if pictures != GOLDEN_ID or wanted.shape != (len(batch), manifest.output_dim):
        raise ModelError(
            f"the golden record of {manifest.name} is for {pictures!r} {wanted.shape}; "
            f"this program draws {GOLDEN_ID!r} {(len(batch), manifest.output_dim)}",
            fix="build the engine with this release",
        )
    index = [spec.name for spec in engine.outputs].index(manifest.output_name or "")
    found = np.concatenate([engine.run(np.ascontiguousarray(one[None]))[index] for one in batch])
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = float(((found * wanted).sum(axis=1) / norms).min())
    if not cosine >= limit:
        raise ModelError(
            f"{engine.backend} does not give the golden embeddings: cosine {cosine:.4f}, not {limit} or more",
            fix="build the engine again on this box; until then the next backend is used",
        )
    return cosine
