"""When the wall clock becomes believable, or jumps: the offset by which consumers date what was recorded.

``wall_ms = mono_ns / 1e6 + offset_ms`` holds for all events of one boot, also for those that were
recorded before anybody knew the offset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_app.clock import WallQuality, WallTime
from edge_app.records import Event

if TYPE_CHECKING:
    from edge_app.clock import Clock

#: A difference below this is drift, corrected by whoever disciplines the clock; above it somebody set it.
_STEP_MS: Final = 2_000
_NS_PER_MS: Final = 1_000_000


def wall_at(mono_ns: int, *, clock: Clock) -> WallTime:
    """Return the wall time of the monotonic moment `mono_ns` of this boot."""
    wall = clock.wall()
    if wall.ms is None:
        return wall
    return WallTime(ms=wall.ms - (clock.mono_ns() - mono_ns) // _NS_PER_MS, quality=wall.quality)


class TimeFixer:
    """Watches the offset between the two clocks; `known_ms` is what this boot's events were told before."""

    def __init__(self, *, clock: Clock, known_ms: int | None) -> None:
        self._clock = clock
        self.offset_ms = known_ms

    def check(self) -> Event | None:
        """Return a ``time_fix`` event if the wall clock has just become believable, or was set."""
        mono_ns, wall = self._clock.mono_ns(), self._clock.wall()
        if wall.ms is None or wall.quality is WallQuality.NONE:
            return None
        offset = wall.ms - mono_ns // _NS_PER_MS
        before = self.offset_ms
        if before is not None and abs(offset - before) < _STEP_MS:
            self.offset_ms = offset
            return None
        self.offset_ms = offset
        reason = "first_fix" if before is None else "clock_set"
        data = {"offset_ms": offset, "previous_offset_ms": before, "reason": reason}
        return Event(kind="time_fix", mono_ns=mono_ns, data=data)
