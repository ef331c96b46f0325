"""How usable a face is: a weight for its vote, or the first reason why it has none.

Every number here was measured, none is a guess: the 70 photos of the ten development people of the
MF set were made smaller, blurred, dragged, darkened, brightened, flattened and cut, and a strong
face embedder (one that the box does not ship) was asked how much of the similarity to the person's
front photo was left. A tunnel is dark by nature, so the limits stand only where that embedder, too,
loses about half of the people (faces at a tenth of their brightness are still recognised); what lies
between is left in with less weight. `_Weight` tables hold what share of the similarity remained.

Sharpness is measured along the worse of the two axes, because a dragged face is as sharp as ever
across the motion; it is a ratio to the contrast, because a dark face is not a blurred one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from edge_app.faces.pose import Pose, estimate_pose, landmarks_in_box
from edge_app.faces.preprocess import ARCFACE_TEMPLATE_112, CROP_SIZE, similarity_transform
from edge_app.records import Quality, Rejection

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_app.records import Face

_HALF: Final = CROP_SIZE // 2
#: The middle of the halved crop: the face without hair, helmet and background.
_MIDDLE: Final = (slice(24, 104), slice(20, 92))
_SECOND_DERIVATIVE: Final = np.array([[1.0, -2.0, 1.0]], dtype=np.float32)
_GRID: Final = np.stack(np.meshgrid(*[np.linspace(0.1, 0.9, 9) * CROP_SIZE] * 2), axis=-1).reshape(-1, 2)

_Weight = tuple[tuple[float, ...], tuple[float, ...]]
_BY_SIZE: Final[_Weight] = ((16, 24, 32, 40, 48, 64), (0.37, 0.71, 0.87, 0.94, 0.97, 1.0))
_BY_SHARPNESS: Final[_Weight] = (
    (0.5, 1.0, 1.5, 2.2, 2.9, 4.4, 5.9, 8.0),
    (0.05, 0.25, 0.53, 0.73, 0.82, 0.93, 0.97, 1.0),
)
_BY_BRIGHTNESS: Final[_Weight] = (
    (3, 7, 12, 18, 31, 62, 180, 207, 230, 237, 244, 255),
    (0.0, 0.25, 0.63, 0.81, 0.91, 0.97, 0.97, 0.79, 0.51, 0.35, 0.19, 0.0),
)
_BY_CONTRAST: Final[_Weight] = ((2, 3, 5, 7, 12, 24, 40), (0.0, 0.2, 0.4, 0.58, 0.84, 0.96, 1.0))
#: Beyond 45 degrees there were no photos: from there on the weight falls to nothing at a right angle.
_BY_YAW: Final[_Weight] = ((25, 45, 90), (1.0, 0.83, 0.0))
_BY_PITCH: Final[_Weight] = ((20, 60), (1.0, 0.3))
_BY_CUT: Final[_Weight] = ((0.0, 0.11, 0.22, 0.33, 1.0), (1.0, 0.95, 0.85, 0.78, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimits:
    """From where on a face is not used. Defaults: where half of the people are lost, or a bit before.

    `min_face_px` pixels of the box's shorter side; `min_sharpness` as in `Quality`; brightness and
    contrast on the middle of the crop, 0..255; degrees of yaw and pitch (pitch is coarse, so its limit
    is wide); `max_cut` the share of the crop that lies outside the picture.
    """

    min_face_px: float = 40.0
    min_sharpness: float = 1.2
    min_brightness: float = 7.0
    max_brightness: float = 238.0
    min_contrast: float = 4.0
    max_yaw_deg: float = 60.0
    max_pitch_deg: float = 60.0
    max_cut: float = 0.33


@dataclass(frozen=True, slots=True, kw_only=True)
class _Light:
    """Of the crop's middle: sharpness (per mille of the contrast's square), brightness, contrast (0..255)."""

    sharpness: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0


def assess(
    pixels: npt.NDArray[np.uint8],
    face: Face,
    crop: npt.NDArray[np.uint8] | None,
    *,
    limits: QualityLimits | None = None,
) -> Quality:
    """Return how usable `face` is.

    Args:
        pixels: (H, W, 3) uint8 BGR, the picture that the face is in.
        face: box and landmarks in `pixels`.
        crop: the aligned (224, 224, 3) uint8 RGB crop; None where the landmarks allow none.
        limits: from where on it is rejected; the defaults where None.

    Returns:
        All measures, the weight `score`, and the first reason for a rejection, from the plainest (too
        small) to the finest (blurred).
    """
    limits = limits or QualityLimits()
    face_px = min(face.box.width, face.box.height)
    pose = estimate_pose(face.landmarks)
    plausible = (
        crop is not None
        and pose.plausible
        and landmarks_in_box(face.landmarks, (face.box.x, face.box.y, face.box.width, face.box.height))
    )
    light = _light(crop) if crop is not None else _Light()
    cut = share_outside(face.landmarks, width=pixels.shape[1], height=pixels.shape[0]) if plausible else 0.0
    checks = (
        (Rejection.TOO_SMALL, face_px < limits.min_face_px),
        (Rejection.IMPLAUSIBLE_LANDMARKS, not plausible),
        (Rejection.AT_THE_EDGE, cut > limits.max_cut),
        (Rejection.TOO_DARK, light.brightness < limits.min_brightness),
        (Rejection.TOO_BRIGHT, light.brightness > limits.max_brightness),
        (Rejection.LOW_CONTRAST, light.contrast < limits.min_contrast),
        (Rejection.TURNED_AWAY, _too_far(pose, limits)),
        (Rejection.BLURRED, light.sharpness < limits.min_sharpness),
    )
    score = _score(face_px=face_px, light=light, pose=pose, cut=cut) if plausible else 0.0
    return Quality(
        face_px=face_px,
        sharpness=light.sharpness,
        brightness=light.brightness,
        contrast=light.contrast,
        yaw=pose.yaw,
        pitch=pose.pitch,
        roll=pose.roll,
        score=score,
        rejection=next((reason for reason, applies in checks if applies), None),
    )


def share_outside(landmarks: npt.NDArray[np.floating], *, width: int, height: int) -> float:
    """Return the share (0..1) of the aligned crop, its outer tenth left out, that is not in the picture.

    Raises:
        ValueError: the landmarks coincide.
    """
    matrix = similarity_transform(ARCFACE_TEMPLATE_112 * 2, landmarks)
    points = _GRID @ matrix[:, :2].T + matrix[:, 2]
    outside = (points < 0).any(axis=1) | (points[:, 0] >= width) | (points[:, 1] >= height)
    return float(outside.mean())


def _light(crop: npt.NDArray[np.uint8]) -> _Light:
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    middle = cv2.resize(luma, (_HALF, _HALF), interpolation=cv2.INTER_AREA)[_MIDDLE]
    mean, deviation = cv2.meanStdDev(middle)
    brightness, contrast = float(mean[0, 0]), float(deviation[0, 0])
    smooth = cv2.GaussianBlur(middle, (0, 0), 1.0)
    across = cv2.filter2D(smooth, cv2.CV_32F, _SECOND_DERIVATIVE).var()
    along = cv2.filter2D(smooth, cv2.CV_32F, _SECOND_DERIVATIVE.T).var()
    sharpness = 1000.0 * min(float(across), float(along)) / max(contrast, 1.0) ** 2
    return _Light(sharpness=sharpness, brightness=brightness, contrast=contrast)


def _too_far(pose: Pose, limits: QualityLimits) -> bool:
    return abs(pose.yaw) > limits.max_yaw_deg or abs(pose.pitch) > limits.max_pitch_deg


def _score(*, face_px: float, light: _Light, pose: Pose, cut: float) -> float:
    """Combine the weights; size and sharpness are one thing seen twice, so are brightness and contrast."""
    detail = min(_weight(face_px, _BY_SIZE), _weight(light.sharpness, _BY_SHARPNESS))
    lit = min(_weight(light.brightness, _BY_BRIGHTNESS), _weight(light.contrast, _BY_CONTRAST))
    turned = _weight(abs(pose.yaw), _BY_YAW) * _weight(abs(pose.pitch), _BY_PITCH)
    return detail * lit * turned * _weight(cut, _BY_CUT)


def _weight(value: float, table: _Weight) -> float:
    return float(np.interp(value, *table))
