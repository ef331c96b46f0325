"""The presence stage: what is told, and what is taken back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pytest

from edge_app.clock import WallQuality, WallTime
from edge_app.delivery.event import EnvelopeContext, draft
from edge_app.delivery.retained import muster_fields
from edge_app.presence.alarms import ZoneRules
from edge_app.presence.corrections import Correction
from edge_app.presence.muster import Muster
from edge_app.presence.place import Place
from edge_app.presence.portals import Portal
from edge_app.presence.shifts import Shifts
from edge_app.presence.store import Kept
from edge_app.records import (
    Box,
    CameraState,
    Decision,
    Event,
    Face,
    Frame,
    FrameFaces,
    HeadCount,
    Identity,
    Quality,
    Rejection,
    TrackedFace,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

S = 1_000_000_000
ZONES = {"cam1": "drift", "cam2": "shaft", "cam3": "drift"}


def said(
    who: str | None = "a",
    *,
    track: str = "t1",
    camera: str = "cam1",
    at: float = 10.0,
    first: float | None = None,
    **more: Any,
) -> Identity:
    """Return a decision: a name, "" for undecided, None for unknown."""
    decision = Decision.NAMED if who else Decision.UNKNOWN if who is None else Decision.UNDECIDED
    reason = {
        Decision.NAMED: None,
        Decision.UNKNOWN: Rejection.BELOW_THRESHOLD,
        Decision.UNDECIDED: Rejection.TOO_FEW_VIEWS,
    }
    fields: dict[str, Any] = {
        "camera": camera,
        "track": track,
        "decision": decision,
        "person_ref": who or None,
        "reason": reason[decision],
        "score": 0.7,
        "threshold": 0.4,
        "margin": 0.2,
        "quality": 0.8,
        "votes": 3,
        "face_px": 60.0,
        "frame_index": 5,
        "first_seen_ns": int((at if first is None else first) * S),
        "mono_ns": int(at * S),
        "gallery_version": 2,
    }
    return Identity(**{**fields, **more})


def told(events: Iterable[Event]) -> list[tuple[object, ...]]:
    """Return kind, what changed or was decided, and who, of each event."""
    return [
        (e.kind, e.data.get("change") or e.data.get("decision"), e.data.get("person_ref")) for e in events
    ]


@pytest.fixture
def muster() -> Muster:
    """Return a presence stage with three cameras in two zones."""
    return Muster(zones=ZONES, away_s=60.0, forget_unknown_s=30.0, forget_person_s=3600.0)


def where(muster: Muster, at: float) -> dict[str, str]:
    """Return the zone of every registered person."""
    return {str(p.person_ref): p.zone for p in muster.snapshot(int(at * S)).people}


def test_first_sight_makes_a_sighting_and_an_entry(muster: Muster) -> None:
    """Both carry the zone of the camera; the headcount counts the newcomer."""
    events = muster.identity(said("a"))
    assert [("sighting", "named", "a"), ("presence", "entered", "a")] == told(events)
    assert [("drift", "cam1"), ("drift", "cam1")] == [(e.zone, e.camera) for e in events]
    assert 1 == events[1].data["headcount"]


def test_undecided_is_told_and_not_counted(muster: Muster) -> None:
    """A track of which nothing is known changes no muster."""
    assert [("sighting", "undecided", None)] == told(muster.identity(said("")))
    assert 0 == muster.snapshot(11 * S).headcount


def test_same_person_seen_again_soon_is_no_news(muster: Muster) -> None:
    """Another track in the same zone within the absence window: only the sighting."""
    muster.identity(said("a", at=10))
    assert [("sighting", "named", "a")] == told(muster.identity(said("a", track="t2", camera="cam3", at=40)))


def test_return_after_an_absence_is_news(muster: Muster) -> None:
    """With how long the person was away."""
    muster.identity(said("a", at=10))
    events = muster.identity(said("a", track="t2", at=100))
    assert ("presence", "returned", "a") == told(events)[1]
    assert 90_000 == events[1].data["away_ms"]


def test_absence_counts_from_the_last_sight_not_the_first(muster: Muster) -> None:
    """A track that stays in view keeps its person present."""
    muster.identity(said("a", at=10))
    muster.still_there("cam1", "t1", 95 * S)
    assert 1 == len(muster.identity(said("a", track="t2", at=100)))


def test_another_zone_is_news(muster: Muster) -> None:
    """With the zone the person came from, and the muster says the new one."""
    muster.identity(said("a", at=10))
    events = muster.identity(said("a", track="t2", camera="cam2", at=20))
    assert ("presence", "moved", "a") == told(events)[1]
    assert ("drift", "shaft") == (events[1].data["previous_zone"], events[1].zone)
    assert {"a": "shaft"} == where(muster, 21)


def test_revision_to_another_person_corrects_the_ledger(muster: Muster) -> None:
    """The sighting says what it takes back; the first person is gone from the muster, the second is in it."""
    muster.identity(said("a", at=10))
    events = muster.identity(said("b", at=12, first=10, revised=1))
    assert [("sighting", "named", "b"), ("presence", "corrected", "a"), ("presence", "entered", "b")] == told(
        events
    )
    assert {"decision": "named", "person_ref": "a"} == events[0].data["previous"]
    assert "restored" not in events[1].data
    assert {"b": "drift"} == where(muster, 13)
    assert 1 == events[2].data["headcount"]


def test_correction_restores_where_the_person_was_in_truth(muster: Muster) -> None:
    """A was in the shaft; a mistake in the drift must not move A there for good."""
    muster.identity(said("a", track="t0", camera="cam2", at=5))
    muster.identity(said("a", track="t1", camera="cam1", at=10))
    assert {"a": "drift"} == where(muster, 11)
    events = muster.identity(said(None, track="t1", camera="cam1", at=12, first=10, revised=1))
    corrected = events[1]
    assert ("presence", "corrected", "a") == told(events)[1]
    assert ("shaft", "t0", 7000) == tuple(corrected.data["restored"][k] for k in ("zone", "track", "age_ms"))  # type: ignore[index]
    assert {"a": "shaft"} == where(muster, 13)
    assert ["t1"] == [p.track for p in muster.snapshot(13 * S).unknown]


def test_stranger_who_is_recognised_is_no_stranger_any_more(muster: Muster) -> None:
    """Unknown, then named: one person, not two."""
    first = muster.identity(said(None, at=10))
    assert [("sighting", "unknown", None), ("presence", "entered", None)] == told(first)
    events = muster.identity(said("a", at=12, first=10, revised=1))
    assert {"decision": "unknown"} == events[0].data["previous"]
    snapshot = muster.snapshot(13 * S)
    assert (1, ()) == (snapshot.headcount, snapshot.unknown)


def test_stranger_is_forgotten_soon_a_registered_person_late(muster: Muster) -> None:
    """A stranger's next track counts anew, so the old one must go; a registered person stays, with age."""
    muster.identity(said(None, track="t1", at=10))
    muster.identity(said("a", track="t2", at=10))
    assert 2 == muster.snapshot(40 * S).headcount
    assert 1 == muster.snapshot(41 * S).headcount
    assert [] == ticks(muster, range(3609, 3611))
    assert 1 == muster.snapshot(3611 * S).headcount  # nobody goes without being told
    assert ["presence_set"] == [event.kind for event in muster.tick(3611 * S, NO_WALL)]
    assert 0 == muster.snapshot(3611 * S).headcount


