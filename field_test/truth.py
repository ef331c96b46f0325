"""Ground truth of clips, one JSON object a line: what is in each frame, and what each passage was.

::

    {"kind": "clip", "camera": "drift", "file": "drift.mp4", "fps": 12.5, "size": [640, 360], ...}
    {"kind": "passage", "id": 3, "camera": "drift", "who": "...", "ref": "C-2001", "ash": "light", ...}
    {"kind": "frame", "camera": "drift", "index": 41, "t": 3.28, "faces": [{"passage": 3, "box": [...], ...}]}

`t` is the time of the frame, counted from the shot's beginning: frames that a camera lost leave a gap.
`index` counts the frames in the file. A hand-written truth may leave out frames; only those that stand in
it are scored. `ref` is null for strangers, and for people who are seen from behind there are no faces.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING, Any

from edge_app.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One camera's clip: `file` beside the truth, `size` in pixels, `light` the layout's name."""

    camera: str
    file: str
    fps: float
    size: tuple[int, int]
    zone: str = "zone"
    light: str = "unknown"
    portal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Somebody's way through one camera's picture, from frame time `first_s` to `last_s`.

    `way` is ``in`` or ``out`` for those who go through the camera's portal, at `crossed_s`.
    """

    id: int
    camera: str
    who: str
    ref: str | None
    ash: str
    first_s: float
    last_s: float
    away: bool = False
    way: str | None = None
    crossed_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueFace:
    """A face in a frame: `box` is left, top, width, height in pixels, `hidden` the share that is covered."""

    passage: int
    box: tuple[float, float, float, float]
    pose: str = "unknown"
    hidden: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTruth:
    """Who is in one frame; `present` are the passages under way, with a face or without."""

    camera: str
    index: int
    t: float
    faces: tuple[TrueFace, ...]
    present: tuple[int, ...] = ()


@dataclass(slots=True)
class Truth:
    """A shot's ground truth."""

    clips: list[Clip] = field(default_factory=list)
    passages: dict[int, Passage] = field(default_factory=dict)
    frames: dict[tuple[str, int], FrameTruth] = field(default_factory=dict)

    def of(self, camera: str) -> list[FrameTruth]:
        """Return a camera's frames in their order."""
        return sorted(
            (one for one in self.frames.values() if one.camera == camera), key=lambda one: one.index
        )


def write_line(out: IO[str], kind: str, value: Clip | Passage | FrameTruth) -> None:
    """Append one record."""
    out.write(json.dumps({"kind": kind, **asdict(value)}, separators=(",", ":")) + "\n")


def read_truth(path: Path) -> Truth:
    """Read a shot's truth.

    Raises:
        ConfigError: a line cannot be used; the message names it.
    """
    truth = Truth()
    for number, row in _rows(path):
        try:
            _take(truth, row)
        except (KeyError, TypeError, ValueError) as error:  # noqa: PERF203 - says which line
            raise ConfigError(
                f"{path}, line {number} is no ground truth: {error!r}",
                fix="docs/field-test.md says what a line has",
            ) from error
    strange = {
        face.passage for frame in truth.frames.values() for face in frame.faces
    } - truth.passages.keys()
    if strange or not truth.clips:
        what = f"faces of passages that are not described: {sorted(strange)}" if strange else "no clip"
        raise ConfigError(f"{path} is no whole ground truth: {what}", fix="add the lines that are missing")
    return truth


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the ground truth {path} cannot be read: {error}", fix="check the path") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ConfigError(f"{path}, line {number} is no JSON: {error}", fix="correct it") from error
            yield number, row


def _take(truth: Truth, row: Mapping[str, Any]) -> None:
    values = {key: value for key, value in row.items() if key != "kind"}
    if row["kind"] == "clip":
        truth.clips.append(Clip(**{**values, "size": (int(values["size"][0]), int(values["size"][1]))}))
    elif row["kind"] == "passage":
        truth.passages[int(values["id"])] = Passage(**values)
    elif row["kind"] == "frame":
        faces = tuple(_face(one) for one in values["faces"])
        present = tuple(values.get("present", [one.passage for one in faces]))
        frame = FrameTruth(
            camera=values["camera"],
            index=int(values["index"]),
            t=float(values["t"]),
            faces=faces,
            present=present,
        )
        truth.frames[frame.camera, frame.index] = frame
    else:
        msg = f"kind {row['kind']!r}"
        raise ValueError(msg)


def _face(row: Mapping[str, Any]) -> TrueFace:
    left, top, width, height = (float(value) for value in row["box"])
    return TrueFace(**{**row, "box": (left, top, width, height)})
