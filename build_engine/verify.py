"""``dsr-engine verify``: run the candidate and the FP32 network on the same faces and hold the gate to it.

The faces are LFW's and those of the miner-face test people, clean and under simulated ash; nobody among
them was calibrated on (the calibration manifest refuses them) or trained on knowingly. Readers,
crops and figures are those of `dsr_inception.evaluation`: both networks go through the same code, each face
with its mirror image as on the box, and what is compared is the difference. What a face alone loses is
noted beside it. The verdict can be written into the candidate's manifest.

Each miner photo is seen under `ASH_DRAWS` patterns of each ash level: with one, half a point of rank-1 is one
picture of the 209, and chance decides whether an engine is refused.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from build_engine.gate import LFW_LOSS, RANK1_LOSS, TAR_LOSS, Line, cosine_lines, loss_line, spread, table
from build_engine.recorded import Recorded, Taken
from calibration.manifest import replace_file
from dsr_inception.crops import LEVELS, own_ash, reference_ash
from dsr_inception.datasets import PhotoSet, Splits
from dsr_inception.evaluation import evaluate_lfw
from dsr_inception.miners import leave_pose_out, miner_set
from dsr_inception.report import Report
from edge_app.engines.manifest import RECOGNISER, ModelManifest, load_manifest
from edge_app.errors import ModelError
from edge_app.faces.preprocess import PREPROCESS_ID, PREPROCESS_SHA256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dsr_inception.crops import Ash
    from edge_app.engines.engine import Engine
    from edge_app.faces.detect import Detector

    Bools = npt.NDArray[np.bool_]

SETS: Final = ("lfw", "mf")
ACCURACY: Final = "accuracy, 10 folds"
TAR: Final = "TAR at FAR 0.001, all cross pairs"
#: Patterns of simulated ash that each miner photo is seen under.
ASH_DRAWS: Final = 10


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
    report = Report()
    lines: list[Line] = []
    if "lfw" in faces.sets:
        evaluate_lfw(report, PhotoSet(faces.folder, "lfw_pairs"), [reference, candidate])
        lines += _cosines(report, reference.taken(), candidate.taken(), of="LFW")
        for title, name, limit in (
            ("LFW accuracy", ACCURACY, LFW_LOSS),
            ("LFW TAR at FAR 1e-3", TAR, TAR_LOSS),
        ):
            before, after = (report.figures["lfw"][e.name][name].value for e in (reference, candidate))
            lines.append(loss_line(title, before, after, limit))
    if "mf" in faces.sets:
        lines += _miners(report, reference, candidate, faces)
    return lines, dict(report.notes)


def _cosines(report: Report, before: Taken, after: Taken, *, of: str) -> list[Line]:
    """Return the gate's lines about cosine, and note what the face alone, without its mirror image, gives."""
    report.note("single", **{of: spread(before.single, after.single)})
    return cosine_lines(before.used, after.used, of=of)


def _miners(report: Report, reference: Recorded, candidate: Recorded, faces: Faces) -> list[Line]:
    splits = Splits.load(faces.folder)
    yardstick = faces.folder.parent / "ash_reference.py"
    ash = reference_ash(yardstick) if yardstick.is_file() else own_ash
    photos = PhotoSet(faces.folder, "mf_photos")
    embedders: Sequence[Recorded] = (reference, candidate)
    right: dict[tuple[str, str], list[Bools]] = defaultdict(list)
    for draw in range(ASH_DRAWS):
        miners = miner_set(photos, splits.mf_test, faces.detector, _drawn(ash, draw))
        for embedder in embedders:
            vectors = miners.vectors(embedder)
            for level in LEVELS:
                right[embedder.name, level].append(leave_pose_out(vectors, level, pooling="nearest"))
    lines = _cosines(report, reference.taken(), candidate.taken(), of="MF test people")
    report.note(
        "mf",
        people=len(set(vectors.people)),
        photos=len(miners.photos),
        ash_draws=ASH_DRAWS,
        faces_found={level: float(crops.found.mean()) for level, crops in miners.crops.items()},
        ash="simulated, yardstick" if ash is not own_ash else "simulated, our own",
    )
    for level in LEVELS:
        before, after = (float(np.mean(right[e.name, level])) for e in embedders)
        lines.append(loss_line(f"MF rank-1, {level}", before, after, RANK1_LOSS))
    return lines


def _drawn(ash: Ash, draw: int) -> Ash:
    """Return `ash` with the patterns of another `draw`; 0 leaves them as they are."""
    return ash if draw == 0 else lambda image, box, level, key: ash(image, box, level, f"{key}/{draw}")


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
    single = "\n".join(
        f"without the mirror image, {of}: mean cosine {found['mean']:.4f}, one in a hundred below "
        f"{found['hundredth']:.4f}, least {found['least']:.4f}"
        for of, found in verdict.notes.get("single", {}).items()
    )
    return f"{table(verdict.lines)}\n\n{single}\n{word} ({verdict.backend})"