def test_stranger_in_view_is_not_forgotten(muster: Muster) -> None:
    """Seen all the time without a new decision."""
    muster.identity(said(None, at=10))
    muster.still_there("cam1", "t1", 100 * S)
    assert 1 == muster.snapshot(110 * S).headcount


def test_last_word_on_a_track_is_told_and_changes_nothing(muster: Muster) -> None:
    """The final decision repeats the standing one: a sighting, no presence."""
    muster.identity(said("a", at=10))
    events = muster.identity(said("a", at=15, first=10, final=True))
    assert ([("sighting", "named", "a")], True) == (told(events), events[0].data["final"])
    assert "previous" not in events[0].data
    assert [15 * S] == [p.last_seen_ns for p in muster.snapshot(16 * S).people]


def test_same_track_name_on_two_cameras_is_two_tracks(muster: Muster) -> None:
    """Tracks are told apart by their camera."""
    muster.identity(said("a", track="t1", camera="cam1", at=10))
    events = muster.identity(said("b", track="t1", camera="cam2", at=11))
    assert [("sighting", "named", "b"), ("presence", "entered", "b")] == told(events)


def test_camera_without_a_zone_is_an_error(muster: Muster) -> None:
    """A mistake in the configuration, not a place called None."""
    with pytest.raises(ValueError, match="camera 'cam9' has no zone"):
        muster.identity(said("a", camera="cam9"))


