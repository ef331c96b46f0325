"""Pictures to train the dust detector on: a clean one, the same under simulated ash, and its faces.

Two kinds are mixed. In one, aligned portraits (people of the training set) are laid with a soft oval edge
onto a background of any kind, at any size, a little turned. In the other, whole photos of a few people
with their shoulders and what is behind them are scaled, turned and mirrored. Ash comes from the families
of `calibration.ash`, never from the yardstick's; dust, darkness, glare, blur and noise from
`calibration.conditions`. Which picture is made depends on the generator alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from calibration.ash import coal_ash
from calibration.conditions import EFFECTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]
    Points = npt.NDArray[np.float32]

#: Face heights, pixels: as a camera sees them from near and far.
LEAST: Final = 18.0
MOST: Final = 170.0
#: Chances of 0, 1, 2 faces laid onto a background; of a whole photo instead.
COUNTS: Final = (0.28, 0.52, 0.20)
WHOLE: Final = 0.4
#: Chances of no, light, heavy and thick ash on a face.
ASH: Final = (0.18, 0.12, 0.25, 0.45)
#: How often each effect happens. Few pixels come from small faces, not from a blurred picture.
CHANCES: Final = {
    "led_cone": 0.2, "brim_shadow": 0.2, "glare": 0.05, "colour_cast": 0.25, "flicker_bands": 0.06,
    "backscatter": 0.25, "darkness": 0.3, "motion_blur": 0.06, "defocus": 0.08, "noise": 0.2, "tone": 0.4,
    "compression": 0.2,
}  # fmt: skip
#: How often a patch of ash lies somewhere else as well, and on a picture without a face.
DECOYS: Final = 0.3
#: A face of which less is left (`likeness`) is none: nobody could see it.
VISIBLE: Final = 0.3
#: How often the whole picture is splashed.
SPLASHED: Final = 0.25
_MIRRORED: Final = (1, 0, 2, 4, 3)
_LARGEST_TURN: Final = 15.0


@dataclass(frozen=True, slots=True)
class Portrait:
    """A picture with known faces: `boxes` (N, 4) left, top, width, height, `marks` (N, 5, 2).

    `whole` says that what is around the face belongs to the picture; the others are cut out by an oval.
    """

    pixels: Image
    boxes: Points
    marks: Points
    whole: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """`clean` and `seen`, (S, S, 3) uint8 BGR, and the faces in both: (N, 4) and (N, 5, 2) in pixels."""

    clean: Image
    seen: Image
    boxes: Points
    marks: Points


def make_scene(
    rng: np.random.Generator,
    portraits: Sequence[Portrait],
    photos: Sequence[Portrait],
    backgrounds: Sequence[Image],
    *,
    side: int,
) -> Scene:
    """Return a picture of `side` pixels.

    Args:
        rng: the only source of randomness.
        portraits: faces to lay onto a background.
        photos: whole photos; none are used where there are none.
        backgrounds: pictures without faces, at least `side` pixels each way or enlarged.
        side: a multiple of 32.
    """
    if photos and rng.random() < WHOLE:
        clean, boxes, marks = _whole(rng, photos[int(rng.integers(len(photos)))], side)
    else:
        clean = background(rng, backgrounds[int(rng.integers(len(backgrounds)))], side)
        found: list[tuple[Points, Points]] = []
        for _ in range(rng.choice(len(COUNTS), p=COUNTS)):
            clean = _with_face(rng, clean, portraits[int(rng.integers(len(portraits)))], found)
        boxes = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
        marks = np.array([points for _, points in found], np.float32).reshape(-1, 5, 2)
    seen = clean
    if not len(boxes) and rng.random() < 2 * DECOYS:
        size = _height(rng, side)
        x, y = (float(value) for value in rng.uniform(0, side - size, 2))
        seen = coal_ash(seen, int(rng.integers(1, 4)), rng, face=(x, y, 0.75 * size, size))
    for box in boxes:
        seen = _with_ash(rng, seen, box)
    if rng.random() < SPLASHED:
        size = _height(rng, side) if not len(boxes) else float(boxes[0, 3])
        level = int(rng.integers(1, 4))
        seen = coal_ash(seen, level, rng, face=(0.0, 0.0, 0.75 * size, size), family="everywhere")
    for name, chance in CHANCES.items():
        if rng.random() < chance:
            seen = EFFECTS[name](seen, rng)
    left = [number for number, box in enumerate(boxes) if likeness(clean, seen, box) >= VISIBLE]
    return Scene(clean, seen, boxes[left], marks[left])


def likeness(clean: Image, seen: Image, box: Points) -> float:
    """Return how much of a face is left, -1..1: the correlation of 24 x 24 pixels before and after."""
    x, y, w, h = (float(v) for v in box)
    left, top = max(0, int(x)), max(0, int(y))
    pieces = [image[top : int(y + h) + 1, left : int(x + w) + 1] for image in (clean, seen)]
    if 0 in pieces[0].shape:
        return 0.0
    small = [
        cv2.cvtColor(cv2.resize(one, (24, 24), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY).ravel()
        for one in pieces
    ]
    if min(float(one.std()) for one in small) < 0.5:  # noqa: PLR2004 -- one grey
        return 0.0
    return float(np.corrcoef(small[0], small[1])[0, 1])


def background(rng: np.random.Generator, picture: Image, side: int) -> Image:
    """Return a random square of `picture`, mirrored or not, brighter or darker."""
    height, width = picture.shape[:2]
    cut = int(rng.uniform(0.4, 1.0) * min(height, width))
    top, left = rng.integers(height - cut + 1), rng.integers(width - cut + 1)
    piece = picture[top : top + cut, left : left + cut]
    piece = piece[:, ::-1] if rng.random() < 0.5 else piece  # noqa: PLR2004 -- a coin
    scaled = cv2.resize(piece, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.convertScaleAbs(scaled, alpha=float(rng.uniform(0.4, 1.6)), beta=float(rng.uniform(-10, 25)))  # type: ignore[return-value]


def _warp(
    rng: np.random.Generator, source: Portrait, height: float, centre: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Return the 2x3 matrix that moves the first face of `source` to `centre`, `height` pixels high."""
    x, y, w, h = (float(v) for v in source.boxes[0])
    scale = height / h
    turn = cv2.getRotationMatrix2D((x + w / 2, y + h / 2), float(rng.uniform(-1, 1)) * _LARGEST_TURN, scale)
    turn = np.asarray(turn, np.float64)
    if rng.random() < 0.5:  # noqa: PLR2004 -- a coin
        turn = turn @ np.array([[-1, 0, 2 * (x + w / 2)], [0, 1, 0], [0, 0, 1]], np.float64)
    at = turn @ np.array([x + w / 2, y + h / 2, 1.0])
    turn[:, 2] += np.array(centre) - at
    return np.asarray(turn, np.float64)


