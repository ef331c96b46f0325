"""One name before two cameras at once: twins, or a wrong name. Never silent, never to and fro."""

from __future__ import annotations

import pytest

from edge_app.presence.muster import Muster
from edge_app.presence.portals import Portal
from edge_app.records import Event, HeadCount
from tests.presence.test_muster import NO_WALL, ZONES, frame, said, told

S = 1_000_000_000
#: The left side of its picture is the shaft; tracks are on the right.
SHAFT = Portal(name="gate", zone="shaft", beyond=None, line=((0.5, 0.0), (0.5, 1.0)), inside=(0.1, 0.5))


class Scene:
    """A muster, and tracks in pictures five times a second."""

    def __init__(self, muster: Muster | None = None) -> None:
        self.muster = muster or Muster(zones=ZONES, away_s=60.0)
        self.at = 10.0

    def name(self, camera: str, track: str, who: str | None = "a", **more: object) -> list[Event]:
        """Say who a track is, that has just come."""
        self.muster.see(frame(self.at, camera=camera, **{track: 0.9}))
        return list(self.muster.identity(said(who, camera=camera, track=track, at=self.at, **more)))

    def go(self, seconds: float, **tracks: str) -> list[Event]:
        """Let time pass with one track in the picture of each of some cameras; return what is told."""
        made: list[Event] = []
        for step in range(int(seconds * 5)):
            self.at = round(self.at + 0.2, 1)
            for camera, track in tracks.items():
                made += self.muster.see(frame(self.at, camera=camera, **{track: 0.9}))
            if step % 5 == 4:
                made += self.muster.tick(int(self.at * S), NO_WALL)
        return made

    @property
    def zone(self) -> str:
        """Where the one registered person is."""
        (person,) = self.muster.snapshot(int(self.at * S)).people
        return person.zone

    @property
    def count(self) -> HeadCount | None:
        """The headcount."""
        return self.muster.snapshot(int(self.at * S)).count


@pytest.fixture
def scene() -> Scene:
    """Return one."""
    return Scene()


def alarms(events: list[Event]) -> list[tuple[object, ...]]:
    """Return id and state of each alarm."""
    return [(e.data["alarm"]["id"], e.data["alarm"]["state"]) for e in events if e.kind == "alarm"]  # type: ignore[index]


def test_one_name_before_two_cameras_is_an_alarm_and_perhaps_one_more(scene: Scene) -> None:
    """Once, with who and where; the person stays where they were named last; over, it is over."""
    scene.name("cam1", "t1")
    scene.go(2, cam1="t1")
    assert ("presence", "moved", "a") == told(scene.name("cam2", "t2"))[1]
    (raised,) = scene.go(10, cam1="t1", cam2="t2")
    assert [("named_twice.a", "active")] == alarms([raised])
    assert ("a", "before cam2 (shaft) and cam1 (drift)", "shaft") == (
        *(raised.data[k] for k in ("person_ref", "note")), raised.zone,
    )  # fmt: skip
    assert ("shaft", HeadCount(1, 1, 2)) == (scene.zone, scene.count)
    scene.muster.ended("cam1", "t1")
    assert [("named_twice.a", "cleared")] == alarms(scene.go(10, cam2="t2"))
    assert ("shaft", HeadCount(1, 1, 1)) == (scene.zone, scene.count)


def test_zone_changes_with_an_event_when_the_other_track_is_gone(scene: Scene) -> None:
    """The newer track ends, or is not seen any more; the older one is the person now, and it is told."""
    scene.name("cam1", "t1")
    scene.name("cam2", "t2")
    assert ["moved"] == [e.data["change"] for e in scene.go(6, cam1="t1") if e.kind == "presence"]
    assert ("drift", HeadCount(1, 1, 1)) == (scene.zone, scene.count)
    assert ["moved"] == [e.data["change"] for e in scene.go(6, cam2="t2") if e.kind == "presence"]
    scene.muster.ended("cam2", "t2")
    assert ["moved"] == [e.data["change"] for e in scene.go(1, cam1="t1") if e.kind == "presence"]


def test_older_track_that_goes_through_a_gate_is_the_person_first() -> None:
    """Seen in the shaft meanwhile; then in the drift again, and out: an event each, in that order."""
    gate = Portal(name="gate", zone="drift", beyond=None, line=SHAFT.line, inside=(0.9, 0.5))
    scene = Scene(Muster(zones=ZONES, portals={"cam1": [gate]}))
    scene.name("cam1", "t1")
    scene.name("cam2", "t2")
    made = scene.muster.see(frame(20, t1=0.2))
    assert [("moved", "shaft", "drift"), ("left", "drift", "drift")] == [
        (e.data["change"], e.data["previous_zone"], e.zone) for e in made
    ]
    assert () == scene.muster.snapshot(20 * S).people


def test_track_that_the_ledger_has_forgotten_keeps_its_person_present(scene: Scene) -> None:
    """Many newer tracks have been this person elsewhere; the old one is in the picture still."""
    scene.name("cam1", "t0")
    for number in range(1, 7):
        scene.name("cam2", f"t{number}")
        scene.go(1, cam1="t0", cam2=f"t{number}")
        scene.muster.ended("cam2", f"t{number}")
    scene.name("cam3", "t9")
    scene.muster.ended("cam3", "t9")
    scene.go(30, cam1="t0")
    (person,) = scene.muster.snapshot(int(scene.at * S)).people
    assert ("drift", int(scene.at * S)) == (person.zone, person.last_seen_ns)


def test_somebody_who_walks_from_camera_to_camera_is_one(scene: Scene) -> None:
    """In both pictures for a second: no alarm, no doubt, one event."""
    scene.name("cam1", "t1")
    scene.go(3, cam1="t1")
    made = scene.name("cam2", "t2")
    for _ in range(5):
        made += scene.go(0.2, cam1="t1", cam2="t2")
        assert HeadCount(1, 1, 1) == scene.count
    made += scene.go(5, cam2="t2")
    assert ["moved"] == [e.data["change"] for e in made if e.kind != "sighting"]


def test_two_cameras_of_one_zone_may_see_the_same_person(scene: Scene) -> None:
    """They look at the same place."""
    scene.name("cam1", "t1")
    scene.name("cam3", "t2")
    assert [] == scene.go(20, cam1="t1", cam3="t2")
    assert HeadCount(1, 1, 1) == scene.count


def test_one_who_is_outside_and_inside_at_once_is_perhaps_inside() -> None:
    """Named inside, then outside the gate of another camera as well: perhaps one is inside."""
    scene = Scene(Muster(zones=ZONES, portals={"cam2": [SHAFT]}))
    scene.name("cam1", "t1")
    scene.go(2, cam1="t1")
    assert ("presence", "left", "a") == told(scene.name("cam2", "t2"))[1]
    assert [("named_twice.a", "active")] == alarms(scene.go(10, cam1="t1", cam2="t2"))
    assert HeadCount(0, 0, 1) == scene.count


def test_alarm_of_an_earlier_run_is_cleared() -> None:
    """The box restarted meanwhile, and nobody is before two cameras."""
    scene = Scene(Muster(zones=ZONES, standing_alarms=("named_twice.a", "camera_moved.cam1")))
    assert [("named_twice.a", "cleared")] == alarms(scene.go(10))
