"""Nobody goes out of the count by themselves without being told, nor for want of sight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from edge_app.clock import WallQuality, WallTime
from edge_app.presence.muster import Muster
from edge_app.presence.place import Place
from edge_app.presence.store import Kept
from edge_app.presence.watch import Dark
from edge_app.records import CameraState

if TYPE_CHECKING:
    from collections.abc import Iterable

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
