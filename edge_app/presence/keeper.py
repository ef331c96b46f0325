"""The muster with all that is around it: the ledger's file, the operator's corrections, the rounds.

About once a second (`Presence.tick`) it takes the corrections that wait, makes the rounds, and writes
the ledger if it has changed: at once when somebody came or went, every ten seconds when only the times
of the last sights did. So a kill loses a second of coming and going, and cameras see it again.

Who was inside is not known any more when the file was damaged, and will not be when it cannot be written:
both are told, not only logged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from edge_app.presence import corrections, events
from edge_app.presence.alarms import Alarms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from edge_app.clock import Clock
    from edge_app.presence.muster import Muster
    from edge_app.presence.store import LedgerFile
    from edge_app.records import Event, PresenceSnapshot

_NS: Final = 1_000_000_000
_SIGHTS_EVERY_NS: Final = 10 * _NS
_NOT_WRITTEN: Final = "presence_ledger_not_written"
_MAX_REASON: Final = 200

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Round:
    """What one tick brought: events, who is where, and whether that is to be told as an event."""

    events: tuple[Event, ...]
    snapshot: PresenceSnapshot
    muster_due: bool


class Presence:
    """Keeps `muster` alive over time and restarts. Used by one thread.

    Args:
        muster: who is where.
        file: where the ledger is kept.
        ledger: its path; operators' requests lie beside it.
        clock: monotonic and wall time.
        muster_every_s: how often the muster is an event.
        standing_alarms: ids of alarms that an earlier run raised and did not clear.
    """

    def __init__(
        self,
        *,
        muster: Muster,
        file: LedgerFile,
        ledger: Path,
        clock: Clock,
        muster_every_s: float,
        standing_alarms: Iterable[str] = (),
    ) -> None:
        self.muster = muster
        self._file, self._ledger, self._clock = file, ledger, clock
        self._every_ns = int(muster_every_s * _NS)
        self._mustered_ns = self._saved_ns = clock.mono_ns()
        self._saved = -1
        self._lost = file.problem
        self._wanted = self._lost is not None
        self._alarms = Alarms(standing=(one for one in standing_alarms if one == _NOT_WRITTEN))

    def tick(self, now_ns: int) -> Round:
        """Do what is due at `now_ns`."""
        made = [
            *self._tell_lost(now_ns),
            *self._corrections(now_ns),
            *self.muster.tick(now_ns, self._clock.wall()),
        ]
        due = now_ns - self._mustered_ns >= self._every_ns or self._wanted or self.muster.shift_has_begun()
        if due:
            self._mustered_ns, self._wanted = now_ns, False
        if self.muster.changes != self._saved or now_ns - self._saved_ns >= _SIGHTS_EVERY_NS:
            made += self._save(now_ns)
        return Round(events=tuple(made), snapshot=self.muster.snapshot(now_ns), muster_due=due)

    def close(self) -> None:
        """Write the ledger for the last time."""
        list(self._save(self._clock.mono_ns()))  # what that tells comes too late

    def _save(self, now_ns: int) -> Iterator[Event]:
        self._saved_ns = now_ns
        changes = self.muster.changes
        written = self._file.save(self.muster.kept())
        if written:
            self._saved = changes
        change = self._alarms.update(_NOT_WRITTEN, holds=not written, delay_s=0.0, now_ns=now_ns)
        if change is not None:
            data = {"reason": _NOT_WRITTEN, "alarm": change.fields(), "note": str(self._ledger)}
            yield events.event("alarm", now_ns, camera=None, zone=None, data=data)

    def _tell_lost(self, now_ns: int) -> Iterator[Event]:
        """Yield, once, that the last run's ledger could not be read: nobody knows who was inside."""
        if self._lost is not None:
            reason = f"the ledger could not be read: {self._lost}"[:_MAX_REASON]
            count = self.muster.snapshot(now_ns).count
            counts = {} if count is None else events.counts(count)
            data = {"change": "lost", "reason": reason, **counts}
            yield events.event("presence_set", now_ns, camera=None, zone=None, data=data)
        self._lost = None

    def _corrections(self, now_ns: int) -> list[Event]:
        made: list[Event] = []
        for path, request in corrections.take(self._ledger):
            if isinstance(request, str):
                _log.warning("presence_correction_refused", file=str(path), reason=request)
                self._put_away(path, refused=True)
                continue
            if not self._put_away(path, refused=False):
                continue  # it would be done again every second
            _log.info("presence_corrected", what=request.what, person_ref=request.person_ref, by=request.by)
            self._wanted = self._wanted or request.what == "muster"
            made += self.muster.correct(request, now_ns=now_ns)
        return made

    def _put_away(self, path: Path, *, refused: bool) -> bool:
        try:
            if refused:
                path.replace(path.with_suffix(".refused"))
            else:
                path.unlink()
        except OSError as error:
            _log.error("presence_correction_cannot_be_removed", file=str(path), reason=error.strerror)
            return False
        return True
