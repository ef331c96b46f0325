"""The watchdog is fed only while every stage makes progress."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from edge_app.clock import WallQuality, WallTime
from edge_app.health import watchdog as module
from edge_app.health.watchdog import StageSpec, Watchdog

CAPTURE = StageSpec(name="capture", does="takes pictures", longest_silence_s=2, startup_limit_s=10)
RECOGNISE = StageSpec(name="recognise", does="embeds faces", longest_silence_s=5, startup_limit_s=20)


class HandClock:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def mono_ns(self) -> int:
        """Return the time set."""
        return int(self.now_s * 1e9)

    def wall(self) -> WallTime:
        """Return no wall time."""
        return WallTime(ms=None, quality=WallQuality.NONE)

    def sleep(self, seconds: float) -> None:
        """Move the time on."""
        self.now_s += seconds


class Told:
    """Keeps what the service manager was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, *lines: str) -> bool:
        """Keep `lines`."""
        self.lines.extend(lines)
        return True

    def take(self) -> list[str]:
        """Return what was told since the last call."""
        lines, self.lines = self.lines, []
        return lines


class Bench:
    """A watchdog over two stages with a clock moved by hand."""

    def __init__(self, *stages: StageSpec) -> None:
        self.clock = HandClock()
        self.told = Told()
        self.watchdog = Watchdog(
            stages or (CAPTURE, RECOGNISE), clock=self.clock, notify=self.told, interval=0.01
        )

    def both_beat(self) -> None:
        """Let both stages beat."""
        self.watchdog.beat("capture")
        self.watchdog.beat("recognise")

    def check(self) -> list[str]:
        """Look once and return what was told, without the status."""
        self.watchdog.check()
        return [line for line in self.told.take() if not line.startswith("STATUS=")]


def test_ready_is_said_once_and_only_after_every_stage_has_beaten() -> None:
    """A box with one working stage is not ready."""
    bench = Bench()
    assert bench.check() == ["WATCHDOG=1"]
    bench.watchdog.beat("capture")
    assert bench.check() == ["WATCHDOG=1"]
    bench.both_beat()
    assert bench.check() == ["READY=1", "WATCHDOG=1"]
    assert bench.check() == ["WATCHDOG=1"]


def test_a_silent_stage_stops_the_feeding_although_the_others_beat() -> None:
    """The process runs, but it does not work."""
    bench = Bench()
    bench.both_beat()
    bench.check()
    bench.clock.sleep(5.5)
    bench.watchdog.beat("capture")
    assert bench.check() == []


def test_exactly_the_limit_is_still_alive() -> None:
    """The limit is the longest silence allowed."""
    bench = Bench()
    bench.both_beat()
    bench.check()
    bench.clock.sleep(2.0)
    assert bench.check() == ["WATCHDOG=1"]
    bench.clock.sleep(0.001)
    assert bench.check() == []


def test_a_stage_that_never_beat_has_its_startup_limit() -> None:
    """Loading a model takes longer than a round of work; forever is too long."""
    bench = Bench()
    bench.clock.sleep(9.9)
    assert bench.check() == ["WATCHDOG=1"]
    bench.clock.sleep(0.2)  # capture's ten seconds are over
    assert bench.check() == []


def test_a_stage_that_comes_back_is_fed_again() -> None:
    """A hiccup shorter than WatchdogSec costs no restart."""
    bench = Bench()
    bench.both_beat()
    bench.check()
    bench.clock.sleep(3)
    assert bench.check() == []
    bench.both_beat()
    assert bench.check() == ["WATCHDOG=1"]


def test_not_ready_while_a_stage_is_silent() -> None:
    """Both have beaten, but one has been silent since."""
    bench = Bench()
    bench.watchdog.beat("capture")
    bench.clock.sleep(3)
    bench.watchdog.beat("recognise")
    assert bench.check() == []
    bench.watchdog.beat("capture")
    assert bench.check() == ["READY=1", "WATCHDOG=1"]


def test_health_names_every_stage_in_the_tables_order() -> None:
    """The status page shows the same table."""
    bench = Bench()
    bench.watchdog.beat("recognise")
    bench.clock.sleep(3)
    first, second = bench.watchdog.health()
    assert ("capture", False, 3.0, 10, True) == (
        first.name,
        first.started,
        first.silent_s,
        first.limit_s,
        first.alive,
    )
    assert ("recognise", True, 3.0, 5, True) == (
        second.name,
        second.started,
        second.silent_s,
        second.limit_s,
        second.alive,
    )


def test_the_status_says_which_stage_is_awaited_and_which_is_silent() -> None:
    """`systemctl status` answers the first question."""
    bench = Bench()
    bench.watchdog.beat("capture")
    bench.watchdog.check()
    assert "STATUS=starting, waiting for recognise" in bench.told.take()
    bench.both_beat()
    bench.watchdog.check()
    assert "STATUS=running, 2 stages alive" in bench.told.take()
    bench.clock.sleep(4)
    bench.watchdog.check()
    assert "STATUS=silent: capture (takes pictures; over its 2 s)" in bench.told.take()


