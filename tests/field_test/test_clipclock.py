"""The clips' clock: it follows the frames, never goes back, and keeps cameras in step."""

from __future__ import annotations

import threading
import time

import pytest

from edge_app.clock import WallQuality
from field_test.clipclock import ClipClock

_NS = 1_000_000_000


def test_it_stands_at_the_newest_frame() -> None:
    """To within what passes between two frames, however slowly they are worked on."""
    clock = ClipClock({"a": [0.0, 0.5, 10.0]})
    readings = []
    for _ in range(2):
        clock.frame("a")
        readings.append(clock.mono_ns())
    assert clock.base_ns is not None
    assert [0.0, 0.5] == pytest.approx([(now - clock.base_ns) / _NS for now in readings], abs=0.1)


def test_it_does_not_run_past_the_next_frame() -> None:
    """A box that takes a second for a frame has not aged by a second."""
    clock = ClipClock({"a": [0.0, 0.05]})
    clock.frame("a")
    time.sleep(0.3)
    assert clock.base_ns is not None
    assert 0.05 == pytest.approx((clock.mono_ns() - clock.base_ns) / _NS, abs=0.01)


def test_it_never_goes_back() -> None:
    """Also when a frame's time lies before what has passed."""
    clock = ClipClock({"a": [0.0, 0.01, 0.02, 5.0]})
    last = clock.mono_ns()
    for _ in range(4):
        clock.frame("a")
        time.sleep(0.02)
        now = clock.mono_ns()
        assert now >= last
        last = now


def test_after_the_last_frame_time_goes_on() -> None:
    """What waits for seconds after the end must not wait for ever."""
    clock = ClipClock({"a": [0.0]})
    clock.frame("a")
    clock.ended("a")
    before = clock.mono_ns()
    time.sleep(0.05)
    assert clock.mono_ns() - before >= 0.04 * _NS
    assert not clock.expects("a")


def test_a_camera_waits_for_the_others() -> None:
    """The second frame of one is not given before the first of the other."""
    clock = ClipClock({"a": [0.0, 1.0], "b": [0.0, 1.0]})
    order: list[str] = []

    def read_a() -> None:
        for number in range(2):
            clock.frame("a")
            order.append(f"a{number}")

    reader = threading.Thread(target=read_a)
    reader.start()
    time.sleep(0.2)
    assert ["a0"] == order
    clock.frame("b")
    reader.join(2)
    assert ["a0", "a1"] == order
    clock.frame("b")


def test_the_wall_clock_jumps_where_it_is_told_to_and_the_monotonic_one_does_not() -> None:
    """An hour back, at second 2."""
    clock = ClipClock({"a": [0.0, 1.0, 2.0]}, jump=(2.0, -3600.0))
    walls, monos = [], []
    for _ in range(3):
        clock.frame("a")
        wall = clock.wall()
        assert WallQuality.SYNC is wall.quality
        assert wall.ms is not None
        walls.append(wall.ms)
        monos.append(clock.mono_ns())

    assert monos == sorted(monos)
    assert 1000 == pytest.approx(walls[1] - walls[0], abs=150)
    assert 1000 - 3_600_000 == pytest.approx(walls[2] - walls[1], abs=150)
