"""The clocks say what they know, and no more."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_app.clock import SystemClock, WallQuality, WallTime, boot_id

if TYPE_CHECKING:
    from collections.abc import Callable


def test_monotonic_time_goes_forward() -> None:
    """It never goes back, and counts nanoseconds."""
    clock = SystemClock()
    first = clock.mono_ns()
    clock.sleep(0.01)
    assert 5_000_000 <= clock.mono_ns() - first < 5_000_000_000


@pytest.mark.parametrize("seconds", [0, 1_262_304_000, 5_000_000_000])
def test_a_wall_clock_that_cannot_be_right_has_no_time(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """1970, 2010 and 2128 are not believed: the event then carries no wall time at all."""
    monkeypatch.setattr(time, "time_ns", lambda: seconds * 1_000_000_000)
    assert WallTime(ms=None, quality=WallQuality.NONE) == SystemClock().wall()


@pytest.mark.parametrize(
    ("synchronised", "expected"), [(True, WallQuality.SYNC), (False, WallQuality.HOLDOVER)]
)
def test_quality_follows_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
    synchronised: bool,
    expected: WallQuality,
) -> None:
    """`sync` only while the kernel says that a time source disciplines the clock."""
    answer: Callable[[], bool] = lambda: synchronised  # noqa: E731
    monkeypatch.setattr("edge_app.clock.kernel_clock_synchronised", answer)
    monkeypatch.setattr(time, "time_ns", lambda: 1_790_000_000_123_456_789)
    assert WallTime(ms=1_790_000_000_123, quality=expected) == SystemClock().wall()


def test_time_and_quality_go_together() -> None:
    """No time without quality, no quality without time."""
    with pytest.raises(ValueError, match="does not go with"):
        WallTime(ms=None, quality=WallQuality.SYNC)
    with pytest.raises(ValueError, match="does not go with"):
        WallTime(ms=5, quality=WallQuality.NONE)


def test_boot_id_is_the_kernels(tmp_path: Path) -> None:
    """It names this run of the monotonic clock."""
    file = tmp_path / "boot_id"
    file.write_text("c0ffee00-0000-4000-8000-000000000000\n", encoding="ascii")
    assert boot_id(file) == "c0ffee00-0000-4000-8000-000000000000"
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
