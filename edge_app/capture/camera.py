"""A camera's two threads: one that reads and may hang in a driver, one that watches it and never does.

The reader opens the source, stamps each frame and puts it into the slot; a camera that is lost is
opened again with jittered, capped waits, for ever. The watcher beats for the watchdog, and tells when
the camera has been blind for too long and when it sees again. It stops beating when the reader has
shown no life for `stuck_after_s`, so that a driver that hangs for good ends in a restart.

Blind is a camera without pictures, and one with pictures in which there is nothing to see
(`edge_app.capture.camera_health`).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import structlog

from edge_app.capture.blindness import Backoff, Blindness
from edge_app.capture.camera_health import CameraHealth, Memory
from edge_app.capture.sight import Sight
from edge_app.capture.sources import open_source
from edge_app.errors import SourceError
from edge_app.records import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from edge_app.capture.memory import CameraMemory
    from edge_app.capture.newest import NewestFrame
    from edge_app.capture.sources import Source
    from edge_app.capture.spec import SourceSpec
    from edge_app.clock import Clock
    from edge_app.records import CameraState

_log = structlog.get_logger(__name__)
_NS_PER_S: Final = 1_000_000_000
_LOOK_S: Final = 0.2
_JOIN_S: Final = 2.0
_FROZEN_AFTER_S: Final = 10.0
#: A camera that has read for so long works; one that gives a frame and fails does not.
_STEADY_S: Final = 5.0


class Camera:
    """One camera: source in, frames out into `newest`.

    Args:
        name: unique on this box.
        zone: what it watches.
        spec: the source.
        newest: where the frames go; made with ``keep_all=spec.keeps_all``.
        clock: monotonic time and waiting.
        beat: told a few times a second while all is well.
        on_state: told when the camera has gone blind and when it sees again, from `run`'s thread.
        blind_after_s: seconds without a useful picture until it is blind.
        stuck_after_s: seconds without life in the reader until the beats stop; well above the
            longest wait in a driver (V4L2: 10 s).
        backoff: waits between attempts to open it again.
        opener: opens the source; another one in tests.
        memory: what the camera used to see, kept over restarts; None for a recording.
        accept_moved_s: a camera that was moved for so long is how it is; None: never.
    """

    def __init__(
        self,
        *,
        name: str,
        zone: str,
        spec: SourceSpec,
        newest: NewestFrame,
        clock: Clock,
        beat: Callable[[], None],
        on_state: Callable[[CameraState], None],
        blind_after_s: float = 10.0,
        stuck_after_s: float = 60.0,
        backoff: Backoff | None = None,
        opener: Callable[[SourceSpec], Source] | None = None,
        memory: CameraMemory | None = None,
        accept_moved_s: float | None = 600.0,
    ) -> None:
        self.name, self.zone = name, zone
        self._spec, self._newest, self._clock = spec, newest, clock
        self._beat, self._on_state = beat, on_state
        self._stuck_ns = round(stuck_after_s * _NS_PER_S)
        self._backoff = backoff or Backoff()
        self._open = opener or (lambda spec: open_source(spec, clock=clock))
        self._memory = memory
        known = Memory() if memory is None else memory.load()
        self._health = CameraHealth(
            frozen_after_s=_FROZEN_AFTER_S if spec.live else None, accept_after_s=accept_moved_s, memory=known
        )
        self._lock = threading.Lock()
        self._blindness = Blindness(camera=name, zone=zone, after_s=blind_after_s, now_ns=clock.mono_ns())
        if known.sight is not Sight.CLEAR:
            self._blindness.known(known.sight.value, known.since_ns, blind=known.sight.blind)
        self._stop = threading.Event()
        self._alive_ns = clock.mono_ns()
        self._frames = 0
        self._failure: Exception | None = None  # written by the reader, read after it has ended

    @property
    def sight(self) -> Sight:
        """What the last picture that was looked at shows."""
        return self._health.sight

    @property
    def frames(self) -> int:
        """How many frames the camera has given, dropped ones included."""
        return self._frames

    def run(self, stopping: Callable[[], bool]) -> None:
        """Work until `stopping`, or until a recording has ended. Ends the slot.

        Raises:
            SourceError: a recording cannot be opened. (A camera is tried again for ever.)
        """
        self._watch()  # what the last run knew is told before a picture can say otherwise
        reader = threading.Thread(target=self._read_guarded, name=f"reader-{self.name}", daemon=True)
        reader.start()
        while reader.is_alive() and not stopping():
            self._watch()
            reader.join(_LOOK_S)
        self._stop.set()
        self._newest.end()
        reader.join(_JOIN_S)
        if reader.is_alive():
            _log.warning("camera_does_not_let_go", camera=self.name, source=self._spec.shown)
        if self._failure is not None:
            raise self._failure

    def _watch(self) -> None:
        now = self._clock.mono_ns()
        if now - self._alive_ns < self._stuck_ns:
            self._beat()
        with self._lock:
            state = self._blindness.check(now)
        if state is not None:
            event = "camera_sees" if state.blind_since_ns is None else "camera_blind"
            _log.warning(
                event, camera=self.name, source=self._spec.shown, reason=state.reason, impaired=state.impaired
            )
            self._on_state(state)
        if self._memory is not None:
            self._memory.keep(self._health.memory, now)

    def _read_guarded(self) -> None:
        try:
            self._read_on()
        except Exception as error:  # noqa: BLE001 - carried to the thread of `run`, and raised there
            self._failure = error
        finally:
            self._newest.end()

    def _read_on(self) -> None:
        while not self._stop.is_set():
            self._alive_ns = self._clock.mono_ns()
            try:
                self._read_to_end()
            except SourceError as error:
                if not self._spec.live:
                    raise
                self._wait_before_retry(error)
            else:
                return

    def _read_to_end(self) -> None:
        """Open the source and read it until it ends, or until stopped."""
        source = self._open(self._spec)
        first, opened_ns = self._frames, self._clock.mono_ns()
        try:
            _log.info("camera_opened", camera=self.name, source=self._spec.shown)
            while not self._stop.is_set() and not self._newest.closed:
                pixels = source.read()
                if pixels is None:
                    return
                self._frames = first + source.position
                self._deliver(pixels)
                if self._alive_ns - opened_ns > _STEADY_S * _NS_PER_S:
                    self._backoff.reset()
        finally:
            source.close()

    def _deliver(self, pixels: npt.NDArray[np.uint8]) -> None:
        now = self._clock.mono_ns()
        self._alive_ns = now
        sight = self._health.look(pixels, now)
        with self._lock:
            if sight.blind:
                self._blindness.saw_nothing(sight.value, self._health.useless_ns)
            else:
                self._blindness.saw(now)
                self._blindness.noticed(None if sight is Sight.CLEAR else sight.value, now)
        frame = Frame(camera=self.name, index=self._frames - 1, mono_ns=now, pixels=pixels)
        while not (self._newest.put(frame) or self._newest.closed or self._stop.is_set()):
            self._alive_ns = self._clock.mono_ns()
            with self._lock:  # it waits for the detector: that is no blindness
                if not sight.blind:
                    self._blindness.saw(self._alive_ns)

    def _wait_before_retry(self, error: SourceError) -> None:
        seconds = self._backoff.next_s()
        _log.warning(
            "camera_lost", camera=self.name, source=self._spec.shown, reason=error.what, fix=error.fix,
            retry_in_s=round(seconds, 1),
        )  # fmt: skip
        until = self._clock.mono_ns() + round(seconds * _NS_PER_S)
        while self._clock.mono_ns() < until and not self._stop.is_set():
            self._alive_ns = self._clock.mono_ns()
            self._clock.sleep(min(_LOOK_S, seconds))