def test_blind_camera_raises_an_alarm_once_and_clears_it(muster: Muster) -> None:
    """Active with its beginning, cleared with its duration; repeated states are no news."""
    sees = CameraState(camera="cam1", zone="drift")
    blind = CameraState(camera="cam1", zone="drift", blind_since_ns=20 * S, reason="dark")
    assert () == muster.camera(sees, now_ns=10 * S)
    (raised,) = muster.camera(blind, now_ns=30 * S)
    assert ("camera_blind", "dark", {"id": "camera_blind.cam1", "state": "active", "since_ns": 20 * S}) == (
        raised.kind,
        raised.data["reason"],
        raised.data["alarm"],
    )
    assert () == muster.camera(blind, now_ns=31 * S)
    assert [20 * S] == [c.blind_since_ns for c in muster.snapshot(32 * S).cameras]
    (cleared,) = muster.camera(sees, now_ns=50 * S)
    assert ("camera_sees", 30_000, "cleared") == (
        cleared.kind,
        cleared.data["blind_ms"],
        cleared.data["alarm"]["state"],  # type: ignore[index]
    )
    assert () == muster.camera(sees, now_ns=51 * S)


def test_impaired_camera_is_an_alarm_of_its_own_name(muster: Muster) -> None:
    """Raised, exchanged for another one, cleared; the camera sees all the while."""

    def take(impaired: str | None, at: int) -> list[tuple[object, object]]:
        state = CameraState(camera="cam1", zone="drift", impaired=impaired)
        return [
            (e.data["alarm"]["id"], e.data["alarm"]["state"]) for e in muster.camera(state, now_ns=at * S)
        ]  # type: ignore[index]

    assert [] == take(None, 1)
    assert [("camera_moved.cam1", "active")] == take("moved", 2)
    assert [] == take("moved", 3)
    assert [("camera_moved.cam1", "cleared"), ("camera_glare.cam1", "active")] == take("glare", 4)
    assert [("camera_glare.cam1", "cleared")] == take(None, 5)


def test_impairment_of_an_earlier_run_is_cleared_by_a_camera_that_is_well() -> None:
    """And only by its own camera."""
    muster = Muster(zones=ZONES, standing_alarms=("camera_moved.cam1", "camera_moved.cam2"))
    made = muster.camera(CameraState(camera="cam1", zone="drift"), now_ns=5 * S)
    assert ["camera_moved.cam1"] == [event.data["alarm"]["id"] for event in made]  # type: ignore[index]


def test_alarm_of_an_earlier_run_is_cleared_when_the_camera_sees() -> None:
    """The box restarted while the camera was blind; the retained alarm must not stand for ever."""
    muster = Muster(zones=ZONES, standing_alarms=("camera_blind.cam1",))
    sees = CameraState(camera="cam1", zone="drift")
    assert ["camera_sees"] == [event.kind for event in muster.camera(sees, now_ns=5 * S)]
    assert () == muster.camera(sees, now_ns=6 * S)


def test_every_view_of_a_frame_keeps_its_person_present(muster: Muster) -> None:
    """`see` is what the stage before tells, frame by frame."""
    muster.identity(said("a", at=10))
    muster.see(frame(95, t1=0.5))
    assert [95 * S] == [p.last_seen_ns for p in muster.snapshot(96 * S).people]


