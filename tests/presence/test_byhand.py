"""An operator's word about somebody who is before a camera stands, and is told when it does not any more."""

from __future__ import annotations

import pytest
import structlog

from edge_app.presence.corrections import Correction
from edge_app.presence.muster import Muster
from edge_app.records import HeadCount
from tests.presence.test_muster import GATE, NO_WALL, ZONES, frame, said, template, told

S = 1_000_000_000


def seen(muster: Muster, begin: float, end: float, **tracks: float) -> list[str]:
    """Let tracks be in the first camera's picture; return what is told."""
    steps = range(int(begin * 5), int(end * 5))
    return [e.kind for step in steps for e in muster.see(frame(step / 5, **tracks))]


def inside(muster: Muster, at: float) -> tuple[list[tuple[str | None, str]], list[str]]:
    """Return who is where, and the zones of those who are unknown."""
    muster.tick(int(at * S), NO_WALL)
    now = muster.snapshot(int(at * S))
    return [(one.person_ref, one.zone) for one in now.people], [one.zone for one in now.unknown]


@pytest.mark.parametrize("what", ["left", "inside"])
def test_correction_of_somebody_in_the_picture_stands(what: str) -> None:
    """Frame after frame: they are where the operator says; the face is somebody, nobody knows who."""
    muster = Muster(zones=ZONES, away_s=60.0)
    seen(muster, 9, 10, t1=0.9)
    muster.identity(said("a", at=10, first=9))
    zone = "shaft" if what == "inside" else None
    with structlog.testing.capture_logs() as lines:
        (event,) = muster.correct(Correction(what=what, person_ref="a", zone=zone), now_ns=10 * S)  # type: ignore[arg-type]
    assert ("had that name before cam1: counts as unknown", 2 if zone else 1) == (
        event.data["note"],
        event.data["headcount"],
    )
    assert ["presence_corrected_against_camera"] == [line["event"] for line in lines]
    assert [] == seen(muster, 10, 60, t1=0.9)
    assert ([("a", "shaft")] if zone else [], ["drift"]) == inside(muster, 60)
    muster.ended("cam1", "t1")
    assert ([("a", "shaft")] if zone else [], []) == inside(muster, 120)


def test_name_that_is_decided_anew_is_told() -> None:
    """By the same track after another name, or by the next one: they enter; the withdrawn name is said."""
    muster = Muster(zones=ZONES, away_s=60.0)
    seen(muster, 9, 10, t1=0.9)
    muster.identity(said("a", at=10, first=9))
    muster.correct(Correction(what="left", person_ref="a"), now_ns=10 * S)
    events = muster.identity(said("b", at=12, first=9, revised=1))
    assert [("sighting", "named", "b"), ("presence", "entered", "b")] == told(events)
    assert {"decision": "named", "person_ref": "a"} == events[0].data["previous"]
    assert ([("b", "drift")], []) == inside(muster, 12)
    muster.ended("cam1", "t1")
    assert ("presence", "entered", "a") == told(muster.identity(said("a", track="t2", at=20)))[1]


def test_correction_to_where_the_camera_sees_them_takes_no_name() -> None:
    """They are seen there from then on."""
    muster = Muster(zones=ZONES)
    seen(muster, 9, 10, t1=0.9)
    muster.identity(said("a", at=10, first=9))
    (event,) = muster.correct(Correction(what="inside", person_ref="a", zone="drift"), now_ns=10 * S)
    assert "note" not in event.data
    seen(muster, 10, 20, t1=0.9)
    assert ([("a", "drift")], []) == inside(muster, 20)


def test_face_that_came_in_through_a_gate_with_a_wrong_name_is_inside_until_it_leaves() -> None:
    """A is at the surface, the operator says; somebody went in, and is in there when no camera sees them."""
    muster = Muster(zones=ZONES, portals={"cam1": [GATE]}, forget_unknown_s=30.0)
    muster.see(frame(9, t1=0.2))
    muster.identity(said("a", at=9, template=template(0.9)))
    muster.see(frame(10, t1=0.8))
    muster.correct(Correction(what="left", person_ref="a"), now_ns=10 * S)
    muster.ended("cam1", "t1")
    assert ([], ["drift"]) == inside(muster, 600)
    muster.see(frame(601, t2=0.9))
    muster.identity(said("", track="t2", at=601))
    muster.see(frame(602, t2=0.2))
    assert ("presence", "left", None) == told(
        muster.identity(said("", track="t2", at=603, first=601, final=True))
    )[1]
    assert ([], []) == inside(muster, 604)


def test_stranger_who_was_taken_for_the_wrong_name_counts_again() -> None:
    """Somebody came in unknown and was named A within; A is outside, so the unknown one is still there."""
    muster = Muster(zones=ZONES, portals={"cam1": [GATE]}, forget_unknown_s=30.0)
    muster.see(frame(9, t1=0.2))
    muster.identity(said(None, at=9, template=template(0.9), score=0.1))
    muster.see(frame(10, t1=0.8))
    muster.ended("cam1", "t1")
    muster.identity(said("a", track="t2", camera="cam3", at=20, template=template(0.9)))
    assert ([("a", "drift")], []) == inside(muster, 20)
    muster.correct(Correction(what="left", person_ref="a"), now_ns=20 * S)
    muster.ended("cam3", "t2")
    assert ([], ["drift"]) == inside(muster, 600)


def test_operator_says_which_of_two_with_one_name_it_is() -> None:
    """The other face is somebody unknown, and the alarm is over."""
    muster = Muster(zones=ZONES, away_s=60.0)
    for camera, track in (("cam1", "t1"), ("cam2", "t2")):
        muster.see(frame(10, camera=camera, **{track: 0.9}))
        muster.identity(said("a", camera=camera, track=track, at=10))
    made = []
    for step in range(51, 200):
        at = step / 5
        made += [*muster.see(frame(at, t1=0.9)), *muster.see(frame(at, camera="cam2", t2=0.9))]
        made += muster.tick(int(at * S), NO_WALL)
        if step == 100:
            correction = Correction(what="inside", person_ref="a", zone="drift")
            made += muster.correct(correction, now_ns=int(at * S))
    assert ["alarm", "presence_set", "alarm"] == [event.kind for event in made]
    assert ([("a", "drift")], ["shaft"]) == inside(muster, 40)
    assert HeadCount(2, 2, 2) == muster.snapshot(40 * S).count
