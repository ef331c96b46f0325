"""When the clock becomes believable, or jumps."""

from __future__ import annotations

from typing import Any

from edge_app.clock import WallQuality, WallTime
from edge_app.delivery.timefix import TimeFixer, wall_at

MS = 1_000_000


def test_first_fix_is_told_once(clock: Any) -> None:
    """Offset in milliseconds; then nothing while the clock keeps step."""
    fixer = TimeFixer(clock=clock, known_ms=None)
    clock.wall_time = WallTime(ms=None, quality=WallQuality.NONE)
    assert None is fixer.check()
    clock.wall_time = WallTime(ms=1_750_000_000_000, quality=WallQuality.SYNC)
    fix = fixer.check()
    assert fix is not None
    assert (1_750_000_000_000 - clock.now_ns // MS, "first_fix") == (
        fix.data["offset_ms"],
        fix.data["reason"],
    )
    assert None is fixer.check()


def test_restart_in_the_same_boot_tells_nothing_new(clock: Any) -> None:
    """The offset was stored with the boot."""
    known = clock.wall_time.ms - clock.now_ns // MS
    assert None is TimeFixer(clock=clock, known_ms=known).check()


def test_drift_is_no_step_and_a_set_clock_is(clock: Any) -> None:
    """Slow drift is followed silently however far it goes; a jump is told with what was believed before."""
    fixer = TimeFixer(clock=clock, known_ms=None)
    fixer.check()
    base = clock.wall_time.ms
    for step in range(1, 100):
        clock.wall_time = WallTime(ms=base + 50 * step, quality=WallQuality.HOLDOVER)
        assert None is fixer.check()
    clock.wall_time = WallTime(ms=base + 3_600_000, quality=WallQuality.SYNC)
    fix = fixer.check()
    assert fix is not None
    before = fix.data["previous_offset_ms"]
    assert isinstance(before, int)
    assert ("clock_set", base + 50 * 99 - clock.now_ns // MS) == (fix.data["reason"], before)


def test_wall_time_of_an_earlier_moment(clock: Any) -> None:
    """By the distance on the monotonic clock; no clock, no time."""
    assert clock.wall_time.ms - 250 == wall_at(clock.now_ns - 250 * MS, clock=clock).ms
    clock.wall_time = WallTime(ms=None, quality=WallQuality.NONE)
    assert None is wall_at(clock.now_ns - 250 * MS, clock=clock).ms
