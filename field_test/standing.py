"""Whether a run that stands may be scored: with what it was made, beside what is asked for now.

A run takes minutes to hours, so it is not made twice; and nothing is worse than figures of one configuration
under the name of another. So each run keeps what decided about it: the box's configuration with the hashes
of its models, the photos that registered people, a calibration, the clips, and the box's own code. Runs of
another configuration, of other models or people are refused; where the clips are others, the shot is run
again; where only the code is another, the run stands and that is said.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import ConfigError
from field_test.assets import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from field_test.truth import Truth

    Made = dict[str, Any]

#: What a run leaves when it has come to its end, with what it was made.
DONE: Final = "done"
#: Of the same kind, beside the register.
REGISTERED: Final = "registered.json"
_MODELS: Final = (("detector", "model"), ("detector", "dust_model"), ("recogniser", "model"))


def made_with(
    document: Mapping[str, Any], shot: Path, truth: Truth, *, photos: Path, calibration: Path
) -> Made:
    """Return what decides about the run of a shot by a box with the configuration `document`."""
    return {
        "configuration": plain(document),
        "people": digest(sorted(photos.rglob("*")) if photos.is_dir() else (), photos),
        "calibration": digest([calibration], calibration.parent),
        "clips": digest([*(shot / clip.file for clip in truth.clips), shot / "shot.json"], shot),
        "code": _code(),
    }


def stands(run: Path, now: Made) -> tuple[bool, str]:
    """Return whether the run kept in `run` may be scored, and a word about it.

    Raises:
        ConfigError: it was made with another configuration, models or people.
    """
    if not (run / DONE).exists():
        return False, ""
    kept = _kept(run)
    others = _others(kept["configuration"], now["configuration"])
    others += [key for key in ("people", "calibration") if key in kept and kept[key] != now[key]]
    if others:
        raise ConfigError(
            f"{run.parent} holds runs that were made with another configuration: {', '.join(others)}",
            fix="give another --out, or remove that folder",
        )
    if kept.get("clips", now["clips"]) != now["clips"]:
        return False, "its clips are others than those that were run: run again"
    if "code" not in kept:
        return True, "stands, of an older version: whether people, clips and models are the same is not known"
    return True, "stands" if kept["code"] == now["code"] else "stands, of another version of the box's code"


def digest(paths: Iterable[Path], root: Path) -> str:
    """Return a SHA-256 over the names and contents of files; folders stand for what is in them."""
    whole = hashlib.sha256()
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.is_file():
                whole.update(f"{file.relative_to(root)}\0".encode())
                whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


@functools.cache
def _code() -> str:
    return digest(sorted((ROOT / "edge_app").rglob("*.py")), ROOT)


def _kept(run: Path) -> Made:
    """Return what a run was made with; of an older one what its configuration tells."""
    text = (run / DONE).read_text(encoding="utf-8")
    try:
        kept: Made = json.loads(text) if text else {}
        return kept or {"configuration": plain(json.loads((run / "box.yaml").read_bytes()))}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{run} holds no run that can be read: {error}", fix="remove the folder") from error


def plain(document: Mapping[str, Any]) -> Made:
    """Return a configuration without what differs from run to run; models by their content."""
    made: Made = json.loads(json.dumps(document))
    made.get("delivery", {}).pop("brokers", None)
    for camera in made.get("cameras", ()):
        camera.get("source", {}).pop("path", None)
    for section, key in _MODELS:
        if (path := made.get(section, {}).get(key)) is not None:
            made[section][key] = digest([Path(path)], Path(path).parent)
    return made


def _others(kept: Made, now: Made) -> list[str]:
    """Return the dotted keys in which two configurations differ."""
    found = []
    for section in sorted({*kept, *now}):
        one, other = kept.get(section), now.get(section)
        if isinstance(one, dict) and isinstance(other, dict):
            found += [f"{section}.{key}" for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
        elif one != other:
            found.append(section)
    return found