def frame(
    at: float,
    *,
    camera: str = "cam1",
    shape: tuple[int, int] = (100, 200),
    score: float = 0.9,
    **tracks: float,
) -> FrameFaces:
    """Return a frame in which the face of each track is so far to the right, in the middle of the height."""
    height, width = shape
    quality = Quality(20.0, 9.0, 90.0, 40.0, 0.0, 0.0, 0.0, 0.8)
    landmarks = np.array([[1, 1], [5, 1], [3, 3], [1, 5], [5, 5]], np.float32)
    faces = tuple(
        TrackedFace(track, Face(Box(x * width - 5, height / 2 - 5, 10, 10), landmarks, score), quality, None)
        for track, x in tracks.items()
    )
    pixels = np.zeros((height, width, 3), np.uint8)
    return FrameFaces(frame=Frame(camera=camera, index=0, mono_ns=int(at * S), pixels=pixels), faces=faces)


GATE = Portal(name="gate", zone="drift", beyond=None, line=((0.5, 0.0), (0.5, 1.0)), inside=(0.9, 0.5))


@pytest.fixture
def gated() -> Muster:
    """Return a presence stage whose first camera watches a gate; the right side is the drift."""
    return Muster(zones=ZONES, portals={"cam1": [GATE]}, away_s=60.0, forget_unknown_s=30.0)


def test_going_through_a_gate_enters_and_leaves(gated: Muster) -> None:
    """With the portal, and how long the person was inside; then nobody is counted."""
    gated.see(frame(9, t1=0.2))
    assert [("sighting", "named", "a")] == told(gated.identity(said("a", at=9)))
    assert 0 == gated.snapshot(9 * S).headcount
    (entered,) = gated.see(frame(10, t1=0.8))
    assert ("entered", "gate", 1, "drift") == (
        *(entered.data[k] for k in ("change", "portal", "headcount")), entered.zone,
    )  # fmt: skip
    assert {"a": "drift"} == where(gated, 11)
    (left,) = gated.see(frame(70, t1=0.2))
    assert ("left", "drift", 60_000, 0) == tuple(
        left.data[k] for k in ("change", "previous_zone", "dwell_ms", "headcount")
    )
    assert {} == where(gated, 71)


def test_gate_is_told_when_the_name_comes_after_it(gated: Muster) -> None:
    """The face was too far away before: undecided at the gate, named behind it."""
    gated.see(frame(9, t1=0.2))
    assert () == gated.see(frame(10, t1=0.8))
    events = gated.identity(said("a", at=11, first=9))
    assert ("presence", "entered", "a") == told(events)[1]
    assert "gate" == events[1].data["portal"]


def test_whoever_goes_in_undecided_is_counted_as_somebody(gated: Muster) -> None:
    """Nobody knows who: the best count has them, the lower bound does not."""
    gated.see(frame(9, t1=0.2))
    gated.see(frame(10, t1=0.8))
    events = gated.identity(said("", at=12, first=9, final=True))
    assert ("presence", "entered", None) == told(events)[1]
    gated.ended("cam1", "t1")
    assert HeadCount(1, 0, 1) == gated.snapshot(13 * S).count


def test_whoever_is_seen_outside_has_left(gated: Muster) -> None:
    """Gone out with their back to the camera; seen again outside."""
    gated.see(frame(9, t1=0.9))
    gated.identity(said("a", at=9))
    gated.ended("cam1", "t1")
    gated.see(frame(50, t2=0.1))
    events = gated.identity(said("a", track="t2", at=50))
    assert ("presence", "left", "a") == told(events)[1]
    assert {} == where(gated, 51)


def test_mistaken_name_at_the_gate_takes_its_leaving_back(gated: Muster) -> None:
    """A is in the drift. A track called A goes out, and turns out to be B: A is still in."""
    gated.see(frame(5, t0=0.9))
    gated.identity(said("a", track="t0", at=5))
    gated.see(frame(9, t1=0.8))
    gated.identity(said("a", at=9))
    gated.see(frame(10, t1=0.2))
    assert {} == where(gated, 11)
    gated.identity(said("b", at=12, first=9, revised=1))
    assert {"a": "drift"} == where(gated, 13)


