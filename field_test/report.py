"""``dsr-field score``, its second half: the kept runs against the truth, as score.json, score.md, plots."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final

from field_test import markdown, score, tables
from field_test.assets import sha256_of
from field_test.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from field_test.score import Limits, Shot

_COUNTED: Final = (
    "faces from {px:.0f} pixels wide, at most half covered; passages with {least} such faces or more"
)
#: Sections of the box's configuration that decide about faces.
_DECIDING: Final = ("detector", "recogniser", "quality", "decide")


def report(clips: Path, out: Path, shots: Sequence[Path], *, limits: Limits) -> dict[str, Any]:
    """Score every shot; write ``score.json``, ``score.md`` and ``passages.jsonl`` into `out`.

    Raises:
        ConfigError: a run is missing or broken.
    """
    scored = [_scored(shot, out / shot.name, limits) for shot in shots]
    document = {"about": _about(clips, out, shots, limits), **tables.figures(scored)}
    (out / "score.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    (out / "score.md").write_text(markdown.text(document), encoding="utf-8")
    with (out / "passages.jsonl").open("w", encoding="utf-8") as rows:
        for one in (one for shot in scored for one in shot.passages):
            rows.write(json.dumps(dataclasses.asdict(one)) + "\n")
    return document


def _scored(shot: Path, run: Path, limits: Limits) -> Shot:
    truth = read_truth(shot / "truth.jsonl")
    trace, events = score.read_rows(run / "trace.jsonl"), score.read_rows(run / "events.jsonl")
    return score.score_shot(shot.name, truth, trace, events, limits=limits)


def _about(clips: Path, out: Path, shots: Sequence[Path], limits: Limits) -> dict[str, Any]:
    """Return what was measured with what: people, ash, models with their hashes, thresholds."""
    asked: dict[str, Any] = {}
    if (clips / "scenario.json").exists():
        asked = json.loads((clips / "scenario.json").read_text(encoding="utf-8"))
    run = out / shots[0].name
    config = json.loads((run / "box.yaml").read_text(encoding="utf-8"))
    started = _started(run / "daemon.log")
    scenario = asked.get("scenario", {})
    return {
        "scenario": scenario.get("name", "real clips"),
        "seed": scenario.get("seed"),
        "people": asked.get("collection", "by hand"),
        "ash": scenario.get("ash"),
        "shots": [shot.name for shot in shots],
        "counted": _COUNTED.format(px=limits.min_px, least=limits.min_faces),
        "recogniser": _hashed(config["recogniser"]["model"]),
        "detector": _hashed(config["detector"]["model"]),
        "dust_detector": _hashed(dust) if (dust := config["detector"].get("dust_model")) else None,
        "settings": {
            key: config[key] for key in ("detector", "recogniser", "quality", "decide") if key in config
        },
        **{key: started.get(key) for key in ("threshold", "backend", "detector_backend", "registered")},
    }


def _hashed(manifest: str) -> dict[str, str]:
    from pathlib import Path

    path = Path(manifest)
    if path.suffix != ".json":
        return {"name": path.name, "sha256": sha256_of(path)}
    said = json.loads(path.read_text(encoding="utf-8"))
    return {"name": str(said.get("name", path.stem)), "sha256": str(said["sha256"])}


def _started(path: Path) -> dict[str, Any]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if '"box_start"' in line:
            started: dict[str, Any] = json.loads(line)
            return started
    return {}