def _moved(source: Portrait, turn: npt.NDArray[np.float64]) -> tuple[Points, Points]:
    """Return the boxes and landmarks of `source` after `turn`; a box keeps its shape."""
    scale = float(np.sqrt(abs(np.linalg.det(turn[:, :2]))))
    middle = source.boxes[:, :2] + source.boxes[:, 2:] / 2
    at = middle @ turn[:, :2].T + turn[:, 2]
    size = source.boxes[:, 2:] * scale
    marks = source.marks @ turn[:, :2].T + turn[:, 2]
    if np.linalg.det(turn[:, :2]) < 0:
        marks = marks[:, _MIRRORED]
    return np.hstack([at - size / 2, size]).astype(np.float32), marks.astype(np.float32)


def _whole(rng: np.random.Generator, source: Portrait, side: int) -> tuple[Image, Points, Points]:
    height = _height(rng, side)
    room = height * 0.4
    centre = (float(rng.uniform(room, side - room)), float(rng.uniform(room, side - room)))
    turn = _warp(rng, source, height, centre)
    flags = cv2.INTER_AREA if height < source.boxes[0, 3] / 2 else cv2.INTER_LINEAR
    pixels, turn = _shrunk(source.pixels, turn, height / float(source.boxes[0, 3]))
    fill = rng.integers(0, 60, 3).tolist()
    clean = cv2.warpAffine(pixels, turn, (side, side), flags=flags, borderValue=fill)
    whole = _warp_of(turn, source.pixels, pixels)
    boxes, marks = _moved(source, whole)
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    inside = ((middle > 0) & (middle < side)).all(axis=1) & (boxes[:, 3] >= LEAST / 2)
    return np.asarray(clean, np.uint8), boxes[inside], marks[inside]