def test_stranger_who_came_through_a_gate_is_inside_until_they_leave(gated: Muster) -> None:
    """Unseen for ten minutes: nobody has gone out, so somebody is in there."""
    gated.see(frame(9, t1=0.2))
    gated.identity(said(None, at=9, template=template(0.9), score=0.1))
    gated.see(frame(10, t1=0.8))
    gated.ended("cam1", "t1")
    assert HeadCount(1, 1, 1) == gated.snapshot(600 * S).count
    gated.see(frame(601, t2=0.9))
    gated.identity(said(None, track="t2", at=601, template=template(0.0, 0.9), score=0.1))
    gated.see(frame(602, t2=0.2))
    gated.ended("cam1", "t2")
    assert HeadCount(0, 0, 0) == gated.snapshot(603 * S).count  # unlike as they are: it is one person


def test_stranger_whom_a_camera_within_sees_is_inside_until_they_leave_as_well(gated: Muster) -> None:
    """The later sight was through no gate; the stranger has come through one all the same."""
    gated.see(frame(9, t1=0.2))
    gated.identity(said(None, at=9, template=template(0.9), score=0.1))
    gated.see(frame(10, t1=0.8))
    gated.identity(said(None, track="t2", camera="cam3", at=60, template=template(0.9), score=0.1))
    assert HeadCount(1, 1, 1) == gated.snapshot(600 * S).count


def test_whoever_came_in_as_a_stranger_leaves_by_name(gated: Muster) -> None:
    """Not recognised on the way in, recognised on the way out: one person, and nobody is left."""
    gated.see(frame(9, t1=0.2))
    gated.identity(said(None, at=9, template=template(0.9), score=0.1))
    gated.see(frame(10, t1=0.8))
    gated.ended("cam1", "t1")
    gated.see(frame(100, t2=0.9))
    gated.identity(said("a", track="t2", at=100))
    gated.see(frame(101, t2=0.2))
    gated.ended("cam1", "t2")
    assert HeadCount(0, 0, 0) == gated.snapshot(102 * S).count


def test_undecided_who_leaves_is_one_stranger_fewer(gated: Muster) -> None:
    """Nobody could say who; somebody came in before, and somebody has gone."""
    gated.see(frame(9, t1=0.2))
    gated.see(frame(10, t1=0.8))
    gated.identity(said("", at=12, first=9, final=True))
    gated.ended("cam1", "t1")
    gated.see(frame(100, t2=0.9))
    gated.see(frame(101, t2=0.2))
    events = gated.identity(said("", track="t2", at=102, first=100, final=True))
    assert ("presence", "left", None) == told(events)[1]
    gated.ended("cam1", "t2")
    assert HeadCount(0, 0, 0) == gated.snapshot(103 * S).count


def test_patch_of_light_that_was_once_taken_for_a_face_is_nobody(gated: Muster) -> None:
    """Called unknown, twice; the detector was sure of it in two views. In three, it is somebody."""
    for views, people in ((2, 0), (3, 1)):
        track, at = f"t{views}", 10 * views
        for step in range(8):
            gated.see(frame(at + step, score=0.9 if step < views else 0.3, **{track: 0.8}))
        gated.identity(said(None, track=track, at=at + 7, first=at))
        gated.identity(said(None, track=track, at=at + 9, first=at, final=True))
        gated.ended("cam1", track)
        assert people == gated.snapshot((at + 10) * S).headcount


def test_stranger_who_was_a_patch_of_light_at_first_is_somebody_at_last(gated: Muster) -> None:
    """Called unknown once, too early: they come in with the third view in which the detector is sure."""
    gated.see(frame(10, t1=0.8))
    for at in range(11, 16):
        gated.see(frame(at, score=0.3, t1=0.8))
    gated.identity(said(None, at=15, first=10))
    assert [(), ()] == [gated.see(frame(16, t1=0.8)), gated.see(frame(17, score=0.3, t1=0.8))]
    assert [("presence", "entered", None)] == told(gated.see(frame(18, t1=0.8)))
    assert 1 == gated.snapshot(19 * S).headcount


def test_stranger_who_was_a_patch_of_light_at_first_goes_through_a_gate(gated: Muster) -> None:
    """Two sure views are enough for that, one on either side."""
    gated.see(frame(10, t1=0.2))
    for at in range(11, 16):
        gated.see(frame(at, score=0.3, t1=0.2))
    gated.identity(said(None, at=15, first=10))
    (entered,) = gated.see(frame(16, t1=0.8))
    assert ("entered", "gate", 1) == tuple(entered.data[k] for k in ("change", "portal", "headcount"))


