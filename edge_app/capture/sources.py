"""Opening a source: one function for every kind, one way to read them all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import cv2

from edge_app.capture.live import LiveSource
from edge_app.capture.recorded import RecordedSource
from edge_app.clock import SystemClock

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edge_app.capture.spec import SourceSpec
    from edge_app.clock import Clock


class Source(Protocol):
    """An open camera or recording. One thread reads it."""

    #: How many frames it has gone past, those included that it passed over because they were late.
    position: int

    def read(self) -> npt.NDArray[np.uint8] | None:
        """Return the next frame, (H, W, 3) uint8 BGR, or None at the end of a recording.

        Raises:
            SourceLost: a camera gives no more pictures.
        """
        ...

    def close(self) -> None:
        """Let go of it. Safe to call twice."""
        ...


def open_source(spec: SourceSpec, *, clock: Clock | None = None) -> Source:
    """Open what `spec` names and make sure that it gives a picture.

    Args:
        spec: kind, place and pace.
        clock: paces a recording in real time; the system's if None.

    Raises:
        SourceError: it is missing, empty, damaged, busy or not allowed; the message says what to do.
    """
    _quiet_opencv()
    return LiveSource(spec) if spec.live else RecordedSource(spec, clock=clock or SystemClock())


def _quiet_opencv() -> None:
    """Keep OpenCV and its FFmpeg from writing to standard error: what matters comes as an error of ours."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_FATAL)
