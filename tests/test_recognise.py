"""Events carry how late they are and what the camera dropped; a name stays with its face."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_app.identity.match import Matcher
from edge_app.identity.snapshot import GallerySnapshot
from edge_app.identity.vote import IdentityStage
from edge_app.presence.muster import Muster
from edge_app.recognise import DropMeter, RecogniseWorker
from edge_app.records import Box, CameraState, Embedding, Face, Frame, FrameFaces, Quality, TrackedFace
from edge_app.stages import Slot

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_app.records import Event


def test_dropped_share_is_over_what_the_camera_gave() -> None:
    """Three dropped and one seen are three quarters; a camera that gave nothing dropped nothing."""
    meter = DropMeter()
    assert meter.share("a") == 0
    meter.saw("a", 3)
    assert meter.share("a") == pytest.approx(0.75)


def test_dropped_share_forgets_what_is_long_past() -> None:
    """A slow start does not stand in the figures for ever."""
    meter = DropMeter()
    meter.saw("a", 100)
    for _ in range(100):
        meter.saw("a", 0)
    assert meter.share("a") == 0


class Pictures:
    """A recogniser whose crops say who they show: along the axis of their first pixel. No model is needed."""

    def embed(self, crops: npt.NDArray[np.uint8]) -> list[Embedding]:
        """Return a unit vector for each of (N, 224, 224, 3) uint8 RGB crops."""
        return [Embedding(np.eye(8, dtype=np.float32)[crop[0, 0, 0]], "a" * 64, "b" * 64) for crop in crops]


def frame_of(person: int, number: int, *, ended: tuple[str, ...] = ()) -> FrameFaces:
    """Return a frame whose only face, in the tracker's ``t000001``, is `person`'s; none with an end."""
    face = Face(box=Box(400, 200, 90, 90), landmarks=np.zeros((5, 2), np.float32), score=0.9)
    quality = Quality(face_px=90, sharpness=9, brightness=100, contrast=30, yaw=0, pitch=0, roll=0, score=0.9)
    crop = np.full((224, 224, 3), person, np.uint8)
    return FrameFaces(
        frame=Frame("cam", number, number * 100_000_000, np.zeros((540, 960, 3), np.uint8)),
        faces=() if ended else (TrackedFace(track="t000001", face=face, quality=quality, crop=crop),),
        ended=ended,
    )


def test_name_does_not_go_over_to_whoever_takes_the_track() -> None:
    """A is named, somebody else's face goes on in A's track: it gets a track and a decision of its own."""
    vectors = np.eye(8, dtype=np.float32)[:1]
    snapshot = GallerySnapshot("g", 1, ("A",), vectors, np.zeros(1, np.intp), "a" * 64, "b" * 64)
    matcher = Matcher(snapshot=snapshot, threshold=0.4)
    told: list[Event] = []
    worker = RecogniseWorker(
        faces=Slot(), recogniser=Pictures(), identity=IdentityStage(lambda: matcher),
        muster=Muster(zones={"cam": "hall"}), zones={"cam": "hall"}, submit=told.append,
        mono_ns=lambda: 0, beat=lambda: None, on_tick=lambda _now: None,
    )  # fmt: skip
    for number in range(20):
        worker.process(frame_of(0, number))
    for number in range(20, 60):
        worker.process(frame_of(1, number))
    worker.process(frame_of(1, 60, ended=("t000001",)))
    sightings = [event.data for event in told if event.kind == "sighting"]
    said = [(data["track"], data["decision"], data.get("person_ref")) for data in sightings]
    assert ("t000001", "named", "A") in said
    assert {"unknown"} == {decision for track, decision, _ in said if track == "t000001.2"}
    assert all(person is None for track, _, person in said if track != "t000001")
    named = [number for number, (_, decision, _) in enumerate(said) if decision == "named"]
    assert named[-1] < next(number for number, (track, _, _) in enumerate(said) if track == "t000001.2")


def worker_told(told: list[Event]) -> RecogniseWorker:
    """Return a worker without a register, into whose muster an alarm of the last run came."""
    snapshot = GallerySnapshot.empty(model_sha256="a" * 64, preprocess_sha256="b" * 64)
    matcher = Matcher(snapshot=snapshot, threshold=0.4)
    return RecogniseWorker(
        faces=Slot(), recogniser=Pictures(), identity=IdentityStage(lambda: matcher),
        muster=Muster(zones={"cam": "hall"}, standing_alarms=["camera_blind.cam"]), zones={"cam": "hall"},
        submit=told.append, mono_ns=lambda: 0, beat=lambda: None, on_tick=lambda _now: None,
    )  # fmt: skip


def test_first_frame_of_a_camera_that_is_said_to_be_blind_says_nothing_else() -> None:
    """A picture alone does not end an alarm of the last run; without a word of the camera it does."""
    told: list[Event] = []
    worker = worker_told(told)
    worker.camera_state(CameraState("cam", "hall", blind_since_ns=0, reason="dirty"))
    worker.process(frame_of(0, 0, ended=("t000001",)))
    worker.run(lambda: True)
    assert ["camera_blind"] == [event.kind for event in told]
    other: list[Event] = []
    worker = worker_told(other)
    worker.process(frame_of(0, 0, ended=("t000001",)))
    worker.run(lambda: True)
    assert ["camera_sees"] == [event.kind for event in other]