def test_weak_detections_take_nobody_through_a_gate(gated: Muster) -> None:
    """They keep the track going; the detector was never sure of a face on the other side."""
    gated.see(frame(9, t1=0.2))
    gated.identity(said("a", at=9))
    assert () == gated.see(frame(10, score=0.4, t1=0.8))
    assert {} == where(gated, 11)


def test_resolution_that_changes_sends_nobody_through_a_gate(gated: Muster) -> None:
    """The same face at another place of another picture has not walked there."""
    gated.see(frame(9, t1=0.9))
    gated.identity(said("a", at=9))
    assert () == gated.see(frame(10, shape=(50, 50), t1=0.1))
    assert {"a": "drift"} == where(gated, 11)


def template(*weights: float) -> npt.NDArray[np.float32]:
    """Return a unit vector with these first coordinates."""
    vector = np.zeros(8, np.float32)
    vector[: len(weights)] = weights
    vector[-1] = np.sqrt(1 - float((vector**2).sum()))
    return vector


def test_stranger_whose_track_breaks_is_one_stranger(muster: Muster) -> None:
    """Ten tracks of one face, one of another: two people."""
    for number in range(10):
        muster.identity(said(None, track=f"t{number}", at=10 + number, template=template(0.9), score=0.1))
        muster.ended("cam1", f"t{number}")
    muster.identity(said(None, track="x", at=21, template=template(0.0, 0.9), score=0.1))
    assert HeadCount(2, 2, 2) == muster.snapshot(22 * S).count


def test_stranger_who_is_named_later_takes_all_their_tracks_along(muster: Muster) -> None:
    """The tracks that were like this one were the same person."""
    muster.identity(said(None, track="t1", at=10, template=template(0.9), score=0.1))
    muster.ended("cam1", "t1")
    muster.identity(said(None, track="t2", at=12, template=template(0.95), score=0.1))
    muster.identity(said("a", track="t2", at=13, first=12, template=template(0.95)))
    assert (["a"], ()) == (list(where(muster, 14)), muster.snapshot(14 * S).unknown)


RULES = {"drift": ZoneRules(limit=1, delay_s=5.0, max_stay_s=100.0)}
NO_WALL = WallTime(ms=None, quality=WallQuality.NONE)


def ticks(muster: Muster, seconds: range, wall: WallTime = NO_WALL) -> list[Event]:
    """Let a second after the other pass."""
    return [event for at in seconds for event in muster.tick(at * S, wall)]


def test_too_many_people_are_an_alarm_after_the_delay() -> None:
    """Raised with the numbers, cleared when one has gone on to another zone."""
    muster = Muster(zones=ZONES, rules=RULES)
    muster.identity(said("a", track="t1", at=10))
    assert [] == ticks(muster, range(10, 30))
    muster.identity(said("b", track="t2", at=30))
    (raised,) = ticks(muster, range(30, 45))
    assert ("alarm", 35 * S, "drift", 2, 1) == (
        raised.kind, raised.mono_ns, raised.zone, raised.data["headcount"], raised.data["limit"],
    )  # fmt: skip
    assert {"id": "overstaffed.drift", "state": "active", "since_ns": 30 * S} == raised.data["alarm"]
    muster.identity(said("b", track="t3", camera="cam2", at=45))
    (cleared,) = ticks(muster, range(45, 60))
    assert "cleared" == cleared.data["alarm"]["state"]  # type: ignore[index]


def test_staying_too_long_is_an_alarm_until_they_are_seen_elsewhere() -> None:
    """By person; the stay begins with the first sight in the zone, whatever tracks came after."""
    muster = Muster(zones=ZONES, rules=RULES)
    muster.identity(said("a", track="t1", at=10))
    muster.identity(said("a", track="t2", at=60))
    (raised,) = ticks(muster, range(60, 140))
    assert ("overtime", "a", 101_000) == tuple(raised.data[k] for k in ("reason", "person_ref", "dwell_ms"))
    muster.identity(said("a", track="t3", camera="cam2", at=140))
    (cleared,) = ticks(muster, range(140, 150))
    assert ("overtime.a", "cleared") == tuple(cleared.data["alarm"][k] for k in ("id", "state"))  # type: ignore[index]


