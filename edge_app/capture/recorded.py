"""Recordings: video files and folders of pictures, played at their own pace or frame by frame.

At ``realtime`` a recording behaves like a camera: a frame is due at its time, whoever comes late
does not get it, and the frames that were passed over are counted. At ``every_frame`` each one is
given as soon as it is asked for. Both end with None.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import cv2
import structlog

from edge_app.capture.gif import breaks_at
from edge_app.capture.pixels import bounded, read_picture, to_bgr
from edge_app.errors import SourceError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edge_app.capture.spec import SourceSpec
    from edge_app.clock import Clock

_log = structlog.get_logger(__name__)
_NS_PER_S: Final = 1_000_000_000
_FOLDER_FPS: Final = 5.0
_FALLBACK_FPS: Final = 25.0
_PLAUSIBLE_FPS: Final = (0.1, 240.0)
_PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


class Reel(Protocol):
    """One pass through a recording."""

    fps: float

    def next(self) -> npt.NDArray[np.uint8] | None:
        """Return the next frame, None at the end."""
        ...

    def skip(self) -> bool:
        """Pass over a frame; False at the end."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class RecordedSource:
    """A file or folder as a source: pace and loop around a `Reel`.

    Raises:
        SourceError: the recording is missing, empty, damaged, or gives no picture at all.
    """

    def __init__(self, spec: SourceSpec, *, clock: Clock) -> None:
        self._spec, self._clock = spec, clock
        self._reel: Reel = open_reel(spec)
        self._pending: npt.NDArray[np.uint8] | None = self._reel.next()
        if self._pending is None:
            self._reel.close()
            raise SourceError(
                f"{spec.location} gives no picture: it is damaged, or of a format that OpenCV does not read",
                fix="play it with another program; convert it, e.g. ffmpeg -i OLD -c:v libx264 NEW.mp4",
            )
        self._start_ns: int | None = None
        self.position = 0
        if spec.kind == "file":
            _tell_if_damaged(spec)

    @property
    def fps(self) -> float:
        """Frames a second at which it is played in real time."""
        return self._reel.fps

    def read(self) -> npt.NDArray[np.uint8] | None:
        """Return the next frame when it is due, None at the end; at real time late frames are passed over.

        Raises:
            SourceError: it loops, and can be opened no more.
        """
        if self._spec.pace == "realtime":
            self._catch_up()
        pixels = self._take()
        if pixels is None:
            return None
        if self._spec.pace == "realtime":
            self._wait_until(self._due_ns(self.position))
        self.position += 1
        return pixels

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        self._reel.close()

    def _take(self) -> npt.NDArray[np.uint8] | None:
        pixels, self._pending = self._pending, None
        if pixels is None:
            pixels = self._reel.next()
        if pixels is None and self._spec.loop:
            self._reel.close()
            self._reel = open_reel(self._spec)
            pixels = self._reel.next()
        return pixels

    def _catch_up(self) -> None:
        """Pass over the frames whose successor is due already; at the end, what was missed is forgiven."""
        while self._clock.mono_ns() >= self._due_ns(self.position + 1):
            if self._pending is not None:
                self._pending = None
            elif not self._reel.skip():
                self._start_ns = self._clock.mono_ns() - round(self.position * _NS_PER_S / self.fps)
                return
            self.position += 1

    def _due_ns(self, position: int) -> int:
        if self._start_ns is None:
            self._start_ns = self._clock.mono_ns()
        return self._start_ns + round(position * _NS_PER_S / self.fps)

    def _wait_until(self, due_ns: int) -> None:
        left = due_ns - self._clock.mono_ns()
        if left > 0:
            self._clock.sleep(left / _NS_PER_S)


def open_reel(spec: SourceSpec) -> Reel:
    """Return the recording that `spec` names, at its beginning.

    Raises:
        SourceError: it is missing, empty, or cannot be opened.
    """
    return FolderReel(spec) if spec.kind == "folder" else FileReel(spec)


class FileReel:
    """A video file, or an animated GIF, through OpenCV."""

    def __init__(self, spec: SourceSpec) -> None:
        path = Path(spec.location)
        _require_file(path)
        self._spec = spec
        self._video = cv2.VideoCapture(str(path))
        if not self._video.isOpened():
            raise SourceError(
                f"{path} ({path.stat().st_size} bytes) cannot be opened as a video: it is damaged, "
                "cut short, or of a format that OpenCV does not read",
                fix="copy it again, or convert it, e.g. ffmpeg -i OLD -c:v libx264 NEW.mp4",
            )
        own = float(self._video.get(cv2.CAP_PROP_FPS))
        plausible = _PLAUSIBLE_FPS[0] <= own <= _PLAUSIBLE_FPS[1]
        self.fps = spec.fps or (own if plausible else _FALLBACK_FPS)
        self._expected = int(self._video.get(cv2.CAP_PROP_FRAME_COUNT))
        self._read = 0

    def next(self) -> npt.NDArray[np.uint8] | None:
        """Return the next frame, None at the end (also at a place that cannot be decoded)."""
        good, picture = self._video.read()
        if not good or picture is None:
            self._tell_if_early()
            return None
        self._read += 1
        return bounded(to_bgr(picture), self._spec.max_side)

    def skip(self) -> bool:
        """Pass over a frame without decoding all of it."""
        good = bool(self._video.grab())
        self._read += good
        return good

    def close(self) -> None:
        """Let go of the file."""
        self._video.release()

    def _tell_if_early(self) -> None:
        if 0 < self._read < self._expected - 1:
            _log.warning(
                "recording_ends_early", source=self._spec.shown, frames=self._read, expected=self._expected
            )
            self._expected = 0


class FolderReel:
    """The pictures of a folder by name; one that cannot be read is passed over and logged."""

    def __init__(self, spec: SourceSpec) -> None:
        folder = Path(spec.location)
        try:
            names = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
        except OSError as error:
            raise SourceError(
                f"the folder {folder} cannot be read: {error.strerror or error}", fix="check the path"
            ) from error
        if not names:
            raise SourceError(
                f"the folder {folder} has no pictures in it",
                fix=f"put in some of: {' '.join(sorted(_PICTURES))}",
            )
        self.fps = spec.fps or _FOLDER_FPS
        self._spec = spec
        self._left = iter(names)

    def next(self) -> npt.NDArray[np.uint8] | None:
        """Return the next picture that can be read, None at the end."""
        for path in self._left:
            try:
                return read_picture(path, max_side=self._spec.max_side)
            except SourceError as error:  # noqa: PERF203 - reading a picture costs a thousand times more
                _log.warning("picture_passed_over", picture=str(path), reason=error.what)
        return None

    def skip(self) -> bool:
        """Pass over a picture without reading it."""
        return next(self._left, None) is not None

    def close(self) -> None:
        """Do nothing: no file is open between two pictures."""


def _tell_if_damaged(spec: SourceSpec) -> None:
    path = Path(spec.location)
    at = breaks_at(path)
    if at is not None:
        _log.warning(
            "recording_damaged",
            source=spec.shown,
            at_byte=at,
            bytes=path.stat().st_size,
            fix="copy it again: only a part of its pictures is played",
        )


def _require_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise SourceError(
            f"the video {path} cannot be read: {error.strerror or error}", fix="check the path"
        ) from error
    if not path.is_file():
        raise SourceError(f"{path} is not a file", fix="for a folder of pictures, use the kind `folder`")
    if size == 0:
        raise SourceError(f"the video {path} is empty (0 bytes)", fix="copy it again")
