"""The daemon: the table of its stages, and how they are wired. Nothing else.

Every stage is a named thread that beats for the watchdog after each round of its work. A stage that
fails for good stops the daemon, and the service manager starts it again; a stage that hangs stops
beating, and the watchdog says so. On SIGTERM or SIGINT, or when all recordings have ended, what is
under way is finished, committed, and the box says goodbye.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Final

import structlog

from edge_app.clock import SystemClock
from edge_app.errors import DsrError, SourceError
from edge_app.health.notify import Notifier
from edge_app.health.watchdog import StageSpec, Watchdog
from edge_app.parts import Parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_app.clock import Clock
    from edge_app.config import Config
    from edge_app.health.notify import Notify
    from edge_app.parts import Opener, Watch

_log = structlog.get_logger(__name__)
_JOIN_S: Final = 5.0
_LOOK_S: Final = 0.2
_GOODBYE_S: Final = 10.0

#: name (one row a camera where it has a %s), what it does, longest silence, limit until the first beat (s)
STAGES: Final = (
    ("capture:%s", "reads the camera; a lost one is opened again", 10.0, 60.0),
    ("faces:%s", "finds, follows and judges faces", 15.0, 60.0),
    ("recognise", "embeds, matches, decides, keeps the presence ledger", 15.0, 60.0),
    ("delivery", "commits events and brings them to the broker", 30.0, 60.0),
    ("sparkplug", "tells Sparkplug hosts; only where it is switched on", 30.0, 60.0),
)


def stage_table(cameras: tuple[str, ...], *, sparkplug: bool = False) -> list[StageSpec]:
    """Return the rows of `STAGES` for these cameras, with or without the Sparkplug plane."""
    return [
        StageSpec(
            name=name % camera if camera else name,
            does=does,
            longest_silence_s=silence,
            startup_limit_s=first,
        )
        for name, does, silence, first in STAGES
        if name != "sparkplug" or sparkplug
        for camera in (cameras if "%s" in name else ("",))
    ]


class Daemon:
    """All stages of one box.

    Args:
        config: what the box was told.
        clock: monotonic and wall time.
        notify: the service manager.
        show: also write the first camera's annotated frames to this file.
        source: the file that the configuration was read from, if it was.
        watch: told every frame's faces with the last decision by track (the field test's trace).
        opener: opens a camera's source; another one where a recording brings its own time.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        notify: Notify,
        show: Path | None = None,
        source: Path | None = None,
        watch: Watch | None = None,
        opener: Opener | None = None,
    ) -> None:
        self._clock = clock
        self._stop = threading.Event()
        self._fault: Exception | None = None
        self._reason = "end_of_recordings"
        names = tuple(camera.name for camera in config.cameras)
        self._live = any(camera.source.kind not in {"file", "folder"} for camera in config.cameras)
        stages = stage_table(names, sparkplug=config.sparkplug.group_id is not None)
        self._watchdog = Watchdog(stages, clock=clock, notify=notify)
        self._config = config
        self._show = show
        self._source = source
        self._watch = watch
        self._opener = opener

    @classmethod
    def from_config(cls, config: Config, *, show: Path | None = None, source: Path | None = None) -> Daemon:
        """Return the daemon on the machine's own clock and service manager."""
        notify = Notifier.from_environment()
        return cls(config, clock=SystemClock(), notify=notify, show=show, source=source)

    def run(self) -> int:
        """Work until told to stop, or until all recordings have ended; returns 0.

        Raises:
            DsrError: something that the box cannot work without failed; the stop was orderly.
        """
        with self._stopping_on_signals():
            self._watchdog.start()
            try:
                parts = Parts(
                    self._config,
                    clock=self._clock,
                    beat=self._watchdog.beat,
                    show=self._show,
                    source=self._source,
                    watch=self._watch,
                    opener=self._opener,
                    stages=self._watchdog.health,
                )
                try:
                    self._work(parts)
                finally:
                    if not parts.close(timeout=_GOODBYE_S):
                        _log.error("not everything could be said goodbye; the outbox keeps it")
            finally:
                self._watchdog.stop()
        if self._fault is not None:
            raise self._fault
        return 0

    def stop(self, reason: str) -> None:
        """Ask for an orderly stop; the first reason counts. Any thread."""
        if not self._stop.is_set():
            self._reason = reason
            self._stop.set()

    def _work(self, parts: Parts) -> None:
        parts.say_started()
        works = parts.works()
        threads = {name: self._thread(name, work) for name, work in works.items()}
        recognise = threads.pop("recognise")
        for thread in (recognise, *threads.values()):
            thread.start()
        while not self._stop.is_set() and any(thread.is_alive() for thread in threads.values()):
            self._stop.wait(_LOOK_S)
        for thread in threads.values():
            thread.join(_JOIN_S)
        self._stop.set()
        recognise.join(_JOIN_S)
        _log.info("stopping", reason=self._reason)
        parts.say_stopping(self._reason)

    def _thread(self, name: str, work: Callable[[Callable[[], bool]], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work(self._stop.is_set)
            except Exception as error:  # noqa: BLE001 - carried to the main thread, which stops the daemon
                self._failed(name, error)
            else:
                self._watchdog.retire(name)

        return threading.Thread(target=guarded, name=name, daemon=True)

    def _failed(self, stage: str, error: Exception) -> None:
        if isinstance(error, DsrError):
            _log.error("stage_failed", stage=stage, error=error.what, fix=error.fix)
        else:
            _log.error("stage_failed", stage=stage, exc_info=error)
        if isinstance(error, SourceError) and stage.startswith("capture:") and self._live:
            self._watchdog.retire(stage)  # a recording that cannot be played does not blind the cameras
            return
        self._fault = self._fault or error
        self.stop(f"fault in {stage}")

    @contextlib.contextmanager
    def _stopping_on_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT; a second SIGINT kills at once, as a person at a terminal expects."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, _frame: object) -> None:
            self.stop(signal.Signals(number).name)
            signal.signal(signal.SIGINT, signal.default_int_handler)

        before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
