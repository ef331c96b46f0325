from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_app.faces.preprocess import ARCFACE_TEMPLATE_112
from edge_app.faces.track import Tracker, TrackLimits
from edge_app.records import Box, Face

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.faces.detect import CenterFace

    Path = Callable[[float], list[tuple[float, float]]]

MS = 1_000_000


def face(x: float, y: float = 100.0, *, size: float = 60.0, score: float = 0.9) -> Face:
    """Return a face whose centre is at (x, y)."""
    landmarks = (ARCFACE_TEMPLATE_112 - 56) * (size / 112) + [x, y]
    box = Box(x=x - size / 2, y=y - size / 2, width=size, height=size)
    return Face(box=box, landmarks=landmarks.astype(np.float32), score=score)


def test_face_that_moves_is_one_track() -> None:
    """A walk across the picture at 12.5 frames/s has one name."""
    tracker = Tracker()
    names = {tracker.update([face(50 + 12 * i)], i * 80 * MS).ids for i in range(40)}
    assert {("t000001",)} == names


@pytest.mark.parametrize("burst_ms", [0, 1, 5])
def test_frames_that_come_in_a_burst_break_no_track(burst_ms: int) -> None:
    """A network camera that stalled hands over two frames at once; what moved has not run off."""
    tracker = Tracker()
    times = [0, burst_ms, 300, 300 + burst_ms, 600, 600 + burst_ms, 900]
    names = {tracker.update([face(100 - 7 * i)], at * MS).ids for i, at in enumerate(times)}
    assert {("t000001",)} == names


def test_names_are_never_reused() -> None:
    """Who comes after somebody has gone is somebody else."""
    tracker = Tracker()
    assert ("t000001", "t000002") == tracker.update([face(50), face(400)], 0).ids
    assert ("t000001", "t000002") == tracker.update([], 3000 * MS).ended
    assert ("t000003",) == tracker.update([face(50)], 3080 * MS).ids


