"""A person, cut out of a photo softly enough to walk through another scene.

The photo is scaled so that the face has a known height; an ellipse for the head and a trapezoid for
the body tell GrabCut (Rother et al. 2004) where to look, and what it finds is kept as far as it
hangs together with the face. The mask is drawn in a little and feathered, and it fades out towards
the photo's borders, so that no straight or hard edge is left to give the cut away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.records import Box

#: Pixels that a cut-out's face is high; more than any face in the clip.
FACE_PX: Final = 150
#: The body below the face is kept for so many face heights.
_BODY: Final = 6.2
_ROUNDS: Final = 6
_SOLID: Final = 0.9


@dataclass(frozen=True, slots=True)
class CutOut:
    """`colour` (H, W, 3) BGR and `alpha` (H, W), float32 0..1, and the face's box in it in pixels."""

    colour: npt.NDArray[np.float32]
    alpha: npt.NDArray[np.float32]
    face: tuple[float, float, float, float]


def cut_out(photo: Path, face: Box) -> CutOut:
    """Cut the person with the face `face` (pixels of the photo) out of `photo`.

    Raises:
        ValueError: the photo cannot be read.
    """
    picture = cv2.imread(str(photo), cv2.IMREAD_COLOR)
    if picture is None:
        msg = f"{photo} is not a picture that OpenCV reads"
        raise ValueError(msg)
    scale = FACE_PX / face.height
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=method)
    x, y, w, h = (value * scale for value in (face.x, face.y, face.width, face.height))
    picture = picture[: int(y + h * _BODY)]
    half = np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    mask = _person_mask(half, (x / 2, y / 2, w / 2, h / 2))
    alpha = _soften(mask, (picture.shape[1], picture.shape[0]), bottom=h)
    colour = _without_fringe(picture.astype(np.float32) / np.float32(255), alpha)
    return CutOut(colour, alpha, (x, y, w, h))


def _person_mask(
    picture: npt.NDArray[np.uint8], face: tuple[float, float, float, float]
) -> npt.NDArray[np.uint8]:
    """Return 1 where the person is, 0 elsewhere, (H, W) uint8."""
    x, y, w, h = face
    height, width = picture.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    aside = np.abs(columns - (x + w / 2))
    below = rows - y

    def head(by_width: float, by_height: float) -> npt.NDArray[np.bool_]:
        inside = (aside / (w * by_width)) ** 2 + ((below - 0.45 * h) / (h * by_height)) ** 2 < 1
        return np.asarray(inside, dtype=np.bool_)

    body = (below > 0.9 * h) & (aside < np.clip((below - 0.9 * h) * 2 + 0.5 * w, 0, 2.3 * w))
    sure = head(0.42, 0.5) | ((aside < 0.2 * w) & (below > 0.5 * h) & (below < 1.3 * h))
    sure |= (aside < 0.36 * w) & (below > 1.15 * h)  # the collar
    sure |= (aside < 0.8 * w) & (below > 1.6 * h)
    mask = np.full((height, width), cv2.GC_BGD, dtype=np.uint8)
    mask[head(0.85, 0.85)] = cv2.GC_PR_BGD
    mask[body | head(0.52, 0.62)] = cv2.GC_PR_FGD
    mask[sure] = cv2.GC_FGD
    cv2.setRNGSeed(7)
    behind, before = np.zeros((1, 65)), np.zeros((1, 65))
    no_rectangle = (0, 0, 0, 0)  # the mask says more
    cv2.grabCut(picture, mask, no_rectangle, behind, before, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    _, labels = cv2.connectedComponents(found)
    person = labels == labels[int(y + h / 2), int(x + w / 2)]
    return np.asarray(cv2.morphologyEx(person.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7))), np.uint8)


def _without_fringe(
    colour: npt.NDArray[np.float32], alpha: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Give the seam the colours from within: a bright wall behind the person shines through its pixels."""
    solid = (alpha > _SOLID).astype(np.float32)
    inner = np.asarray(cv2.erode(solid, np.ones((5, 5), dtype=np.uint8)), dtype=np.float32)
    spread = _blurred(colour * inner[:, :, None], 4)
    weight = _blurred(inner, 4)[:, :, None]
    from_within = spread / np.maximum(weight, np.float32(1e-3))
    seam = _blurred(1 - inner, 1)[:, :, None] * (weight > np.float32(1e-2))
    darker = np.minimum(colour, from_within * np.float32(1.05))
    return np.asarray(colour * (1 - seam) + darker * seam, dtype=np.float32)


def _blurred(layer: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), sigma), dtype=np.float32)


def _soften(mask: npt.NDArray[np.uint8], size: tuple[int, int], *, bottom: float) -> npt.NDArray[np.float32]:
    """Draw the mask in, feather it, and let it fade towards the borders of the photo."""
    drawn_in = cv2.erode(mask, np.ones((3, 3), dtype=np.uint8), borderType=cv2.BORDER_REPLICATE)
    large = cv2.resize(drawn_in.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    alpha = _blurred(np.asarray(large, dtype=np.float32), 2.5)
    width, height = size
    columns = np.arange(width, dtype=np.float32)
    rows = np.arange(height, dtype=np.float32)
    alpha *= np.clip(np.minimum(columns, columns[::-1]) / 24, 0, 1)
    alpha *= np.clip(rows[::-1] / bottom, 0, 1)[:, None]
    return np.asarray(alpha, dtype=np.float32)
