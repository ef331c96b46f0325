"""Nobody goes out of the count by themselves without being told, nor for want of sight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog

from edge_app.clock import WallQuality, WallTime
from edge_app.presence.muster import Muster
from edge_app.presence.place import Place
from edge_app.presence.shifts import Shifts
from edge_app.presence.store import Kept, LedgerFile
from edge_app.presence.watch import Dark
from edge_app.records import CameraState
from tests.presence.test_muster import said

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_app.records import Event

S = 1_000_000_000
HOUR = 3600
NO_WALL = WallTime(ms=None, quality=WallQuality.NONE)


def inside(zone: str = "drift", *, last: float = 10, **more: bool) -> Place:
    """Return a place in which somebody was seen last at `last` (s)."""
    return Place(zone, "cam1", "t1", 5 * S, int(last * S), 0.7, **more)


KEPT = Kept(
    people=(
        ("a", inside()),
        ("b", inside(last=3000)),
        ("out", Place(None, "cam1", "t1", 5 * S, 10 * S, 0.7)),
    ),
    strangers=(inside(through=True),),
)


def told(events: Iterable[Event]) -> list[tuple[object, ...]]:
    """Return what was said about whom, and the headcount then."""
    return [(e.kind, *(e.data.get(k) for k in ("change", "person_ref", "headcount"))) for e in events]


def test_whoever_is_forgotten_is_told_and_logged() -> None:
    """By name and as a stranger of a portal: an event each with reason, zone and age."""
    muster = Muster(zones={"cam1": "drift"}, forget_person_s=HOUR, kept=KEPT)
    before = muster.changes
    assert () == muster.tick((10 + HOUR) * S, NO_WALL)
    with structlog.testing.capture_logs() as lines:
        made = muster.tick((11 + HOUR) * S, NO_WALL)
    assert [("presence_set", "expired", "a", 2), ("presence_set", "expired", None, 1)] == told(made)
    assert [("drift", "drift", (HOUR + 1) * 1000)] * 2 == [
        (e.zone, e.data["previous_zone"], e.data["away_ms"]) for e in made
    ]
    assert {"not seen for presence.forget_person_s, 3600 s"} == {e.data["reason"] for e in made}
    assert ["a", None] == [line["person_ref"] for line in lines if line["event"] == "presence_expired"]
    assert 2 == muster.changes - before
    assert ["b"] == [one.person_ref for one in muster.snapshot((11 + HOUR) * S).people]
    assert () == muster.tick((12 + HOUR) * S, NO_WALL)


def blind(since: float | None, *, camera: str = "cam1") -> CameraState:
    """Return the state of a camera that is blind since `since` (s), or sees."""
    ns = None if since is None else int(since * S)
    return CameraState(camera, "drift", blind_since_ns=ns, reason=None if ns is None else "covered")


def test_time_without_power_counts_towards_forgetting_nobody() -> None:
    """Off for two days, people inside: still there, with that age, and forgotten after an hour of sight."""
    since = -48 * HOUR
    kept = Kept(people=(("a", inside(last=since)),), dark=(Dark(None, since * S, 20 * S),))
    muster = Muster(zones={"cam1": "drift"}, forget_person_s=HOUR, kept=kept)
    assert () == muster.tick(20 * S, NO_WALL)
    (person,) = muster.snapshot(20 * S).people
    assert since * S == person.last_seen_ns
    assert () == muster.tick((20 + HOUR) * S, NO_WALL)
    assert [("presence_set", "expired", "a", 0)] == told(muster.tick((21 + HOUR) * S, NO_WALL))


@pytest.mark.parametrize("zone", ["drift", "shaft"])
def test_nobody_is_forgotten_behind_a_blind_camera(zone: str) -> None:
    """Half an hour of sight, two of a covered lens, half an hour of sight."""
    zones = {"cam1": "drift", "cam2": "shaft"}
    muster = Muster(zones=zones, forget_person_s=HOUR, kept=Kept(people=(("a", inside(zone)),)))
    muster.tick(HOUR // 2 * S, NO_WALL)
    muster.camera(blind(HOUR // 2), now_ns=(HOUR // 2 + 10) * S)
    made = [
        event for at in range(HOUR // 2 + 10, HOUR * 5 // 2, 10) for event in muster.tick(at * S, NO_WALL)
    ]
    muster.camera(blind(None), now_ns=HOUR * 5 // 2 * S)
    made += muster.tick(HOUR * 5 // 2 * S, NO_WALL)
    assert [("presence_set", "expired", "a", 0)] * (zone == "shaft") == told(made)
    assert (zone == "drift") == bool(muster.tick((HOUR * 3 + 11) * S, NO_WALL))


MIDNIGHT_MS = 1_799_971_200_000  # a midnight, UTC
BEGINS = ("06:00", "14:00", "22:00")


def at(hours: float) -> WallTime:
    """Return the wall time so many hours after midnight."""
    return WallTime(ms=MIDNIGHT_MS + int(hours * HOUR * 1000), quality=WallQuality.SYNC)


def days(muster: Muster, begin: float, end: float) -> list[Event]:
    """Let time pass from one hour to another; the monotonic clock began at midnight."""
    minutes = range(int(begin * 60), int(end * 60))
    return [event for one in minutes for event in muster.tick(one * 60 * S, at(one / 60))]


def two_zones(**more: Any) -> Muster:
    """Return a muster of two cameras with a zone each; "a" and "b" were seen in one each at 5:50."""
    last = 5.8 * HOUR
    people = (("a", inside("drift", last=last)), ("b", inside("shaft", last=last)))
    return Muster(zones={"cam1": "drift", "cam2": "shaft"}, **{"kept": Kept(people=people), **more})


@pytest.mark.parametrize(("begin", "end"), [(7, 15), (5, 7), (13, 14.5)])
def test_nobody_expires_in_a_shift_of_which_a_camera_was_blind_for_a_part(begin: float, end: float) -> None:
    """Over its end, at its beginning: who could not be seen stays, and is told; who could be goes.

    After a shift all of which was seen they go as well.
    """
    muster = two_zones(shifts=Shifts(begins=BEGINS))
    made = days(muster, 5, begin)
    made += muster.camera(blind(begin * HOUR), now_ns=int(begin * HOUR * S))
    made += days(muster, begin, end)
    made += muster.camera(blind(None), now_ns=int(end * HOUR * S))
    with structlog.testing.capture_logs() as lines:
        made += days(muster, end, 30.1)
    kept = [e for e in made if e.kind == "presence_set" and e.data["change"] == "kept"]
    assert [("a", "drift", "drift", 2)] == [
        (e.data["person_ref"], e.zone, e.data["previous_zone"], e.data["headcount"]) for e in kept[:1]
    ]
    blind_h = (min(end, 14) - max(begin, 6)) * HOUR * 1000
    assert abs(blind_h - kept[0].data["blind_ms"]) <= 60_000
    expired = [
        (e.data["person_ref"], e.mono_ns // S // HOUR) for e in made if e.data.get("change") == "expired"
    ]
    assert [("b", 14), ("a", 22 if end < 14 else 30)] == expired
    assert any(line["event"] == "presence_kept" and line["person_ref"] == "a" for line in lines)


def test_stranger_of_a_portal_expires_with_the_shift_as_well() -> None:
    """In at 5:50 and never seen again: told without a name; the one who was seen in the shift stays."""
    strangers = tuple(inside(last=hours * HOUR, through=True) for hours in (5.8, 6.2))
    muster = Muster(zones={"cam1": "drift"}, kept=Kept(strangers=strangers), shifts=Shifts(begins=BEGINS))
    assert [("presence_set", "expired", None, 1)] == told(days(muster, 5, 15))
    assert [("presence_set", "expired", None, 0)] == told(days(muster, 15, 23))


def test_nobody_expires_in_a_shift_of_which_the_box_was_off_for_a_part(tmp_path: Path) -> None:
    """Off from 9:00 to 16:00, another boot; told at the first look, and gone after a shift that was seen."""
    first = two_zones(shifts=Shifts(begins=BEGINS))
    days(first, 5, 9)
    path = tmp_path / "ledger.json"
    LedgerFile(path=path, boot="1", clock=Stopped(9 * HOUR, at(9))).save(first.kept())
    kept = LedgerFile(path=path, boot="2", clock=Stopped(60, at(16))).load()
    muster = two_zones(kept=kept, shifts=Shifts(begins=BEGINS, last_ms=kept.shift_ms))
    assert [("presence_set", "kept", "a", 2), ("presence_set", "kept", "b", 2)] == told(
        muster.tick(60 * S, at(16))
    )
    assert [None] * 2 == [change(muster.tick((60 + h * HOUR) * S, at(16 + h))) for h in (1, 5)]
    assert "kept" == change(muster.tick((60 + 6 * HOUR) * S, at(22)))
    assert "expired" == change(muster.tick((60 + 14 * HOUR) * S, at(30)))


def test_restart_in_a_shift_remembers_that_a_camera_was_blind(tmp_path: Path) -> None:
    """Blind from 7:00 to 8:00, the daemon is restarted at 9:00."""
    first = two_zones(shifts=Shifts(begins=BEGINS))
    days(first, 5, 7)
    first.camera(blind(7 * HOUR), now_ns=7 * HOUR * S)
    days(first, 7, 8)
    first.camera(blind(None), now_ns=8 * HOUR * S)
    path = tmp_path / "ledger.json"
    LedgerFile(path=path, boot="1", clock=Stopped(9 * HOUR, at(9))).save(first.kept())
    kept = LedgerFile(path=path, boot="1", clock=Stopped(9 * HOUR + 20, at(9))).load()
    muster = two_zones(kept=kept, shifts=Shifts(begins=BEGINS, last_ms=kept.shift_ms))
    assert [("kept", "a"), ("expired", "b")] == [
        (e.data["change"], e.data["person_ref"]) for e in muster.tick(14 * HOUR * S, at(14))
    ]


@pytest.mark.parametrize("restarted", [False, True])
def test_clock_that_is_set_back_in_a_shift_expires_nobody_who_was_seen_in_it(
    tmp_path: Path, *, restarted: bool
) -> None:
    """Seen at 6:30, the clock is set back by two hours at 7:30: at the new 14:00 that is 9 h 30 ago."""
    muster = Muster(zones={"cam1": "drift"}, shifts=Shifts(begins=BEGINS))
    days(muster, 5, 7)
    muster.identity(said("a", at=6.5 * HOUR))
    muster.identity(said("b", track="t2", at=5.9 * HOUR))
    days(muster, 7, 7.5)
    assert () == muster.tick(int(7.5 * HOUR) * S, at(5.5))
    if restarted:
        path = tmp_path / "ledger.json"
        LedgerFile(path=path, boot="1", clock=Stopped(9 * HOUR, at(7))).save(muster.kept())
        kept = LedgerFile(path=path, boot="1", clock=Stopped(9 * HOUR, at(7))).load()
        shifts = Shifts(begins=BEGINS, last_ms=kept.shift_ms)
        muster = Muster(zones={"cam1": "drift"}, shifts=shifts, kept=kept)
    assert [("presence_set", "expired", "b", 1)] == told(muster.tick(16 * HOUR * S, at(14)))


def change(events: Iterable[Event]) -> object:
    """Return what was said about everybody, None for nothing."""
    return next((event.data["change"] for event in events), None)


class Stopped:
    """A clock that stands."""

    def __init__(self, mono_s: float, wall: WallTime) -> None:
        self._mono_ns, self._wall = int(mono_s * S), wall

    def mono_ns(self) -> int:
        """Return it."""
        return self._mono_ns

    def wall(self) -> WallTime:
        """Return it."""
        return self._wall

    def sleep(self, seconds: float) -> None:
        """Go on."""
        self._mono_ns += int(seconds * S)
