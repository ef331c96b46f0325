"""The muster with all that is around it: the ledger's file, the operator's corrections, the rounds.

About once a second (`Presence.tick`) it takes the corrections that wait, makes the rounds, and writes
the ledger if it has changed: at once when somebody came or went, every ten seconds when only the times
of the last sights did. So a kill loses a second of coming and going, and cameras see it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from edge_app.presence import corrections

if TYPE_CHECKING:
    from pathlib import Path

    from edge_app.clock import Clock
    from edge_app.presence.muster import Muster
    from edge_app.presence.store import LedgerFile
    from edge_app.records import Event, PresenceSnapshot

_NS: Final = 1_000_000_000
_SIGHTS_EVERY_NS: Final = 10 * _NS

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
    """

    def __init__(
        self, *, muster: Muster, file: LedgerFile, ledger: Path, clock: Clock, muster_every_s: float
    ) -> None:
        self.muster = muster
        self._file, self._ledger, self._clock = file, ledger, clock
        self._every_ns = int(muster_every_s * _NS)
        self._mustered_ns = self._saved_ns = clock.mono_ns()
        self._saved = -1
        self._wanted = False

    def tick(self, now_ns: int) -> Round:
        """Do what is due at `now_ns`."""
        made = [*self._corrections(now_ns), *self.muster.tick(now_ns, self._clock.wall())]
        due = now_ns - self._mustered_ns >= self._every_ns or self._wanted or self.muster.shift_has_begun()
        if due:
            self._mustered_ns, self._wanted = now_ns, False
        if self.muster.changes != self._saved or now_ns - self._saved_ns >= _SIGHTS_EVERY_NS:
            self._save(now_ns)
        return Round(events=tuple(made), snapshot=self.muster.snapshot(now_ns), muster_due=due)

    def close(self) -> None:
        """Write the ledger for the last time."""
        self._save(self._clock.mono_ns())

    def _save(self, now_ns: int) -> None:
        self._saved_ns = now_ns
        changes = self.muster.changes
        if self._file.save(self.muster.kept()):
            self._saved = changes

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