def _shrunk(
    pixels: Image, turn: npt.NDArray[np.float64], scale: float
) -> tuple[Image, npt.NDArray[np.float64]]:
    """Halve a picture by areas until the warp shrinks it by less than two: no pixel is skipped."""
    while scale < 0.5:  # noqa: PLR2004
        pixels = np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
        turn = turn @ np.diag([2.0, 2.0, 1.0])
        scale *= 2
    return pixels, turn


def _warp_of(turn: npt.NDArray[np.float64], full: Image, shrunk: Image) -> npt.NDArray[np.float64]:
    factor = shrunk.shape[1] / full.shape[1]
    return np.asarray(turn @ np.diag([factor, factor, 1.0]), np.float64)


def _with_face(
    rng: np.random.Generator, canvas: Image, source: Portrait, found: list[tuple[Points, Points]]
) -> Image:
    """Return `canvas` with the face laid on, and enter it in `found`, unless it would cover another."""
    side = canvas.shape[0]
    height = _height(rng, side)
    room = height * 0.45
    centre = (float(rng.uniform(room, side - room)), float(rng.uniform(room, side - room)))
    turn = _warp(rng, source, height, centre)
    boxes, marks = _moved(source, turn)
    for box, _ in found:
        apart = np.abs(box[:2] + box[2:] / 2 - centre) * 2 > (box[2:] + boxes[0, 2:]) * 1.2
        if not apart.any():
            return canvas
    pixels, small = _shrunk(source.pixels, turn, height / float(source.boxes[0, 3]))
    face = cv2.warpAffine(
        pixels, small, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    mask = np.zeros((side, side), np.float32)
    w, h = (float(v) for v in boxes[0, 2:])
    angle = float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
    axes = (max(1, int(w * rng.uniform(0.62, 0.78))), max(1, int(h * rng.uniform(0.6, 0.7))))
    cv2.ellipse(mask, (round(centre[0]), round(centre[1])), axes, angle, 0, 360, 1.0, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.6, h * float(rng.uniform(0.02, 0.07))))[..., None]
    found.append((boxes[0], marks[0]))
    return np.asarray(canvas * (1 - soft) + np.asarray(face, np.float32) * soft, np.float32).astype(np.uint8)


def _height(rng: np.random.Generator, side: int) -> float:
    return float(np.exp(rng.uniform(np.log(LEAST), np.log(min(MOST, 0.85 * side)))))


def _with_ash(rng: np.random.Generator, image: Image, box: Points) -> Image:
    """Lay ash on one face, and sometimes where there is none, so that ash alone is no sign of a face."""
    level = int(rng.choice(len(ASH), p=ASH))
    x, y, w, h = (float(v) for v in box)
    out = coal_ash(image, level, rng, face=(x, y, w, h))
    if rng.random() < DECOYS:
        left, top = (float(rng.uniform(-0.3 * w, image.shape[1] - 0.7 * w)) for _ in range(2))
        out = coal_ash(out, int(rng.integers(2, 4)), rng, face=(left, top, w, h))
    return out