def test_shift_that_ends_expires_whoever_was_not_seen_in_it() -> None:
    """A was seen in the shift before last only; B in the last. A is told, B stays."""
    hour = 3600
    day_ms = 1_799_971_200_000  # midnight UTC
    muster = Muster(zones=ZONES, shifts=Shifts(begins=("06:00", "14:00")))

    def tick(at_h: float) -> tuple[Event, ...]:
        wall = WallTime(ms=day_ms + int(at_h * hour * 1000), quality=WallQuality.SYNC)
        return muster.tick(int(at_h * hour) * S, wall)

    muster.identity(said("a", track="t1", at=5 * hour))
    assert () == tick(5.5)
    assert () == tick(6.5)
    muster.identity(said("b", track="t2", at=7 * hour))
    (expired,) = tick(14.1)
    assert ("presence_set", "expired", "a", 1) == (
        expired.kind, *(expired.data[k] for k in ("change", "person_ref", "headcount")),
    )  # fmt: skip
    assert {"b": "drift"} == where(muster, 15 * hour)
    assert (True, False) == (muster.shift_has_begun(), muster.shift_has_begun())


@pytest.mark.parametrize("jump_h", [-24 * 365, -9, 9, 24 * 365 * 5])
def test_clock_that_jumps_expires_nobody_who_was_just_seen(jump_h: int) -> None:
    """Years back, a shift back, a shift on, to 2031: whoever was seen a minute ago stays, with that age."""
    muster = Muster(zones=ZONES, shifts=Shifts(begins=("06:00", "14:00", "22:00")), forget_person_s=86400.0)
    muster.tick(5 * S, WallTime(ms=1_793_600_000_000, quality=WallQuality.SYNC))
    muster.identity(said("a", at=10))
    jumped = WallTime(ms=1_793_600_000_000 + jump_h * 3_600_000, quality=WallQuality.SYNC)
    assert [] == [event for event in muster.tick(70 * S, jumped) if event.kind == "presence_set"]
    (person,) = muster.snapshot(70 * S).people
    assert (10 * S, "drift") == (person.last_seen_ns, person.zone)


def test_operator_puts_somebody_in_and_takes_them_out(muster: Muster) -> None:
    """Told with who says so; a camera that sees them afterwards knows better."""
    (put_in,) = muster.correct(Correction(what="inside", person_ref="a", zone="shaft", by="me"), now_ns=5 * S)
    assert ("presence_set", "set", "a", "me", 1, "shaft") == (
        put_in.kind, *(put_in.data[k] for k in ("change", "person_ref", "by", "headcount")), put_in.zone,
    )  # fmt: skip
    muster.identity(said("a", at=10))
    assert {"a": "drift"} == where(muster, 11)
    (out,) = muster.correct(Correction(what="left", person_ref="a"), now_ns=20 * S)
    assert ("left", "drift", 0) == tuple(out.data[k] for k in ("change", "previous_zone", "headcount"))
    assert ("presence", "entered", "a") == told(muster.identity(said("a", track="t9", at=30)))[1]


def test_operator_forgets_strangers_of_one_zone(muster: Muster) -> None:
    """The others stay."""
    muster.identity(said(None, track="t1", at=10))
    muster.identity(said(None, track="t2", camera="cam2", at=10))
    muster.correct(Correction(what="forget_strangers", zone="drift"), now_ns=11 * S)
    assert ["shaft"] == [one.zone for one in muster.snapshot(11 * S).unknown]


def test_what_was_kept_goes_on_after_a_restart(muster: Muster) -> None:
    """People, where they are and since when, strangers as doubtful ones; the next sight is no entry."""
    muster.identity(said("a", track="t1", at=10))
    muster.identity(said(None, track="t2", camera="cam2", at=10))
    again = Muster(zones=ZONES, kept=muster.kept(), away_s=60.0)
    snapshot = again.snapshot(12 * S)
    assert ({"a": "drift"}, HeadCount(2, 1, 2)) == (where(again, 12), snapshot.count)
    assert [("sighting", "named", "a")] == told(again.identity(said("a", track="t1", at=13)))
    assert [10 * S] == [person.since_ns for person in again.snapshot(14 * S).people]


