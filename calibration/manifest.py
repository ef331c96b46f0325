"""The calibration manifest: which pictures, whose, with whose consent, and how each crop is cut.

It names pictures and holds their hashes and landmarks, never the pictures themselves. Whoever
calibrates again reads the same files, cuts the same crops through the one preprocessing path, and is
refused if a file or a crop is another one. Its own hash stands in scales.json and in every engine.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from calibration.pictures import Picture, PictureFolder
from edge_app.errors import PhotoError, PreprocessMismatch
from edge_app.faces.preprocess import CROP_SIZE, PREPROCESS_ID, PREPROCESS_SHA256, align

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

FORMAT: Final = "dsr-calibration-v1"
#: A crop cut again may differ by this many grey levels on average: another OpenCV rounds otherwise.
SAME_CROP: Final = 1.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A chosen picture, its file's hash, its landmarks (5, 2) in pixels, and its crop's mean R, G, B."""

    picture: Picture
    sha256: str
    landmarks: tuple[tuple[float, float], ...]
    mean: tuple[float, float, float]
    luminance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationManifest:
    """The chosen pictures, the consent note, the evaluation people that are not among them, warnings."""

    entries: tuple[Entry, ...]
    consent: Mapping[str, Any]
    held_out: int | None
    warnings: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values, with the counts that a reader asks for first."""
        light = np.array([e.luminance for e in self.entries])
        return {
            "format": FORMAT,
            "preprocess": {"id": PREPROCESS_ID, "sha256": PREPROCESS_SHA256},
            "pictures": len(self.entries),
            "people": len({e.picture.person for e in self.entries}),
            "levels": _counts([e.picture.level for e in self.entries]),
            "poses": _counts([e.picture.pose for e in self.entries]),
            "simulated_ash": sum(e.picture.simulated for e in self.entries),
            "luminance": {
                name: round(float(np.quantile(light, q)), 1)
                for name, q in (("min", 0), ("p10", 0.1), ("median", 0.5), ("p90", 0.9), ("max", 1))
            },
            "evaluation_people_kept_out": self.held_out,
            "consent": dict(self.consent),
            "warnings": list(self.warnings),
            "dropped": list(self.dropped),
            "entries": [_entry_as_json(entry) for entry in self.entries],
        }

    def write(self, path: Path) -> str:
        """Write it aside, rename it, and return its SHA-256."""
        content = (json.dumps(self.as_json(), indent=1) + "\n").encode()
        replace_file(path, content)
        return hashlib.sha256(content).hexdigest()


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` aside, sync, and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _counts(names: Sequence[str]) -> dict[str, int]:
    return {name: names.count(name) for name in sorted(set(names))}


def _entry_as_json(entry: Entry) -> dict[str, Any]:
    picture = entry.picture
    return {
        "person": picture.person,
        "level": picture.level,
        "pose": picture.pose,
        "file": picture.file,
        "sha256": entry.sha256,
        "simulated": picture.simulated,
        "box": list(picture.box) if picture.box else None,
        "landmarks": [list(point) for point in entry.landmarks],
        "mean": list(entry.mean),
        "luminance": entry.luminance,
    }


def load_calibration_manifest(path: Path) -> tuple[CalibrationManifest, str]:
    """Return the manifest in `path` and its SHA-256.

    Raises:
        PhotoError: missing, or not what `CalibrationManifest.write` wrote.
        PreprocessMismatch: made with another preprocessing.
    """
    try:
        data = path.read_bytes()
        content = json.loads(data)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, expected {FORMAT!r}")  # noqa: TRY301 -- one handler
        entries = tuple(_entry(row) for row in content["entries"])
        preprocess = content["preprocess"]
        manifest = CalibrationManifest(
            entries=entries,
            consent=content["consent"],
            held_out=content["evaluation_people_kept_out"],
            warnings=tuple(content["warnings"]),
            dropped=tuple(content["dropped"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PhotoError(
            f"the calibration manifest {path} cannot be used: {error}", fix="make it: dsr-calibrate manifest"
        ) from error
    if preprocess.get("sha256") != PREPROCESS_SHA256:
        raise PreprocessMismatch(
            f"{path} is of the preprocessing {preprocess.get('id')!r}; this program has {PREPROCESS_ID!r}",
            fix="make it again: dsr-calibrate manifest",
        )
    return manifest, hashlib.sha256(data).hexdigest()


def _entry(row: Mapping[str, Any]) -> Entry:
    box = row["box"]
    picture = Picture(
        person=row["person"],
        level=row["level"],
        pose=row["pose"],
        file=row["file"],
        simulated=bool(row["simulated"]),
        box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])) if box else None,
    )
    red, green, blue = (float(value) for value in row["mean"])
    landmarks = tuple((float(x), float(y)) for x, y in row["landmarks"])
    return Entry(picture, row["sha256"], landmarks, (red, green, blue), float(row["luminance"]))


def crops_of(manifest: CalibrationManifest, folder: PictureFolder) -> npt.NDArray[np.uint8]:
    """Return the crops of `manifest`, (N, 224, 224, 3) uint8 RGB, cut again from the files of `folder`.

    Raises:
        PhotoError: a file is missing or another one, or a crop does not come out as it did.
    """
    crops = np.empty((len(manifest.entries), CROP_SIZE, CROP_SIZE, 3), np.uint8)
    for slot, entry in zip(crops, manifest.entries, strict=True):
        name = entry.picture.file
        found = hashlib.sha256(folder.read_bytes(name)).hexdigest()
        if found != entry.sha256:
            raise PhotoError(
                f"{name} is not the manifest's picture: expected sha256 {entry.sha256}, received {found}",
                fix="restore the picture, or make the manifest again: dsr-calibrate manifest",
            )
        slot[...] = align(folder.read(entry.picture), np.array(entry.landmarks, np.float32))
        off = float(np.abs(slot.mean(axis=(0, 1)) - entry.mean).max())
        if off > SAME_CROP:
            raise PhotoError(
                f"the crop of {entry.picture.key} is {off:.1f} grey levels off the manifest's: "
                "it was decoded, aligned or covered with ash in another way",
                fix="make the manifest again on this machine: dsr-calibrate manifest",
            )
    return crops
