"""A frame as a person would want to see it: boxes, who, how sure, and why not.

Used by ``dsr-edge run --show``, ``dsr-edge look`` and the contact sheets. The colours tell the three
decisions apart: green is a name, amber an unknown person, grey undecided or rejected. Labels are
references, or whatever the caller's roster says; nothing here leaves the box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.errors import SourceError
from edge_app.records import Decision, FrameFaces, Identity, TrackedFace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    RefLabel = Callable[[str], str]

_GREEN: Final = (80, 200, 60)
_AMBER: Final = (30, 170, 250)
_GREY: Final = (170, 170, 170)
_NS_PER_S: Final = 1_000_000_000
#: A gap in the frames longer than this is not filled with repeated pictures.
_LONGEST_FILL_S: Final = 5


def label_of(
    face: TrackedFace, identity: Identity | None, name: RefLabel
) -> tuple[str, tuple[int, int, int]]:
    """Return the text and the BGR colour for one face."""
    if face.quality.rejection is not None:
        return face.quality.rejection.value.replace("_", " "), _GREY
    if identity is None:
        return "looking", _GREY
    score = "" if identity.score is None else f" {identity.score:.2f}"
    if identity.person_ref is not None:
        return f"{name(identity.person_ref)}{score}", _GREEN
    if identity.decision is Decision.UNKNOWN:
        return f"unknown{score}", _AMBER
    reason = "" if identity.reason is None else f": {identity.reason.value.replace('_', ' ')}"
    return f"undecided{reason}", _GREY


def annotated(
    faces: FrameFaces, identities: Mapping[str, Identity], *, name: RefLabel = str
) -> npt.NDArray[np.uint8]:
    """Return a copy of the frame, (H, W, 3) uint8 BGR, with every face boxed and labelled.

    Args:
        faces: the frame and its faces.
        identities: the last decision by track.
        name: what to print for a person's reference.
    """
    picture = faces.frame.pixels.copy()
    for tracked in faces.faces:
        text, colour = label_of(tracked, identities.get(tracked.track), name)
        box = tracked.face.box
        left, top = round(box.x), round(box.y)
        right, bottom = round(box.x + box.width), round(box.y + box.height)
        cv2.rectangle(picture, (left, top), (right, bottom), colour, 2)
        for x, y in tracked.face.landmarks:
            cv2.circle(picture, (round(float(x)), round(float(y))), 2, colour, -1)
        put_text(picture, text, (left, max(top - 6, 14)), colour)
    return picture


def put_text(
    picture: npt.NDArray[np.uint8], text: str, at: tuple[int, int], colour: tuple[int, int, int] = _GREEN
) -> None:
    """Write `text` into `picture` with a dark edge, so that it reads on anything; `at` is its lower left.

    The edge is the text itself, moved by a pixel: OpenCV 5 makes a thicker text wider.
    """
    x, y = at
    for dx, dy in ((-1, -1), (1, -1), (-1, 1), (1, 1), (0, 0)):
        shade = (0, 0, 0) if dx else colour
        cv2.putText(picture, text, (x + dx, y + dy), cv2.FONT_HERSHEY_SIMPLEX, 0.5, shade, 1, cv2.LINE_AA)


class ShowWriter:
    """Writes annotated frames to a video file at their own pace: a slow frame is shown longer.

    Args:
        path: the file, ``.mp4`` or ``.avi``.
        fps: frames a second of the file.
        name: what to print for a person's reference.
    """

    def __init__(self, path: Path, *, fps: float, name: RefLabel = str) -> None:
        self._path = path
        self._fps = fps
        self._name = name
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._begin_ns = 0
        self._written = 0

    def add(self, faces: FrameFaces, identities: Mapping[str, Identity]) -> None:
        """Append one frame.

        Raises:
            SourceError: the file cannot be written.
        """
        picture = annotated(faces, identities, name=self._name)
        if self._writer is None:
            self._open(faces)
        if (faces.frame.width, faces.frame.height) != self._size:
            picture = cv2.resize(picture, self._size).astype(np.uint8, copy=False)
        due = round((faces.frame.mono_ns - self._begin_ns) / _NS_PER_S * self._fps) + 1
        copies = min(max(due - self._written, 1), round(self._fps * _LONGEST_FILL_S))
        for _ in range(copies):
            self._require_writer().write(picture)
        self._written = max(due, self._written + copies)

    def close(self) -> None:
        """Finish the file. Safe to call twice."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _open(self, faces: FrameFaces) -> None:
        self._size = (faces.frame.width, faces.frame.height)
        self._begin_ns = faces.frame.mono_ns
        code = "MJPG" if self._path.suffix.lower() == ".avi" else "mp4v"
        writer = cv2.VideoWriter(str(self._path), cv2.VideoWriter.fourcc(*code), self._fps, self._size)
        if not writer.isOpened():
            raise SourceError(
                f"cannot write the video {self._path} ({self._size[0]}x{self._size[1]}, {code})",
                fix="give --show a .mp4 or .avi file in a folder that can be written",
            )
        self._writer = writer

    def _require_writer(self) -> cv2.VideoWriter:
        if self._writer is None:
            raise SourceError(f"the video {self._path} is closed", fix="open a new one")
        return self._writer
