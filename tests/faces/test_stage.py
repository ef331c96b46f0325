from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_app.faces.preprocess import align
from edge_app.faces.quality import QualityLimits
from edge_app.faces.stage import FaceStage, align_or_none
from edge_app.faces.track import Tracker
from edge_app.records import Box, Face, Frame, Rejection

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_app.faces.detect import CenterFace

    Pixels = npt.NDArray[np.uint8]

MS = 1_000_000


def frame(pixels: npt.NDArray[np.uint8], index: int) -> Frame:
    """Return frame number `index` of a camera at 12.5 frames/s."""
    return Frame(camera="cam1", index=index, mono_ns=index * 80 * MS, pixels=pixels)


@pytest.fixture
def stage(detector: CenterFace) -> FaceStage:
    """Return a stage with the real detector and a tracker of its own."""
    return FaceStage(detector=detector, tracker=Tracker())


def test_good_face_comes_with_track_quality_and_crop(stage: FaceStage, portrait: Pixels) -> None:
    """The crop is the aligned one, and the same face keeps its track."""
    first, second = stage.process(frame(portrait, 0)), stage.process(frame(portrait, 1))
    (face,) = first.faces
    assert ("t000001", None) == (face.track, face.quality.rejection)
    assert face.crop is not None
    np.testing.assert_array_equal(align(portrait, face.face.landmarks), face.crop)
    assert "t000001" == second.faces[0].track
    assert first.frame.index == 0


def test_rejected_face_is_told_without_a_crop(detector: CenterFace, portrait: Pixels) -> None:
    """It has its track and its reason, so that the box can say why nobody is named."""
    strict = FaceStage(detector=detector, tracker=Tracker(), limits=QualityLimits(min_face_px=500))
    (face,) = strict.process(frame(portrait, 0)).faces
    assert ("t000001", Rejection.TOO_SMALL, None) == (face.track, face.quality.rejection, face.crop)


def test_other_limits_count_from_the_next_frame_on(stage: FaceStage, portrait: Pixels) -> None:
    """A running box takes them over; the track goes on."""
    before = stage.process(frame(portrait, 0)).faces[0]
    stage.use_limits(QualityLimits(min_face_px=500))
    after = stage.process(frame(portrait, 1)).faces[0]
    assert (before.track, None, Rejection.TOO_SMALL) == (
        after.track,
        before.quality.rejection,
        after.quality.rejection,
    )


def test_track_ends_with_the_frame_that_finds_it_gone(stage: FaceStage, portrait: Pixels) -> None:
    """An empty tunnel ends the track after its silence, once."""
    empty = np.zeros_like(portrait)
    stage.process(frame(portrait, 0))
    assert [(), ("t000001",), ()] == [stage.process(frame(empty, index)).ended for index in (5, 20, 21)]


@pytest.mark.parametrize("shape", [(1, 1, 3), (360, 640, 3)])
def test_empty_picture_has_no_faces(stage: FaceStage, shape: tuple[int, ...]) -> None:
    """Nothing in, nothing out, at any size."""
    assert () == stage.process(frame(np.zeros(shape, np.uint8), 0)).faces


def test_finish_names_who_was_still_there(stage: FaceStage, portrait: Pixels) -> None:
    """At the end of a recording the open tracks end."""
    stage.process(frame(portrait, 0))
    assert ("t000001",) == stage.finish()


def test_landmarks_without_a_crop(portrait: Pixels) -> None:
    """Landmarks that coincide give no crop and no exception."""
    face = Face(box=Box(x=0, y=0, width=50, height=50), landmarks=np.full((5, 2), 7, np.float32), score=0.9)
    assert align_or_none(portrait, face) is None
