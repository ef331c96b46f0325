from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge_app.faces.preprocess import align
from edge_app.faces.quality import QualityLimits, assess, share_outside
from edge_app.records import Box, Face, Quality, Rejection

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from edge_app.faces.detect import CenterFace

    Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="session")
def face(portrait: Pixels, detector: CenterFace) -> Face:
    """Return the portrait's face."""
    return detector.detect(portrait)[0]


def judged(pixels: Pixels, face: Face, **limits: float) -> Quality:
    """Assess `face` with its crop from `pixels`."""
    return assess(pixels, face, align(pixels, face.landmarks), limits=QualityLimits(**limits))


def changed(face: Face, **changes: Any) -> Face:
    """Return `face` with some fields replaced."""
    return Face(**({"box": face.box, "landmarks": face.landmarks, "score": face.score} | changes))


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    """Put `pixels` out of focus."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def dragged(pixels: Pixels, length: int) -> Pixels:
    """Move the camera sideways by `length` pixels during the exposure."""
    return np.asarray(cv2.blur(pixels, (length, 1)), np.uint8)


def lit(pixels: Pixels, gain: float, offset: float = 0.0) -> Pixels:
    """Change exposure (gain) and haze (offset)."""
    return np.clip(pixels * gain + offset, 0, 255).astype(np.uint8)


def test_clean_known_faces_are_used(found: list[Any]) -> None:
    """Clean photos are not rejected, but for one whose head is turned by about sixty degrees."""
    verdicts = [judged(known.pixels, faces[0]) for known, faces in found[0][1]]
    rejected = [verdict for verdict in verdicts if verdict.rejection is not None]
    assert len(rejected) <= 1
    assert all(verdict.rejection is Rejection.TURNED_AWAY and abs(verdict.yaw) > 60 for verdict in rejected)
    assert np.median([verdict.score for verdict in verdicts]) > 0.9


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p: blurred(p, 6), Rejection.BLURRED),
        (lambda p: dragged(p, 45), Rejection.BLURRED),
        (lambda p: np.asarray(cv2.rotate(dragged(cv2.rotate(p, 0), 45), 2), np.uint8), Rejection.BLURRED),
        (lambda p: lit(p, 0.03), Rejection.TOO_DARK),
        (lambda p: lit(p, 0.05, 245), Rejection.TOO_BRIGHT),
        (lambda p: lit(p, 0.04, 120), Rejection.LOW_CONTRAST),
    ],
    ids=["out of focus", "dragged across", "dragged along", "dark", "bright", "flat"],
)
def test_spoilt_picture_is_rejected_by_name(
    portrait: Pixels, face: Face, spoil: Callable[[Pixels], Pixels], reason: Rejection
) -> None:
    """Each way to spoil a picture has its own name."""
    assert judged(portrait, face).rejection is None
    assert reason is judged(spoil(portrait), face).rejection


@pytest.mark.parametrize("gain", [0.5, 0.25, 0.15])
def test_darkness_of_a_tunnel_is_no_reason(portrait: Pixels, face: Face, gain: float) -> None:
    """A face at 15 % of its brightness, with a sensor's noise, is used, with less weight."""
    noise = np.random.default_rng(1).normal(0, 2, portrait.shape)
    dark = judged(np.clip(portrait * gain + noise, 0, 255).astype(np.uint8), face)
    assert dark.rejection is None
    assert dark.score < judged(portrait, face).score


@pytest.mark.parametrize(
    "ladder",
    [
        lambda p: [p, blurred(p, 2), blurred(p, 3), blurred(p, 5)],
        lambda p: [p, dragged(p, 7), dragged(p, 13), dragged(p, 25)],
        lambda p: [p, lit(p, 0.3), lit(p, 0.12), lit(p, 0.06)],
        lambda p: [p, lit(p, 0.3, 100), lit(p, 0.15, 100), lit(p, 0.06, 100)],
    ],
    ids=["focus", "motion", "darkness", "haze"],
)
def test_weight_falls_as_it_gets_worse(
    portrait: Pixels, face: Face, ladder: Callable[[Pixels], list[Pixels]]
) -> None:
    """Each step down costs weight; a vote of a bad view counts less."""
    scores = [judged(pixels, face).score for pixels in ladder(portrait)]
    assert sorted(scores, reverse=True) == scores
    assert len(set(scores)) == len(scores)
    assert 0 <= scores[-1] < scores[0] <= 1


def test_sharpness_does_not_depend_on_exposure(portrait: Pixels, face: Face) -> None:
    """A dark face is not a blurred one: half the light leaves the sharpness as it is."""
    assert (
        pytest.approx(judged(portrait, face).sharpness, rel=0.1) == judged(lit(portrait, 0.5), face).sharpness
    )


def test_small_face_is_told_before_all_else(portrait: Pixels, face: Face) -> None:
    """The plainest reason comes first: a small and dark face is too small."""
    small = changed(face, box=Box(x=face.box.x, y=face.box.y, width=39.9, height=60.0))
    verdict = judged(lit(portrait, 0.01), small)
    assert (Rejection.TOO_SMALL, 39.9) == (verdict.rejection, verdict.face_px)
    assert Rejection.TOO_SMALL is not judged(portrait, small, min_face_px=30).rejection


def test_profile_is_turned_away(portrait: Pixels, face: Face) -> None:
    """A nose far to the side is a head turned away; the limit is the configured one."""
    turned = face.landmarks.copy()
    down = np.linalg.norm(turned[3:].mean(axis=0) - turned[:2].mean(axis=0))
    turned[2, 0] += 0.42 * down
    profile = changed(face, landmarks=turned)
    assert Rejection.TURNED_AWAY is judged(portrait, profile).rejection
    assert judged(portrait, profile, max_yaw_deg=90).rejection is None


def test_impossible_landmarks_weigh_nothing(portrait: Pixels, face: Face) -> None:
    """Exchanged eyes, landmarks outside of the box and a face without a crop are implausible."""
    crop = align(portrait, face.landmarks)
    exchanged = changed(face, landmarks=face.landmarks[[1, 0, 2, 4, 3]])
    elsewhere = changed(face, landmarks=face.landmarks + np.float32(2 * face.box.height))
    for verdict in (
        assess(portrait, exchanged, crop),
        assess(portrait, elsewhere, crop),
        assess(portrait, face, None),
    ):
        assert (Rejection.IMPLAUSIBLE_LANDMARKS, 0.0) == (verdict.rejection, verdict.score)


def test_half_a_face_at_the_edge(portrait: Pixels, face: Face) -> None:
    """A face of which half is outside of the picture is told; a whole one is not."""
    middle = int(face.landmarks[2, 0])
    half = np.ascontiguousarray(portrait[:, middle:])
    moved = changed(face, landmarks=face.landmarks - np.float32([middle, 0]),
                    box=Box(x=0, y=face.box.y, width=face.box.width / 2, height=face.box.height))  # fmt: skip
    assert Rejection.AT_THE_EDGE is judged(half, moved).rejection
    assert 0.0 == share_outside(face.landmarks, width=512, height=512)
    assert pytest.approx(0.5, abs=0.12) == share_outside(moved.landmarks, width=half.shape[1], height=512)


def test_measures_are_the_crops_own(portrait: Pixels, face: Face) -> None:
    """Twice the light is twice the brightness and the contrast."""
    dim, bright = judged(lit(portrait, 0.25), face), judged(lit(portrait, 0.5), face)
    assert pytest.approx(2.0, rel=0.05) == bright.brightness / dim.brightness
    assert pytest.approx(2.0, rel=0.05) == bright.contrast / dim.contrast
