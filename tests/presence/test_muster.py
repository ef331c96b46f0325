"""The presence stage: what is told, and what is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from edge_app.clock import WallQuality, WallTime
from edge_app.delivery.event import EnvelopeContext, draft
from edge_app.presence.muster import Muster
from edge_app.records import CameraState, Decision, Event, Identity, Rejection

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
    assert 1 == muster.snapshot(3610 * S).headcount
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


def test_alarm_of_an_earlier_run_is_cleared_when_the_camera_sees() -> None:
    """The box restarted while the camera was blind; the retained alarm must not stand for ever."""
    muster = Muster(zones=ZONES, standing_alarms=("camera_blind.cam1",))
    sees = CameraState(camera="cam1", zone="drift")
    assert ["camera_sees"] == [event.kind for event in muster.camera(sees, now_ns=5 * S)]
    assert () == muster.camera(sees, now_ns=6 * S)


def test_everything_that_is_told_fits_the_schema(muster: Muster) -> None:
    """A long random life of four people and strangers: every event can be committed, the counts stay true."""
    import random

    rng = random.Random(11)
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
        for event in muster.identity(identity):
            draft(
                event,
                event_id=UUID(int=0x0197C1E49D217C3A8F215B1DE0A4C901),
                wall=wall,
                context=context,
                now_ns=0,
            )
        snapshot = muster.snapshot(int(at * S))
        assert snapshot.headcount == len(snapshot.people) + len(snapshot.unknown) <= 4 + 60
        assert len({p.person_ref for p in snapshot.people}) == len(snapshot.people)
