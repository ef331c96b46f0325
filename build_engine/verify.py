"""``dsr-engine verify``: run the candidate and the FP32 network on the same faces and hold the gate to it.

The faces are LFW's and those of the miner-face test people, clean and under simulated ash; nobody among
them was calibrated on (the calibration manifest refuses them) or trained on knowingly. Readers,
crops and figures are those of `dsr_inception.evaluation`: both networks go through the same code, and
what is compared is the difference. The verdict can be written into the candidate's manifest.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from build_engine.gate import LFW_LOSS, RANK1_LOSS, TAR_LOSS, Line, cosine_lines, loss_line, table
from calibration.manifest import replace_file
from dsr_inception import evaluation as ev
from dsr_inception.crops import LEVELS, own_ash, reference_ash
from dsr_inception.datasets import PhotoSet, Splits
from edge_app.engines.manifest import RECOGNISER, ModelManifest, load_manifest
from edge_app.errors import ModelError
from edge_app.faces.preprocess import PREPROCESS_ID, PREPROCESS_SHA256, normalise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.engines.engine import Engine
    from edge_app.faces.detect import Detector

    Crops = npt.NDArray[np.uint8]
    Vectors = npt.NDArray[np.float32]

SETS: Final = ("lfw", "mf")
ACCURACY: Final = "accuracy, 10 folds"
TAR: Final = "TAR at FAR 0.001, all cross pairs"


class Recorded:
    """An engine as an embedder that keeps every vector it gave; with `cache`, between runs as well.

    Args:
        engine: (1, 3, 224, 224) float32 -> (1, D).
        name: how tables call it.
        sha256: of the engine's file: the key of the cache.
        cache: a folder, or None.
    """

    def __init__(self, engine: Engine, *, name: str, sha256: str, cache: Path | None = None) -> None:
        self.name = name
        self._engine, self._sha256, self._cache = engine, sha256, cache
        self._given: list[Vectors] = []

    def embed(self, crops: Crops) -> Vectors:
        """Return unit vectors, (N, D), for (N, 224, 224, 3) uint8 RGB."""
        path = self._path(crops)
        if path is not None and path.is_file():
            vectors = np.asarray(np.load(path, allow_pickle=False), np.float32)
        else:
            vectors = self._run(crops)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, vectors)
        self._given.append(vectors)
        return vectors

    def _path(self, crops: Crops) -> Path | None:
        if self._cache is None:
            return None
        digest = hashlib.sha256(self._sha256.encode() + self._engine.backend.encode())
        digest.update(np.ascontiguousarray(crops).tobytes())
        return self._cache / f"{digest.hexdigest()[:32]}.npy"

    def _run(self, crops: Crops) -> Vectors:
        rows = []
        for crop in crops:
            batch = np.ascontiguousarray(normalise(crop[None]).transpose(0, 3, 1, 2))
            rows.append(self._engine.run(batch)[0].reshape(1, -1))
        vectors = np.concatenate(rows).astype(np.float32)
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{self.name} gives values that are not finite", fix="build or quantise it again"
            )
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))

    def taken(self) -> Vectors:
        """Return all vectors given since the last call, (N, D), and forget them."""
        found = np.concatenate(self._given)
        self._given.clear()
        return found


@dataclass(slots=True)
class Verdict:
    """The gate's lines with what stands behind them."""

    lines: list[Line]
    backend: str
    reference_sha256: str
    candidate_sha256: str
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether every line passed (and there is one)."""
        return bool(self.lines) and all(line.passed for line in self.lines)

    def as_json(self, *, date: str) -> dict[str, Any]:
        """Return what stands as ``accuracy`` in an engine's manifest."""
        return {
            "accepted": self.accepted,
            "backend": self.backend,
            "reference_sha256": self.reference_sha256,
            "candidate_sha256": self.candidate_sha256,
            "date": date,
            "gate": [line.as_json() for line in self.lines],
            "notes": self.notes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """Where the faces are, who is tested on, and what finds them."""

    folder: Path
    detector: Detector
    sets: tuple[str, ...] = SETS


def verify(reference: Recorded, candidate: Recorded, faces: Faces) -> tuple[list[Line], dict[str, Any]]:
    """Return the gate's lines and notes for `candidate` against `reference`."""
    report = ev.Report()
    lines: list[Line] = []
    if "lfw" in faces.sets:
        ev.evaluate_lfw(report, PhotoSet(faces.folder, "lfw_pairs"), [reference, candidate])
        lines += cosine_lines(reference.taken(), candidate.taken(), of="LFW")
        for title, name, limit in (
            ("LFW accuracy", ACCURACY, LFW_LOSS),
            ("LFW TAR at FAR 1e-3", TAR, TAR_LOSS),
        ):
            before, after = (report.figures["lfw"][e.name][name].value for e in (reference, candidate))
            lines.append(loss_line(title, before, after, limit))
    if "mf" in faces.sets:
        lines += _miners(report, reference, candidate, faces)
    return lines, dict(report.notes)


def _miners(report: ev.Report, reference: Recorded, candidate: Recorded, faces: Faces) -> list[Line]:
    splits = Splits.load(faces.folder)
    yardstick = faces.folder.parent / "ash_reference.py"
    ash = reference_ash(yardstick) if yardstick.is_file() else own_ash
    photos = PhotoSet(faces.folder, "mf_photos")
    embedders: Sequence[Recorded] = (reference, candidate)
    vectors = ev.miner_vectors(report, photos, splits.mf_test, faces.detector, ash, embedders)
    lines = cosine_lines(reference.taken(), candidate.taken(), of="MF test people")
    report.notes["mf"]["ash"] = "simulated, yardstick" if ash is not own_ash else "simulated, our own"
    for level in LEVELS:
        before, after = (
            float(ev.leave_pose_out(vectors[e.name], level, pooling="max").mean()) for e in embedders
        )
        lines.append(loss_line(f"MF rank-1, {level}", before, after, RANK1_LOSS))
    return lines


def open_candidate(path: Path, *, backend: str | None) -> tuple[Engine, ModelManifest]:
    """Return the engine of the manifest `path`, opened as asked, and the manifest.

    `backend` is ``onnxruntime``, ``openvino`` or ``tensorrt``; None takes TensorRT for a plan and ONNX
    Runtime for an ONNX file.

    Raises:
        ModelError: the file is not what its manifest says, is no recogniser of this preprocessing, or cannot
            run on `backend`.
    """
    manifest = load_manifest(path)
    manifest.require_kind(RECOGNISER)
    manifest.require_preprocess(preprocess_id=PREPROCESS_ID, sha256=PREPROCESS_SHA256)
    manifest.verify()
    plan = manifest.path.suffix != ".onnx"
    chosen = backend or ("tensorrt" if plan else "onnxruntime")
    if plan != (chosen == "tensorrt"):
        raise ModelError(
            f"{manifest.path.name} does not run on {chosen}",
            fix="plans run on tensorrt, .onnx files on onnxruntime or openvino",
        )
    if chosen == "onnxruntime":
        from edge_app.engines.onnx_engine import OnnxEngine

        return OnnxEngine(manifest.path), manifest
    if chosen == "openvino":
        from edge_app.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(manifest.path), manifest
    if chosen != "tensorrt":
        raise ModelError(f"there is no backend {chosen!r}", fix="one of: onnxruntime, openvino, tensorrt")
    from edge_app.engines.store import StoredEngine, engine_manifest
    from edge_app.engines.tensorrt_engine import open_plan

    content = path.read_bytes()
    stored = StoredEngine(engine_manifest(path, content), manifest.path.read_bytes(), signed_by="not asked")
    return open_plan(stored), manifest


def verify_files(
    candidate: Path,
    reference: Path,
    faces: Faces,
    *,
    backend: str | None = None,
    cache: Path | None = None,
) -> Verdict:
    """Return the verdict on the manifest `candidate` against the FP32 network of the manifest `reference`.

    Raises:
        ModelError: one of them cannot be opened, or they embed in another number of dimensions.
    """
    float_engine, float_manifest = open_candidate(reference, backend=None)
    engine, manifest = open_candidate(candidate, backend=backend)
    if float_manifest.output_dim != manifest.output_dim:
        raise ModelError(
            f"{candidate} gives {manifest.output_dim} numbers a face, FP32 {float_manifest.output_dim}",
            fix="give the FP32 network that the engine was made from",
        )
    lines, notes = verify(
        Recorded(float_engine, name="fp32", sha256=float_manifest.sha256, cache=cache),
        Recorded(engine, name="candidate", sha256=manifest.sha256),
        faces,
    )
    backend_name = engine.backend
    engine.close()
    float_engine.close()
    return Verdict(lines, backend_name, float_manifest.sha256, manifest.sha256, notes)


def record_verdict(manifest: Path, accuracy: dict[str, Any]) -> None:
    """Write `accuracy` into the candidate's manifest; its signature, if there is one, no longer fits."""
    content = json.loads(manifest.read_bytes())
    content["accuracy"] = accuracy
    replace_file(manifest, (json.dumps(content, indent=1) + "\n").encode())


def today() -> str:
    """Return today's date in UTC, for the record."""
    return dt.datetime.now(tz=dt.timezone.utc).date().isoformat()


def summary(verdict: Verdict) -> str:
    """Return the table and the verdict as text."""
    failed = [line.name for line in verdict.lines if not line.passed]
    word = "ACCEPTED" if verdict.accepted else f"REFUSED: {', '.join(failed) or 'nothing was measured'}"
    return f"{table(verdict.lines)}\n\n{word} ({verdict.backend})"