def test_an_unchanged_status_is_not_repeated() -> None:
    """One line a change."""
    bench = Bench()
    bench.watchdog.check()
    bench.told.take()
    bench.watchdog.check()
    assert bench.told.take() == ["WATCHDOG=1"]


def test_a_silence_is_logged_once_and_so_is_its_end() -> None:
    """A frozen camera must not fill the disk."""
    bench = Bench()
    bench.both_beat()
    with capture_logs() as logs:
        bench.check()
        bench.clock.sleep(3)
        for _ in range(4):
            bench.check()
        bench.both_beat()
        bench.check()
    said = [(entry["event"], entry.get("stage")) for entry in logs]
    assert [("ready", None), ("stage silent", "capture"), ("stage back", "capture")] == said


def test_a_silence_is_logged_with_the_place_where_the_stage_stands() -> None:
    """Which driver call hangs is the second question."""
    bench = Bench()
    release, beaten = threading.Event(), threading.Event()

    def read_from_a_frozen_camera() -> None:
        bench.both_beat()
        beaten.set()
        release.wait()

    thread = threading.Thread(target=read_from_a_frozen_camera, name="capture")
    thread.start()
    assert beaten.wait(5)
    with capture_logs() as logs:
        bench.clock.sleep(3)
        bench.check()
    release.set()
    thread.join()
    (silent,) = [entry for entry in logs if entry["event"] == "stage silent"]
    assert any("read_from_a_frozen_camera" in call for call in silent["stands_at"])


def test_a_stage_without_a_row_is_refused() -> None:
    """A typing error must not look like a frozen stage half a minute later."""
    with pytest.raises(ValueError, match=r"no stage 'captrue'.*capture.*recognise"):
        Bench().watchdog.beat("captrue")


@pytest.mark.parametrize("stages", [(), (CAPTURE, CAPTURE)])
def test_an_empty_table_and_twins_are_refused(stages: tuple[StageSpec, ...]) -> None:
    """A watchdog over nothing would always be fed."""
    with pytest.raises(ValueError, match="rows of different names"):
        Watchdog(stages, clock=HandClock(), notify=Told())


@pytest.mark.parametrize("change", [{"name": ""}, {"longest_silence_s": 0}, {"startup_limit_s": -1}])
def test_a_stage_without_sense_is_refused(change: dict[str, Any]) -> None:
    """Limits are positive, names are there."""
    row: dict[str, Any] = {"name": "x", "does": "y", "longest_silence_s": 1, "startup_limit_s": 1}
    with pytest.raises(ValueError, match="positive limits"):
        StageSpec(**{**row, **change})


def test_a_retired_stage_is_not_missed() -> None:
    """A video file that is over is not a frozen camera."""
    bench = Bench()
    bench.both_beat()
    bench.check()
    bench.watchdog.retire("capture")
    bench.watchdog.beat("capture")  # a late word of one of its threads
    bench.clock.sleep(4)
    assert bench.check() == ["WATCHDOG=1"]
    bench.clock.sleep(2)
    assert bench.check() == []  # the other one still is


def test_the_last_stage_can_retire_too() -> None:
    """A daemon at the end of its work is fed until it is gone."""
    bench = Bench(CAPTURE)
    bench.watchdog.retire("capture")
    bench.clock.sleep(1000)
    assert bench.check() == ["READY=1", "WATCHDOG=1"]


def test_the_interval_is_a_third_of_systemds_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One late look costs no restart."""
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert module.default_interval_s() == 10.0
    monkeypatch.delenv("WATCHDOG_USEC")
    assert module.default_interval_s() == 5.0


def test_the_thread_looks_until_it_is_stopped_and_says_goodbye_once() -> None:
    """STOPPING=1 is the last word."""
    bench = Bench()
    bench.both_beat()
    bench.watchdog.start()
    deadline = time.monotonic() + 5
    while bench.told.lines.count("WATCHDOG=1") < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert "watchdog" in {thread.name for thread in threading.enumerate()}
    bench.watchdog.stop()
    bench.watchdog.stop()
    assert "watchdog" not in {thread.name for thread in threading.enumerate()}
    lines = bench.told.take()
    assert lines.count("WATCHDOG=1") >= 3
    assert (1, 1) == (lines.count("READY=1"), lines.count("STOPPING=1"))
    time.sleep(0.05)
    assert bench.told.take() == []


def test_beats_from_many_threads_are_all_kept() -> None:
    """Stages beat from their own threads, without a lock."""
    stages = [StageSpec(name=f"s{i}", does="x", longest_silence_s=1, startup_limit_s=1) for i in range(16)]
    bench = Bench(*stages)

    def beat_often(name: str) -> None:
        for _ in range(500):
            bench.watchdog.beat(name)

    threads = [threading.Thread(target=beat_often, args=(stage.name,)) for stage in stages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(health.started for health in bench.watchdog.health())


def test_a_beat_is_cheap() -> None:
    """Stages beat every round: under 20 microseconds, with room for a busy machine."""
    bench = Bench()
    best = min(_time_of_1000(bench) for _ in range(5))
    assert best / 1000 < 20e-6


def _time_of_1000(bench: Bench) -> float:
    start = time.perf_counter()
    for _ in range(1000):
        bench.watchdog.beat("capture")
    return time.perf_counter() - start
