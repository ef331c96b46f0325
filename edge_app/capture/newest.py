"""The slot between a camera and the faces stage: the newest frame wins.

A camera that is faster than the detector overwrites the frame that nobody took; the gap in the
frames' indices says how many were lost, and the next frame that is taken carries that number. In the
mode that keeps all (a recording that is to be processed frame by frame) the camera waits instead.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_app.records import Frame


class NewestFrame:
    """One frame at most, from the camera's thread to the faces stage's.

    Args:
        keep_all: wait until the last frame was taken instead of replacing it.
    """

    def __init__(self, *, keep_all: bool = False) -> None:
        self._keep_all = keep_all
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._taken_index = -1
        self._dropped = 0
        self._closed = False

    def put(self, frame: Frame, *, timeout: float = 0.2) -> bool:
        """Offer `frame`. False when it was not accepted: closed, or (keep_all) the last one still waits.

        Indices count every frame of the camera, those included that never came here.
        """
        with self._changed:
            if self._keep_all:
                self._changed.wait_for(lambda: self._frame is None or self._closed, timeout)
            if self._closed or (self._keep_all and self._frame is not None):
                return False
            self._frame = frame
            self._changed.notify_all()
            return True

    def get(self, *, timeout: float) -> Frame | None:
        """Return the newest frame and how many were dropped before it; None if none came in `timeout` s."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._closed, timeout)
            frame, self._frame = self._frame, None
            if frame is None:
                return None
            self._changed.notify_all()
            dropped = max(frame.index - self._taken_index - 1, 0)
            self._taken_index = frame.index
            self._dropped += dropped
            return dataclasses.replace(frame, dropped=dropped)

    def end(self) -> None:
        """Say that no more frames come; the one that waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether no more frames are taken in."""
        with self._changed:
            return self._closed

    @property
    def ended(self) -> bool:
        """Whether no more frames come and the last one was taken."""
        with self._changed:
            return self._closed and self._frame is None

    @property
    def dropped(self) -> int:
        """How many frames were dropped so far."""
        with self._changed:
            return self._dropped
