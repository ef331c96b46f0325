"""When one shift ends and the next begins, by a wall clock that may jump.

The times are the operator's local ones, with the offset from UTC that the operator gave (a box has no
time zone data worth trusting). A shift is counted over once: a clock that is set back repeats none,
one that is set forward closes the shift that is over and skips those in between, and without a
believable clock nothing rolls over at all. A clock that is more than a day behind the shift that was last
begun was wrong then: its present shift is taken for the last one, so that the next begins in time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_app.clock import WallTime

_MIN_MS: Final = 60_000
_DAY_MS: Final = 24 * 60 * _MIN_MS
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

_log = structlog.get_logger(__name__)


class Shifts:
    """Tells when a shift has begun.

    Args:
        begins: local times of day, ``HH:MM``; none: there are no shifts.
        utc_offset_min: minutes by which local time is ahead of UTC.
        last_ms: beginning of the shift that was last rolled over to (wall ms), from an earlier run.

    Raises:
        ValueError: not a time of day.
    """

    def __init__(
        self, *, begins: Sequence[str] = (), utc_offset_min: int = 0, last_ms: int | None = None
    ) -> None:
        self._minutes = sorted({_minutes(text) for text in begins})
        self._offset_ms = utc_offset_min * _MIN_MS
        self.last_ms = last_ms

    def rolled_over(self, wall: WallTime) -> str | None:
        """Return the ``HH:MM`` of the shift that has begun since it was asked last, None if none has."""
        if wall.ms is None or not self._minutes:
            return None
        began_ms, name = self._current(wall.ms)
        if self.last_ms is None:
            self.last_ms = began_ms  # the box was started in the middle of it
            return None
        if self.last_ms - began_ms > _DAY_MS:
            behind_h = (self.last_ms - began_ms) // (60 * _MIN_MS)
            _log.warning("shift_clock_was_ahead", hours=behind_h, shift=name, quality=wall.quality.value)
            self.last_ms = began_ms
        if began_ms <= self.last_ms:
            return None
        self.last_ms = began_ms
        return name

    def _current(self, wall_ms: int) -> tuple[int, str]:
        """Return when the shift of `wall_ms` began (wall ms), and its name."""
        local = wall_ms + self._offset_ms
        midnight = local - local % _DAY_MS
        passed = [minute for minute in self._minutes if midnight + minute * _MIN_MS <= local]
        minute = passed[-1] if passed else self._minutes[-1]
        began = midnight + minute * _MIN_MS - (0 if passed else _DAY_MS)
        return began - self._offset_ms, f"{minute // 60:02d}:{minute % 60:02d}"


def _minutes(text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        msg = f"a shift begins at a time of day like 06:00; received {text!r:.20}"
        raise ValueError(msg)
    return int(match[1]) * 60 + int(match[2])