@pytest.mark.parametrize("step_ms", [33, 80, 200])
@pytest.mark.parametrize(
    "path",
    [
        lambda t: [(100 + 200 * t, 100.0), (500 - 200 * t, 100.0)],  # straight through each other
        lambda t: [(100 + 200 * t, 90.0), (500 - 200 * t, 110.0)],  # passing closely
        lambda t: [(300 - 100 + 100 * t, 100.0), (300.0, 100.0 + 150 * (t - 1))],  # at right angles
        lambda t: [(100 + 300 * t, 100.0), (220 + 180 * t, 104.0)],  # overtaking
    ],
    ids=["head-on", "close", "right-angle", "overtaking"],
)
def test_crossing_people_keep_their_names(
    path: Callable[[float], list[tuple[float, float]]], step_ms: int
) -> None:
    """Two who cross leave with the names that they came with, in any order of detection, noise included."""
    rng = np.random.default_rng(4)
    tracker = Tracker()
    for step in range(2000 // step_ms + 1):
        places = path(step * step_ms / 1000)
        faces = [face(x + rng.normal(0, 1.0), y + rng.normal(0, 1.0)) for x, y in places]
        order = rng.permutation(2)
        ids = tracker.update([faces[i] for i in order], step * step_ms * MS).ids
        assert ("t000001", "t000002") == tuple(sorted(filter(None, ids)))
        if step == 0:
            owner = {int(i): name for i, name in zip(order, ids, strict=True)}
    assert owner == {int(i): name for i, name in zip(order, ids, strict=True)}


def test_missed_frames_do_not_end_a_track() -> None:
    """Half a second without detection, while walking on, is bridged."""
    tracker = Tracker()
    for i in range(10):
        tracker.update([face(50 + 10 * i)], i * 80 * MS)
    for i in range(10, 16):
        assert () == tracker.update([], i * 80 * MS).ended
    assert ("t000001",) == tracker.update([face(50 + 10 * 16)], 16 * 80 * MS).ids


@pytest.mark.parametrize("frames", [2, 50])
def test_track_ends_by_time_not_by_frames(frames: int) -> None:
    """Few or many empty frames: it is the second of silence that counts, and it is told once."""
    tracker = Tracker(limits=TrackLimits(max_silence_s=1.0))
    tracker.update([face(50)], 0)
    ended: list[str] = []
    for i in range(1, frames + 1):
        ended.extend(tracker.update([], round(i * 1000 / frames) * MS).ended)
    assert [] == ended
    assert ("t000001",) == tracker.update([], 1001 * MS).ended
    assert () == tracker.update([], 1100 * MS).ended
    assert () == tracker.active


def test_jump_is_somebody_else() -> None:
    """Nobody moves by five faces in a frame, or grows to thrice the size."""
    tracker = Tracker()
    tracker.update([face(100)], 0)
    assert ("t000002",) == tracker.update([face(400)], 80 * MS).ids
    assert ("t000003",) == tracker.update([face(400, size=180)], 160 * MS).ids


def test_walking_towards_the_camera_is_one_track() -> None:
    """A face that grows steadily stays the same."""
    tracker = Tracker()
    names = {tracker.update([face(300, size=30 * 1.06**i)], i * 80 * MS).ids[0] for i in range(40)}
    assert {"t000001"} == names


def test_weak_detection_continues_but_does_not_begin() -> None:
    """A weak score keeps a track alive, and makes none of its own."""
    tracker = Tracker(limits=TrackLimits(min_score_new=0.6))
    assert (None,) == tracker.update([face(100, score=0.5)], 0).ids
    assert ("t000001",) == tracker.update([face(100, score=0.7)], 80 * MS).ids
    assert ("t000001",) == tracker.update([face(105, score=0.5)], 160 * MS).ids


def test_weak_detection_continues_only_what_is_where_it_was_expected() -> None:
    """A good detection may have jumped by a face's width; a weak one so far away is something else."""
    limits = TrackLimits(min_score_new=0.6)
    for score, expected in ((0.7, "t000001"), (0.5, None)):
        tracker = Tracker(limits=limits)
        tracker.update([face(100, score=0.9)], 0)
        assert (expected,) == tracker.update([face(160, score=score)], 80 * MS).ids


def test_weak_detection_takes_no_track_from_a_good_one() -> None:
    """Even where it lies nearer: the good one is given out first, and the weak one is nobody."""
    tracker = Tracker(limits=TrackLimits(min_score_new=0.6))
    tracker.update([face(100)], 0)
    assert (None, "t000001") == tracker.update([face(101, score=0.5), face(110)], 80 * MS).ids


def test_weak_detections_carry_a_track_through_what_good_ones_miss() -> None:
    """Half a second in which the face is under ash is no end of the track, and no second one begins."""
    tracker = Tracker(limits=TrackLimits(min_score_new=0.6))
    names = [
        tracker.update([face(100 + 4 * i, score=0.9 if i < 5 else 0.4)], i * 80 * MS).ids for i in range(30)
    ]
    assert {("t000001",)} == set(names)


def test_time_that_stands_still_breaks_nothing() -> None:
    """Two frames with one time stamp, or one that goes back, neither divide by zero nor end anything."""
    tracker = Tracker()
    for stamp in (5 * MS, 5 * MS, 4 * MS, 6 * MS):
        assert ("t000001",) == tracker.update([face(100)], stamp).ids


def test_tracks_that_touch_are_named_when_they_meet_and_when_they_part() -> None:
    """Two people walk past each other, one behind the other; a third stands far away."""
    tracker = Tracker()
    crossed = []
    for i in range(30):
        nearer, farther = face(100 + 12 * i, size=70), face(460 - 12 * i, 104, size=60)
        hidden = abs(nearer.box.x - farther.box.x + 5) < 20
        faces = [nearer, face(600)] if hidden else [nearer, farther, face(600)]
        crossed.append(tracker.update(faces, i * 80 * MS).crossed)
    told = [names for names in crossed if names]
    assert [("t000001", "t000002")] * 2 == told


def test_tracks_side_by_side_do_not_touch() -> None:
    """Cheek by cheek is no crossing."""
    tracker = Tracker()
    assert {()} == {tracker.update([face(100), face(165)], i * 80 * MS).crossed for i in range(10)}


def test_finish_ends_everybody() -> None:
    """When the camera has ended, all tracks have, once."""
    tracker = Tracker()
    tracker.update([face(50), face(300)], 0)
    assert ("t000001", "t000002") == tracker.finish()
    assert () == tracker.finish()


def test_people_of_the_clips_have_one_track_each(clips: list[Any], detector: CenterFace) -> None:
    """On real video at 6 frames/s there are exactly as many tracks as people, from first to last frame."""
    for name, frames, count in clips:
        tracker = Tracker()
        seen = [
            sorted(filter(None, tracker.update(detector.detect(frame), i * 160 * MS).ids))
            for i, frame in enumerate(frames[::2])
        ]
        assert [[f"t{number:06d}" for number in range(1, count + 1)]] * len(seen) == seen, name
