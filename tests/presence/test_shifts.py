"""Shifts by a wall clock that may jump."""

from __future__ import annotations

import pytest
import structlog

from edge_app.clock import WallQuality, WallTime
from edge_app.presence.shifts import Shifts

H = 3_600_000
#: 2027-01-15 00:00 UTC
MIDNIGHT = 1_799_971_200_000


def at(hours: float) -> WallTime:
    """Return a wall time."""
    return WallTime(ms=MIDNIGHT + int(hours * H), quality=WallQuality.SYNC)


def test_each_shift_is_rolled_over_to_once() -> None:
    """Not at the start of the box, which is in the middle of one; over midnight as well."""
    shifts = Shifts(begins=("06:00", "14:00", "22:00"))
    said = [shifts.rolled_over(at(hour / 4)) for hour in range(8 * 4, 32 * 4)]
    assert ["14:00", "22:00", "06:00"] == [name for name in said if name]
    assert (14 - 8) * 4 == said.index("14:00")


def test_local_time_is_what_the_operator_means() -> None:
    """06:00 at UTC+8 is 22:00 UTC of the day before."""
    shifts = Shifts(begins=("06:00",), utc_offset_min=480)
    assert [None, "06:00"] == [shifts.rolled_over(at(hour)) for hour in (21.9, 22.0)]


def test_clock_that_is_set_back_repeats_no_shift() -> None:
    """And one that goes forward skips those in between."""
    shifts = Shifts(begins=("06:00", "14:00", "22:00"))
    said = [shifts.rolled_over(at(hour)) for hour in (13, 14.1, 13, 14.1, 13.9, 14, 100)]
    assert [None, "14:00", None, None, None, None, "22:00"] == said


@pytest.mark.parametrize("quality", [WallQuality.SYNC, WallQuality.HOLDOVER])
def test_clock_that_was_a_year_ahead_ends_no_shift_for_a_year(quality: WallQuality) -> None:
    """One look at it closes the present shift; set right, every shift begins in time. Logged."""
    shifts = Shifts(begins=("06:00", "14:00", "22:00"))
    assert [None, "06:00"] == [
        shifts.rolled_over(at(13)),
        shifts.rolled_over(WallTime(at(13 + 24 * 365 - 6).ms, quality)),
    ]
    with structlog.testing.capture_logs() as lines:
        said = [shifts.rolled_over(at(hour / 4)) for hour in range(13 * 4, 37 * 4)]
    assert ["14:00", "22:00", "06:00"] == [name for name in said if name]
    assert ["shift_clock_was_ahead"] == [line["event"] for line in lines]


def test_file_of_a_clock_that_was_ahead_ends_no_shift_for_as_long() -> None:
    """What an earlier run kept of a wrong clock heals as well."""
    shifts = Shifts(begins=("06:00", "14:00"), last_ms=at(24 * 365).ms)
    assert [None, "14:00"] == [shifts.rolled_over(at(hour)) for hour in (7, 14)]


def test_without_a_clock_nothing_rolls_over() -> None:
    """Nor does a clock that comes back in the same shift."""
    shifts = Shifts(begins=("06:00",))
    nothing = WallTime(ms=None, quality=WallQuality.NONE)
    assert [None] * 4 == [shifts.rolled_over(wall) for wall in (nothing, at(7), nothing, at(8))]


def test_shift_that_ended_while_the_box_was_off_is_rolled_over_at_the_start() -> None:
    """The file says which shift it was."""
    shifts = Shifts(begins=("06:00", "14:00"), last_ms=MIDNIGHT + 6 * H)
    assert "14:00" == shifts.rolled_over(at(15))


@pytest.mark.parametrize("text", ["24:00", "6:00", "noon", ""])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    """With what was received."""
    with pytest.raises(ValueError, match="time of day"):
        Shifts(begins=(text,))
