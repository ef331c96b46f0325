from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.errors import ModelError
from edge_app.faces.detect import CenterFace, YuNet
from tests.tiny_models import mean_colour_network, recogniser

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.faces.detect import Detector


def test_every_known_face_is_found(found: list[Any]) -> None:
    """On clean photos both detectors find the face of every one (the facts: 99.6 % of all forty people)."""
    for name, photos in found:
        missed = [
            known.name
            for known, faces in photos
            if not any(known.box is None or face.box.iou(known.box) > 0.3 for face in faces)
        ]
        assert [] == missed, name


def test_every_face_of_every_frame_of_the_clips(clips: list[Any], detectors: list[Detector]) -> None:
    """On real video exactly the people who are there are found, in every fourth frame looked at."""
    for detector in detectors:
        for name, frames, count in clips:
            found = [len(detector.detect(frame)) for frame in frames[::4]]
            assert [count] * len(found) == found, (type(detector).__name__, name)


def test_landmarks_stand_from_left_to_right(found: list[Any]) -> None:
    """Right eye, left eye, nose, right and left mouth corner of the person, as the picture shows them."""
    for _, photos in found:
        for known, faces in photos:
            right_eye, left_eye, nose, right_mouth, left_mouth = faces[0].landmarks
            assert right_eye[0] < left_eye[0], known.name
            assert right_mouth[0] < left_mouth[0], known.name
            assert max(right_eye[1], left_eye[1]) < min(right_mouth[1], left_mouth[1]), known.name
            assert right_eye[1] < nose[1] < max(right_mouth[1], left_mouth[1]), known.name


def test_detectors_agree_on_landmarks(found: list[Any]) -> None:
    """Where there are two detectors, their landmarks are within a tenth of the face in the median."""
    apart = []
    for (_, ones), (_, others) in zip(found[0][1], found[-1][1], strict=True):
        one, other = ones[0], others[0]
        if one.box.iou(other.box) > 0.3:
            apart.append(np.linalg.norm(one.landmarks - other.landmarks, axis=1).mean() / one.box.width)
    assert len(apart) >= 4
    assert np.median(apart) < 0.1


@pytest.mark.parametrize("scale", [0.35, 1.0, 2.5, 15.0])
def test_coordinates_are_the_pictures_own(
    portrait: npt.NDArray[np.uint8], detectors: list[Detector], scale: float
) -> None:
    """Whatever size the picture has (up to 8K), box and landmarks scale with it."""
    scaled = np.asarray(
        cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
    )
    for detector in detectors:
        expected, face = detector.detect(portrait)[0], detector.detect(scaled)[0]
        limit = 0.12 * expected.box.width
        np.testing.assert_allclose(expected.landmarks, face.landmarks / scale, atol=limit)
        assert abs(expected.box.width - face.box.width / scale) < 2 * limit


def test_padded_picture_keeps_its_coordinates(
    portrait: npt.NDArray[np.uint8], detectors: list[Detector]
) -> None:
    """A strip that is padded rather than bent gives the same face at the same place."""
    strip = portrait[40:250]
    for detector in detectors:
        whole, cut = detector.detect(portrait)[0], detector.detect(strip)[0]
        np.testing.assert_allclose(whole.landmarks - [0, 40], cut.landmarks, atol=0.12 * whole.box.width)


def test_face_at_the_border_keeps_its_landmarks(
    portrait: npt.NDArray[np.uint8], detector: CenterFace
) -> None:
    """A box that is cut by the picture's border does not drag its landmarks along."""
    whole = detector.detect(portrait)[0]
    left = int(whole.box.x + 0.15 * whole.box.width)
    cut = detector.detect(np.ascontiguousarray(portrait[:, left:]))[0]
    assert cut.box.x >= 0
    np.testing.assert_allclose(whole.landmarks - [left, 0], cut.landmarks, atol=0.15 * whole.box.width)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.full((1, 1, 3), 255, np.uint8),
        np.zeros((1, 3000, 3), np.uint8),
        np.full((360, 640, 3), 128, np.uint8),
        np.random.default_rng(2).integers(0, 256, (360, 640, 3), np.uint8),
    ],
)
def test_no_face_where_there_is_none(detectors: list[Detector], pixels: npt.NDArray[np.uint8]) -> None:
    """A dot, a line, one colour and noise have no faces, and break nothing."""
    for detector in detectors:
        assert () == detector.detect(pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9, 3)),
        np.zeros((0, 9, 3), np.uint8),
    ],
)
def test_picture_of_another_kind_is_refused(detectors: list[Detector], pixels: npt.NDArray[Any]) -> None:
    """Grey, RGBA, float and empty pictures are refused by name; capture has made BGR of them before."""
    for detector in detectors:
        with pytest.raises(ValueError, match=r"pixels must be \(H, W, 3\) uint8 BGR; received"):
            detector.detect(pixels)


def test_threshold_decides(portrait: npt.NDArray[np.uint8], centerface: Path) -> None:
    """Nothing scores above one, so that threshold leaves nothing."""
    assert 1 == len(CenterFace.open(centerface, score_threshold=0.5).detect(portrait))
    assert () == CenterFace.open(centerface, score_threshold=1.01).detect(portrait)


def test_sizes_may_change_from_frame_to_frame(portrait: npt.NDArray[np.uint8], detector: CenterFace) -> None:
    """The reused buffer forgets the last picture."""
    expected = detector.detect(portrait)[0].landmarks
    detector.detect(np.full((110, 640, 3), 255, np.uint8))
    np.testing.assert_array_equal(expected, detector.detect(portrait)[0].landmarks)


def test_other_network_is_no_centerface(tmp_path: Path) -> None:
    """A network with other outputs, and a recogniser's manifest, are refused when opened."""
    with pytest.raises(ModelError, match="not a CenterFace"):
        CenterFace(OnnxEngine(mean_colour_network(tmp_path / "t.onnx")))
    with pytest.raises(ModelError, match="a detector is needed here; received the recogniser"):
        CenterFace.open(recogniser(tmp_path))


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_file_that_is_no_yunet(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty or broken file is a model error with the fix."""
    path = tmp_path / "yunet.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"yunet\.onnx") as caught:
        YuNet(path)
    assert "face_detection_yunet_2023mar.onnx" in caught.value.fix
