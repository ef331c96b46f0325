"""The ``faces`` stage of a camera, and the slot through which it hands over to ``recognise``.

``faces`` takes the newest frame of its camera, finds and follows the faces and hands over what it
found (`edge_app.recognise` goes on from there). The slot holds one item: when recognition is slow,
``faces`` waits, and the cameras drop (and count) frames. So there is one place where frames are
dropped, and nothing that queues them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.capture.newest import NewestFrame
    from edge_app.faces.stage import FaceStage
    from edge_app.records import FrameFaces

_WAIT_S: Final = 0.2

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class Slot(Generic[T]):
    """A hand-over of one item from one thread to another: `put` waits until the last one was taken."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T, *, timeout: float) -> bool:
        """Hand over `item`; returns False when it was not taken in `timeout` seconds, or after `close`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._item is None or self._closed, timeout):
                return False
            if self._closed:
                return False
            self._item = item
            self._changed.notify_all()
            return True

    def take(self, *, timeout: float) -> T | None:
        """Return the item, or None when none came in `timeout` seconds. Works after `close`, too."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            self._changed.notify_all()
            return item

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be taken."""
        with self._changed:
            return self._item is None

    def close(self) -> None:
        """Take no more items."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class CameraEnded:
    """A recording is over, or the daemon stops: no more faces of this camera come."""

    camera: str


class FacesWorker:
    """Newest frame in, faces out, for one camera.

    Args:
        camera: its name.
        newest: where the camera puts its frames.
        stage: detection, tracking and quality for this camera.
        turn: held while the detector works, which several cameras share.
        out: where the faces go, and at the end `CameraEnded`.
        beat: told after every round.
    """

    def __init__(
        self,
        *,
        camera: str,
        newest: NewestFrame,
        stage: FaceStage,
        turn: threading.Lock,
        out: Slot[FrameFaces | CameraEnded],
        beat: Callable[[], None],
    ) -> None:
        self._camera = camera
        self._newest = newest
        self._stage = stage
        self._turn = turn
        self._out = out
        self._beat = beat

    def run(self, stopping: Callable[[], bool]) -> None:
        """Work until `stopping`, or until the camera has ended and its last frame is through.

        Raises:
            ModelError: the detector failed.
        """
        seen = 0
        while not stopping() and not self._newest.ended:
            self._beat()
            frame = self._newest.get(timeout=_WAIT_S)
            if frame is None:
                continue
            seen += 1
            with self._turn:
                faces = self._stage.process(frame)
            while not self._out.put(faces, timeout=_WAIT_S) and not stopping():
                self._beat()
        self._out.put(CameraEnded(self._camera), timeout=_WAIT_S * 10)
        _log.info("camera_ended", camera=self._camera, frames=seen, dropped=self._newest.dropped)
