"""The muster over time and restarts."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_app.clock import WallQuality, WallTime
from edge_app.presence.corrections import Correction, folder_of, put
from edge_app.presence.keeper import Presence
from edge_app.presence.muster import Muster
from edge_app.presence.store import Kept, LedgerFile

if TYPE_CHECKING:
    from edge_app.records import Event

S = 1_000_000_000
ROOT = Path(__file__).resolve().parents[2]


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_ns = 100 * S

    def mono_ns(self) -> int:
        """Return it."""
        return self.now_ns

    def wall(self) -> WallTime:
        """Return none."""
        return WallTime(None, WallQuality.NONE)

    def sleep(self, seconds: float) -> None:
        """Go on."""
        self.now_ns += int(seconds * S)


@pytest.fixture
def clock() -> Clock:
    """Return it."""
    return Clock()


def presence(folder: Path, clock: Clock) -> Presence:
    """Return a presence stage with its file in `folder`."""
    ledger = folder / "presence.json"
    file = LedgerFile(path=ledger, boot="b", clock=clock)
    muster = Muster(zones={"cam": "drift"}, kept=file.load())
    return Presence(muster=muster, file=file, ledger=ledger, clock=clock, muster_every_s=60.0)


def stored(folder: Path, clock: Clock) -> Kept:
    """Return what is in the file."""
    return LedgerFile(path=folder / "presence.json", boot="b", clock=clock).load()


def test_correction_is_done_once_told_and_kept(tmp_path: Path, clock: Clock) -> None:
    """The request is gone, the event made, and the file has it within the same tick."""
    here = presence(tmp_path, clock)
    put(tmp_path / "presence.json", Correction(what="inside", person_ref="a", zone="drift", by="me"))
    assert ["presence_set"] == [event.kind for event in here.tick(101 * S).events]
    assert () == here.tick(102 * S).events
    assert ["a"] == [ref for ref, _ in stored(tmp_path, clock).people]
    assert ["a"] == [person.person_ref for person in presence(tmp_path, clock).tick(103 * S).snapshot.people]


def test_bad_request_is_put_aside(tmp_path: Path, clock: Clock) -> None:
    """It is not tried again every second."""
    here = presence(tmp_path, clock)
    folder_of(tmp_path / "presence.json").mkdir()
    (folder_of(tmp_path / "presence.json") / "1.json").write_text("nonsense")
    assert () == here.tick(101 * S).events
    assert ["1.refused"] == [path.name for path in folder_of(tmp_path / "presence.json").iterdir()]


def test_muster_is_due_by_time_and_on_demand(tmp_path: Path, clock: Clock) -> None:
    """Every minute; and at once when somebody asks."""
    here = presence(tmp_path, clock)
    assert [160, 220] == [at for at in range(101, 230) if here.tick(at * S).muster_due]
    put(tmp_path / "presence.json", Correction(what="muster"))
    assert [True, False] == [here.tick(at * S).muster_due for at in (230, 231)]


def test_file_is_written_when_somebody_comes_and_not_every_second(tmp_path: Path, clock: Clock) -> None:
    """Sights alone are written every ten seconds: flash memory wears."""
    here = presence(tmp_path, clock)
    path = tmp_path / "presence.json"
    seen = []
    for at in range(101, 131):
        here.tick(at * S)
        seen.append(path.stat().st_mtime_ns)
        time.sleep(0.002)
    assert len(set(seen)) <= 4


def test_damaged_ledger_is_told_once_with_a_muster(tmp_path: Path, clock: Clock) -> None:
    """Who was inside is not known: said on the wire, and the first damage is kept beside the second."""
    path = tmp_path / "presence.json"
    for content in ("{first", "{second", "{third"):
        path.write_text(content)
        here = presence(tmp_path, clock)
        first, second = here.tick(101 * S), here.tick(102 * S)
        (lost,) = first.events
        assert ("presence_set", "lost", 0, True) == (
            lost.kind, lost.data["change"], lost.data["headcount"], first.muster_due
        )  # fmt: skip
        assert str(lost.data["reason"]).startswith("the ledger could not be read: JSONDecodeError")
        assert ((), False) == (second.events, second.muster_due)
    kept = {one.suffix: one.read_text() for one in tmp_path.iterdir() if one != path}
    assert {".damaged": "{first", ".again": "{third"} == kept


def test_ledger_that_cannot_be_written_is_an_alarm_until_it_can(tmp_path: Path, clock: Clock) -> None:
    """Once, cleared when it works again; one of an earlier run is cleared as well."""
    ledger = tmp_path / "state" / "presence.json"
    ledger.parent.write_text("in the way")
    file = LedgerFile(path=ledger, boot="b", clock=clock)

    def here(*standing: str) -> Presence:
        muster = Muster(zones={"cam": "drift"})
        return Presence(
            muster=muster, file=file, ledger=ledger, clock=clock, muster_every_s=1e6, standing_alarms=standing
        )

    one = here()
    made = [event for at in range(101, 120) for event in one.tick(at * S).events]
    assert [("presence_ledger_not_written", "active")] == [_alarm(event) for event in made]
    ledger.parent.unlink()
    made = [event for at in range(120, 140) for event in one.tick(at * S).events]
    assert [("presence_ledger_not_written", "cleared")] == [_alarm(event) for event in made]
    (cleared,) = here("presence_ledger_not_written", "overtime.a").tick(141 * S).events[:1]
    assert "cleared" == _alarm(cleared)[1]


def _alarm(event: Event) -> tuple[object, object]:
    alarm = event.data["alarm"]
    assert isinstance(alarm, dict)
    return alarm["id"], alarm["state"]


WRITER = """
import sys, time
from pathlib import Path
from edge_app.clock import SystemClock
from edge_app.presence.corrections import Correction
from edge_app.presence.keeper import Presence
from edge_app.presence.muster import Muster
from edge_app.presence.store import LedgerFile
ledger, clock = Path(sys.argv[1]), SystemClock()
file = LedgerFile(path=ledger, boot="b", clock=clock)
muster = Muster(zones={"cam": "drift"}, kept=file.load())
here = Presence(muster=muster, file=file, ledger=ledger, clock=clock, muster_every_s=60.0)
number = len(list(muster.snapshot(clock.mono_ns()).people))
while True:
    number += 1
    ask = Correction(what="inside", person_ref=f"p{number:05d}", zone="drift")
    muster.correct(ask, now_ns=clock.mono_ns())
    here.tick(clock.mono_ns())
    print(number, flush=True)
"""


def test_kill_at_any_moment_loses_nobody(tmp_path: Path, clock: Clock) -> None:
    """Killed ten times in the middle of writing: everybody who was told as kept is there, and nobody else."""
    ledger = tmp_path / "presence.json"
    told = 0
    for round_ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(ledger)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random.Random(round_).uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        rest = (first + process.stdout.read()).splitlines(keepends=True)
        process.stdout.close()
        process.wait(10)
        told = max([told, *(int(line) for line in rest if line.endswith("\n"))])
        found = [ref for ref, _ in stored(tmp_path, clock).people]
        assert [f"p{number:05d}" for number in range(1, len(found) + 1)] == found
        assert told <= len(found) <= told + 1
    assert told > 10
    assert not list(tmp_path.glob("*.damaged"))