def test_muster_has_ages_strangers_and_blind_cameras(muster: Muster) -> None:
    """What a rescue team asks: who was last seen where, how long ago, who is unknown, what is unseen."""
    muster.camera(CameraState("cam2", "shaft"), now_ns=5 * S)
    muster.identity(said("a", at=10))
    muster.identity(said("b", track="t2", camera="cam2", at=12))
    muster.identity(said(None, track="t3", at=20))
    muster.camera(CameraState("cam2", "shaft", blind_since_ns=15 * S, reason="dark"), now_ns=25 * S)
    fields = muster_fields(muster.snapshot(40 * S))
    ages = [(row["person_ref"], row["zone"], row["age_ms"]) for row in fields["people"]]
    assert [("a", "drift", 30_000), ("b", "shaft", 28_000)] == ages
    assert [("drift", 20_000)] == [(row["zone"], row["age_ms"]) for row in fields["unknown"]]
    assert 3 == fields["headcount"]
    (shaft,) = [row for row in fields["cameras"] if row["camera"] == "cam2"]
    assert (False, 15 * S, "dark") == (shaft["sees"], shaft["blind_since_ns"], shaft["reason"])


def test_people_from_before_this_boot_fit_the_schema() -> None:
    """Their times are negative here, and at the beginning of the clock on the wire; the age is true."""
    old = Place("drift", "cam1", "t1", -90 * S, -80 * S, 0.5)
    muster = Muster(zones=ZONES, kept=Kept(people=(("a", old),)))
    (row,) = muster_fields(muster.snapshot(20 * S))["people"]
    assert (0, 100_000, 110_000) == (row["last_seen_ns"], row["age_ms"], row["dwell_ms"])


def test_everything_that_is_told_fits_the_schema() -> None:
    """A long random life with portals, corrections, alarms: every event can be committed, counts are true."""
    import random

    rng = random.Random(11)
    muster = Muster(
        zones=ZONES,
        portals={"cam1": [GATE]},
        rules=RULES,
        away_s=60.0,
        forget_unknown_s=30.0,
        forget_person_s=3600.0,
    )
    requests = (
        Correction(what="inside", person_ref="b", zone="shaft"),
        Correction(what="left", person_ref="c", by="me"),
        Correction(what="forget_strangers"),
    )
    context = EnvelopeContext(site="n", node="b", boot="0b7c5c3e-6a1f-4f5e-9f51-2f3c8a1d9e10")
    wall = WallTime(ms=None, quality=WallQuality.NONE)
    names = ["a", "b", "c", "d", None, ""]
    for step in range(1500):
        at = float(step)
        identity = said(
            rng.choice(names),
            track=f"t{rng.randrange(20)}",
            camera=rng.choice(list(ZONES)),
            at=at,
            final=rng.random() < 0.2,
        )
        made = [*muster.see(frame(at, **{f"t{n}": rng.random() for n in rng.sample(range(20), 4)}))]
        made += [*muster.identity(identity), *muster.tick(int(at * S), wall)]
        if rng.random() < 0.02:
            made += muster.correct(rng.choice(requests), now_ns=int(at * S))
        if identity.final:
            muster.ended(identity.camera, identity.track)
        for event in made:
            draft(
                event,
                event_id=UUID(int=0x0197C1E49D217C3A8F215B1DE0A4C901),
                wall=wall,
                context=context,
                now_ns=0,
            )
        snapshot = muster.snapshot(int(at * S))
        perhaps_left = sum(person.perhaps_left_ns is not None for person in snapshot.people)
        assert snapshot.headcount == len(snapshot.people) + len(snapshot.unknown) - perhaps_left <= 4 + 60
        assert len({p.person_ref for p in snapshot.people}) == len(snapshot.people)
        assert snapshot.count is not None
        assert snapshot.count.best == snapshot.headcount
        json.dumps(muster_fields(snapshot))
