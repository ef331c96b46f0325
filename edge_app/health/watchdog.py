"""Feed systemd's watchdog only while every stage of the daemon makes progress.

A process that runs is not a process that works: a camera thread can hang in a driver while the
others go on. So each stage *beats* after it has done a round of its work, the table of stages says
how long each may stay silent, and ``WATCHDOG=1`` is sent only while all of them are within their
limits. When one is not, nothing is sent, and systemd restarts the service after ``WatchdogSec``.

A stage that has never beaten is given its start-up limit instead: opening a camera or a model takes
longer than a round of work, and killing before the first beat would make a loop of restarts
(openpilot's ``watchdog_seen`` latch). ``READY=1`` is sent once, when every stage has beaten once.
"""

from __future__ import annotations

import sys
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from edge_app.health import notify as sd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_app.clock import Clock

_NS_PER_S: Final = 1_000_000_000
#: How often to look where systemd sets no limit.
_DEFAULT_INTERVAL_S: Final = 5.0
#: How often to look until everything has begun, so that READY is not late.
_STARTING_S: Final = 0.2
#: How many times within systemd's limit the watchdog is fed: three, so that one late beat costs nothing.
_BEATS_PER_LIMIT: Final = 3.0
_STACK_DEPTH: Final = 6

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One row of the daemon's table of stages.

    `longest_silence_s` is how long it may go without a beat, `startup_limit_s` how long until its first.
    """

    name: str
    does: str
    longest_silence_s: float
    startup_limit_s: float

    def __post_init__(self) -> None:
        """Refuse a stage without a name and limits that are not positive."""
        if not self.name or self.longest_silence_s <= 0 or self.startup_limit_s <= 0:
            msg = f"a stage needs a name and positive limits; received {self!r}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class StageHealth:
    """How a stage is now: seconds since its last beat (or since the start), and its limit in force."""

    name: str
    does: str
    started: bool
    silent_s: float
    limit_s: float

    @property
    def alive(self) -> bool:
        """Whether the stage is within its limit."""
        return self.silent_s <= self.limit_s


class Watchdog:
    """Watches the stages and feeds the service manager's watchdog.

    Args:
        stages: the daemon's table; names must differ.
        clock: times the silences (monotonic).
        notify: told READY=1, WATCHDOG=1, STATUS= and STOPPING=1.
        interval: seconds between two looks of `start`'s thread; None derives it from systemd's limit.
    """

    def __init__(
        self, stages: Sequence[StageSpec], *, clock: Clock, notify: sd.Notify, interval: float | None = None
    ) -> None:
        self._stages = {stage.name: stage for stage in stages}
        if not stages or len(self._stages) != len(stages):
            names = [stage.name for stage in stages]
            msg = f"the table of stages must have rows of different names; received {names}"
            raise ValueError(msg)
        self._known = frozenset(self._stages)
        self._clock = clock
        self._notify = notify
        self._interval = interval if interval is not None else default_interval_s()
        self._born_ns = clock.mono_ns()
        self._beats: dict[str, int] = {}
        self._threads: dict[str, int] = {}
        self._silent: frozenset[str] = frozenset()
        self._ready = False
        self._status = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def ready(self) -> bool:
        """Whether every stage has beaten once."""
        return self._ready

    def beat(self, name: str) -> None:
        """Say that stage `name` has just made progress. Any thread, no lock, under a microsecond.

        Raises:
            ValueError: no such stage: a typing error here would otherwise look like a frozen stage.
        """
        if name not in self._known:
            msg = f"no stage {name!r} in the table; it has {sorted(self._known)}"
            raise ValueError(msg)
        self._beats[name] = self._clock.mono_ns()
        self._threads[name] = threading.get_ident()

    def retire(self, name: str) -> None:
        """Stop watching `name`, whose work has ended as it should (a video file that is over)."""
        if len(self._stages) > 1:
            self._stages = {key: stage for key, stage in self._stages.items() if key != name}
        else:
            self._beats[name] = sys.maxsize

    def health(self) -> list[StageHealth]:
        """Return how every stage is now, in the table's order; tells nobody."""
        now = self._clock.mono_ns()
        return [self._health_of(stage, now) for stage in self._stages.values()]

    def check(self) -> list[StageHealth]:
        """Look at every stage once, and tell the service manager: a beat only while all are alive."""
        healths = self.health()
        silent = frozenset(health.name for health in healths if not health.alive)
        self._report_changes(healths, silent)
        if not self._ready and not silent and all(health.started for health in healths):
            self._ready = True
            _log.info("ready", stages=[health.name for health in healths])
            self._notify(sd.READY)
        if not silent:
            self._notify(sd.BEAT)
        self._tell_status(_status_text(healths, ready=self._ready))
        return healths

    def start(self) -> None:
        """Look every `interval` seconds in a thread of its own, until `stop`."""
        self._thread = threading.Thread(target=self.run, name="watchdog", daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Look every `interval` seconds until `stop` is called from another thread."""
        while not self._stop.is_set():
            self.check()
            self._stop.wait(self._interval if self._ready else min(self._interval, _STARTING_S))

    def stop(self) -> None:
        """Say that the service is stopping and end the thread. Safe to call twice."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._notify(sd.STOPPING, sd.status("stopping"))
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5.0)

    def _health_of(self, stage: StageSpec, now: int) -> StageHealth:
        beat = self._beats.get(stage.name)
        return StageHealth(
            name=stage.name,
            does=stage.does,
            started=beat is not None,
            silent_s=max(0, now - (self._born_ns if beat is None else beat)) / _NS_PER_S,
            limit_s=stage.startup_limit_s if beat is None else stage.longest_silence_s,
        )

    def _report_changes(self, healths: Sequence[StageHealth], silent: frozenset[str]) -> None:
        for health in healths:
            if health.name in silent and health.name not in self._silent:
                _log.error(
                    "stage silent",
                    stage=health.name,
                    silent_s=round(health.silent_s, 1),
                    limit_s=health.limit_s,
                    started=health.started,
                    stands_at=_where(self._threads.get(health.name)),
                )
            elif health.name in self._silent and health.name not in silent:
                _log.warning("stage back", stage=health.name)
        self._silent = silent

    def _tell_status(self, text: str) -> None:
        if text != self._status:
            self._status = text
            self._notify(sd.status(text))


def default_interval_s() -> float:
    """Return a third of systemd's limit, or 5 s where none is set."""
    limit = sd.watchdog_limit_s()
    return _DEFAULT_INTERVAL_S if limit is None else limit / _BEATS_PER_LIMIT


def _status_text(healths: Sequence[StageHealth], *, ready: bool) -> str:
    silent = [f"{h.name} ({h.does}; over its {h.limit_s:g} s)" for h in healths if not h.alive]
    if silent:
        return "silent: " + ", ".join(silent)
    if ready:
        return f"running, {len(healths)} stages alive"
    return "starting, waiting for " + ", ".join(h.name for h in healths if not h.started)


def _where(thread_id: int | None) -> list[str]:
    """Return the innermost calls of a thread as ``file:line function``, for the log of a frozen stage."""
    frame = None if thread_id is None else sys._current_frames().get(thread_id)  # noqa: SLF001 - documented
    if frame is None:
        return []
    calls = traceback.extract_stack(frame)[-_STACK_DEPTH:]
    return [f"{call.filename}:{call.lineno} {call.name}" for call in calls]
