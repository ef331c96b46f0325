"""A contact sheet of made clips: a few frames of every shot, with the true boxes or without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from edge_app.annotate import put_text
from edge_app.errors import ConfigError
from field_test.sheet import frames_at
from field_test.truth import read_truth

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from field_test.truth import FrameTruth

    Image = npt.NDArray[np.uint8]

_COLUMNS: Final = 4
_TILE: Final = (400, 225)
_GREEN, _GREY = (80, 200, 60), (150, 150, 150)


def clip_sheet(clips: Path, out: Path, *, boxes: bool) -> Path:
    """Write the sheet of every shot in `clips` to `out` (.png) and return its path.

    Raises:
        ConfigError: there is no shot with a video, or `out` cannot be written.
    """
    shots = sorted(path.parent for path in clips.glob("*/truth.jsonl"))
    rows = [_row(shot, boxes=boxes) for shot in shots if list(shot.glob("*.mp4"))]
    if not rows:
        raise ConfigError(f"{clips} holds no clips", fix="make some with `dsr-field make`")
    try:
        written = cv2.imwrite(str(out), np.vstack(rows))
    except cv2.error:  # a suffix that it does not know
        written = False
    if not written:
        raise ConfigError(f"{out} cannot be written", fix="give a .png file in a folder you may write")
    return out


def _row(shot: Path, *, boxes: bool) -> Image:
    truth = read_truth(shot / "truth.jsonl")
    clip = truth.clips[0]
    frames = truth.of(clip.camera)
    chosen = _telling(frames)
    pictures = frames_at(shot / clip.file, [frame.index / clip.fps for frame in chosen])
    tiles = [
        _tile(picture, frame if boxes else None) for picture, frame in zip(pictures, chosen, strict=True)
    ]
    put_text(tiles[0], f"{shot.name}: {clip.light}", (8, 18))
    return np.asarray(np.hstack(tiles), dtype=np.uint8)


def _telling(frames: list[FrameTruth]) -> list[FrameTruth]:
    """Return frames spread over the time in which there are faces, of each part that with the largest."""
    busy = [index for index, frame in enumerate(frames) if frame.faces]
    parts = np.array_split(busy if len(busy) >= _COLUMNS else np.arange(len(frames)), _COLUMNS)

    def seen(index: int) -> float:
        return float(sum(face.box[2] ** 0.5 * (1 - face.hidden) for face in frames[index].faces))

    return [frames[max(part.tolist(), key=seen)] for part in parts]


def _tile(picture: Image, frame: FrameTruth | None) -> Image:
    shown = picture.copy()
    for face in frame.faces if frame else ():
        x, y, w, h = (round(value) for value in face.box)
        cv2.rectangle(shown, (x, y), (x + w, y + h), _GREEN if face.hidden <= 0.5 else _GREY, 2)  # noqa: PLR2004
    return np.asarray(cv2.resize(shown, _TILE, interpolation=cv2.INTER_AREA), dtype=np.uint8)
