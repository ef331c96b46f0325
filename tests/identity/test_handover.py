from __future__ import annotations

import numpy as np
import pytest

from edge_app.identity.handover import LEAST, Handovers, Likeness
from edge_app.records import Box, Embedding, Face, Frame, FrameFaces, Quality, TrackedFace

FRAME = Frame("hall", 0, 0, np.zeros((72, 128, 3), np.uint8))


def embedding(axis: int, *, dim: int = 16) -> Embedding:
    """Return the unit vector along `axis`: people along two axes are nothing like each other."""
    vector = np.zeros(dim, np.float32)
    vector[axis] = 1.0
    return Embedding(vector, "a" * 64, "b" * 64)


def seen(watch: Handovers, track: str, axis: int, *, times: int = 1, camera: str = "hall") -> str:
    """Show views of one person in `track`; return the name that it has then."""
    for _ in range(times):
        _, track = watch.view(camera, track, embedding(axis), 0.5)
    return track


def faces(*tracks: str, ended: tuple[str, ...] = (), crossed: tuple[str, ...] = ()) -> FrameFaces:
    """Return a frame with a face in each of `tracks`, by the tracker's names."""
    face = Face(box=Box(0, 0, 40, 40), landmarks=np.zeros((5, 2), np.float32), score=0.9)
    quality = Quality(
        face_px=40, sharpness=9, brightness=100, contrast=30, yaw=0, pitch=0, roll=0, score=0.5,
        rejection=None,
    )  # fmt: skip
    return FrameFaces(
        frame=FRAME,
        faces=tuple(TrackedFace(track=one, face=face, quality=quality, crop=None) for one in tracks),
        ended=ended,
        crossed=crossed,
    )


def names(found: FrameFaces) -> list[str]:
    """Return the tracks of a frame's faces."""
    return [face.track for face in found.faces]


@pytest.fixture
def watch() -> Handovers:
    """Return what watches, with two strange views as the bar."""
    return Handovers(strange=0.2, views=2, least=LEAST)


def test_second_strange_view_in_a_row_cuts_the_track(watch: Handovers) -> None:
    """One may be a bad picture; two are somebody else, and the track has another name from there."""
    seen(watch, "t000001", 0, times=LEAST)
    assert (Likeness.STRANGE, "t000001") == watch.view("hall", "t000001", embedding(1), 0.5)
    assert watch.doubts("hall", "t000001")
    assert (Likeness.OTHER, "t000001.2") == watch.view("hall", "t000001", embedding(1), 0.5)
    assert ["t000001.2"] == names(watch.renamed(faces("t000001")))
    assert not watch.doubts("hall", "t000001.2")


def test_one_strange_view_among_others_changes_nothing(watch: Handovers) -> None:
    """The next view that is like the track ends the doubt; it counts for nothing later."""
    seen(watch, "t000001", 0, times=LEAST)
    for _ in range(5):
        assert Likeness.STRANGE == watch.view("hall", "t000001", embedding(1), 0.5)[0]
        assert Likeness.SAME == watch.view("hall", "t000001", embedding(0), 0.5)[0]
    assert "t000001" == seen(watch, "t000001", 0)


def test_young_track_has_nothing_to_be_strange_to(watch: Handovers) -> None:
    """Before `LEAST` views a track is not known well enough."""
    assert "t000001" == seen(watch, "t000001", 0, times=LEAST - 1)
    assert Likeness.SAME == watch.view("hall", "t000001", embedding(1), 0.5)[0]


def test_track_is_cut_as_often_as_it_goes_over(watch: Handovers) -> None:
    """And back again is a third one: nobody knows that it is the first person's."""
    track = seen(watch, "t000001", 0, times=LEAST)
    track = seen(watch, track, 1, times=2 + LEAST)
    assert "t000001.2" == track
    assert "t000001.3" == seen(watch, track, 0, times=2)


def test_end_and_crossing_are_told_by_the_new_name(watch: Handovers) -> None:
    """What the tracker says of its track holds for the piece that goes on; then nothing is left of it."""
    seen(watch, seen(watch, "t000001", 0, times=LEAST), 1, times=2)
    found = watch.renamed(faces("t000002", ended=("t000001",), crossed=("t000001", "t000002")))
    assert (("t000001.2",), ("t000001.2", "t000002")) == (found.ended, found.crossed)
    assert ("t000001",) == watch.renamed(faces(ended=("t000001",))).ended


def test_cameras_are_apart(watch: Handovers) -> None:
    """Two cameras name their tracks alike; a camera that was lost leaves nothing."""
    seen(watch, "t000001", 0, times=LEAST)
    assert Likeness.SAME == watch.view("shaft", "t000001", embedding(1), 0.5)[0]
    watch.end_camera("hall")
    assert Likeness.SAME == watch.view("hall", "t000001", embedding(1), 0.5)[0]


def test_uncut_frame_comes_back_as_it_is(watch: Handovers) -> None:
    """Where nothing was cut, nothing is made anew."""
    seen(watch, "t000001", 0)
    frame = faces("t000001")
    assert frame is watch.renamed(frame)
