"""Which way a face looks, from its five landmarks, and whether they can be a face at all.

Weak perspective: seen from the front, the nose tip stands `NOSE_HEIGHT` of the way from the eyes to
the mouth, and as far in front of their plane as `NOSE_DEPTH` of that way. Turning the head moves it
sideways by depth times the sine of the yaw, nodding up or down likewise. The upright direction is
taken from eyes, mouth and the line between them together, so that a profile, whose eyes nearly
coincide, still has one.

The constants were fitted on the ten development people of the MF photos (70 photos, CenterFace's
landmarks). There yaw agrees with the estimate that comes with the photos to 3.2 degrees (mean
absolute; correlation .97) and pitch to 4.4 (correlation .61, of a spread of only 5.2): **yaw is a
measurement, pitch is a hint**, because a smile moves the mouth as much as a nod does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

NOSE_DEPTH: Final = 0.46
NOSE_HEIGHT: Final = 0.574
#: Of the development photos the farthest are -.08..1.18 wide eyes, mouths .37..98, noses .44..67 high;
#: the limits leave room for profiles and for children.
_EYES_APART: Final = (0.05, 2.2)
_MOUTH_WIDE: Final = (0.05, 2.2)
_NOSE_BETWEEN: Final = (0.05, 1.05)
_NOSE_ASIDE: Final = 0.9
_MARGIN_OF_BOX: Final = 0.35
_SMALLEST: Final = 1.0


@dataclass(frozen=True, slots=True)
class Pose:
    """Degrees: yaw > 0 looks to the right of the picture, pitch > 0 down, roll > 0 tilts clockwise.

    `plausible` is False where the five points cannot be a face; the angles then mean nothing.
    """

    yaw: float
    pitch: float
    roll: float
    plausible: bool = True


NO_POSE: Final = Pose(yaw=0.0, pitch=0.0, roll=0.0, plausible=False)


def estimate_pose(landmarks: npt.NDArray[np.floating]) -> Pose:
    """Return the pose of five landmarks, (5, 2) in pixels: eyes, nose, mouth corners, left to right."""
    right_eye, left_eye, nose, right_mouth, left_mouth = np.asarray(landmarks, dtype=np.float64)
    eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
    down = mouth - eyes
    across = (left_eye - right_eye) + (left_mouth - right_mouth) + np.array([down[1], -down[0]])
    length = float(np.linalg.norm(across))
    if length < _SMALLEST:
        return NO_POSE
    across /= length
    upright = np.array([[across[0], across[1]], [-across[1], across[0]]])
    tall = float((upright @ down)[1])
    if tall < _SMALLEST:
        return NO_POSE
    aside = float((upright @ (nose - (eyes + mouth) / 2))[0]) / tall
    below = float((upright @ (nose - eyes))[1]) / tall
    eyes_apart = float((upright @ (left_eye - right_eye))[0]) / tall
    mouth_wide = float((upright @ (left_mouth - right_mouth))[0]) / tall
    return Pose(
        yaw=float(np.degrees(np.arcsin(np.clip(aside / NOSE_DEPTH, -1.0, 1.0)))),
        pitch=float(np.degrees(np.arcsin(np.clip((below - NOSE_HEIGHT) / NOSE_DEPTH, -1.0, 1.0)))),
        roll=float(np.degrees(np.arctan2(across[1], across[0]))),
        plausible=_within(eyes_apart, _EYES_APART)
        and _within(mouth_wide, _MOUTH_WIDE)
        and _within(below, _NOSE_BETWEEN)
        and abs(aside) <= _NOSE_ASIDE,
    )


def landmarks_in_box(landmarks: npt.NDArray[np.floating], box: tuple[float, float, float, float]) -> bool:
    """Return whether all landmarks are in the box (x, y, width, height), or near outside it."""
    x, y, width, height = box
    slack = _MARGIN_OF_BOX * max(width, height)
    low = np.array([x - slack, y - slack])
    high = np.array([x + width + slack, y + height + slack])
    return bool(((landmarks >= low) & (landmarks <= high)).all())


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
