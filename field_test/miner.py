"""A miner to walk through the tunnel: the face of a photo in a hood, under a helmet, in work clothes.

Only the face itself is taken from the photo, as a soft oval; everything around it is drawn: the hood that
frames it, the helmet with its lamp, collar, jacket and its reflecting stripes. So there is no background
to be cut away and no edge to give the cut away, and an aligned head of 128 pixels becomes a person as
well as a portrait does. The photo's own exposure is taken out (a face reflects what skin reflects), so
that the tunnel's lamps alone decide how bright it is.

A figure is kept premultiplied in linear light, (H, W, 4) float32, at two sizes. Its shades are drawn in:
the brim's on the brow, the hood's around the face, the fall of light towards the legs.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from field_test.scene import noise

if TYPE_CHECKING:
    import numpy.typing as npt

    Picture = npt.NDArray[np.float32]
    Image = npt.NDArray[np.uint8]
    #: Left, top, width, height in pixels.
    FaceBox = tuple[float, float, float, float]

#: Pixels that a figure's face is high, at its two sizes; the larger is about the largest in a clip.
SIZES: Final = (120, 60)
#: The figure reaches so many face heights above the face box, below its top, and to either side.
_ABOVE, _BELOW, _ASIDE = 0.78, 5.6, 1.5
#: What skin and clothes reflect, in linear light.
_SKIN: Final = 0.26
_HELMETS: Final = ((0.70, 0.70, 0.68), (0.10, 0.48, 0.62), (0.07, 0.07, 0.42), (0.36, 0.16, 0.06))  # BGR
_CLOTHES: Final = ((0.075, 0.055, 0.045), (0.05, 0.055, 0.06), (0.03, 0.10, 0.24), (0.05, 0.075, 0.06))
_DUST: Final = (0.06, 0.064, 0.07)
_BRIM: Final = 0.1
#: Ways in which clothes are worn, and a face's width over its height.
_WORN: Final = 2
_RATIO: Final = 0.76
#: How much of clothes and helmet is covered with dust: clean, light, heavy.
_GRIME: Final = (0.05, 0.3, 0.6)


@dataclass(frozen=True, slots=True)
class Outfit:
    """What somebody wears; `seed` decides folds and grime."""

    helmet: int = 0
    clothes: int = 0
    lamp: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure at each of `SIZES`: premultiplied BGR and alpha, (H, W, 4) float32.

    `face` is the face's box and `lamp` the lamp's centre, in pixels of the larger size; `lit` whether it
    burns. `has_face` is False for somebody seen from behind.
    """

    layers: tuple[Picture, ...]
    face: FaceBox
    lamp: tuple[float, float]
    lit: bool
    has_face: bool


def figure_from_face(
    photo: Image, box: FaceBox, *, clean: Image | None, outfit: Outfit, ash: int = 0, yaw: float = 0.0
) -> Figure:
    """Return the figure with the face `box` of `photo`, (H, W, 3) uint8 BGR, with or without ash on it.

    Args:
        photo: the face as it is to be seen.
        box: of the face, in pixels of `photo`.
        clean: the same photo without ash, which tells its exposure; None if `photo` is.
        outfit: what is drawn around the face.
        ash: level, for the clothes' grime.
        yaw: degrees to the right of the picture; helmet and lamp turn with the head.
    """
    canvas, face = _clothed(box[2] / box[3], outfit, ash)
    _draw_hood(canvas, face, outfit, ash)
    _put_face(canvas, face, photo, box, clean)
    lamp = _draw_helmet(canvas, face, outfit, ash, yaw)
    return Figure(_sizes(canvas), face, lamp, outfit.lamp, has_face=True)


def figure_from_behind(*, outfit: Outfit, ash: int = 0) -> Figure:
    """Return the figure of somebody who walks away: hood and helmet, no face."""
    canvas, face = _clothed(_RATIO, outfit, ash)
    _draw_hood(canvas, face, outfit, ash)
    lamp = _draw_helmet(canvas, face, outfit, ash, 0.0)
    return Figure(_sizes(canvas), face, lamp, lit=False, has_face=False)


def _clothed(ratio: float, outfit: Outfit, ash: int) -> tuple[Picture, FaceBox]:
    """Return a figure in its clothes, without a head, and the place of the face's box in it."""
    body = _body(outfit.clothes % len(_CLOTHES), outfit.seed % _WORN, ash).copy()
    unit = float(SIZES[0])
    wide = float(np.clip(ratio, 0.62, 0.95)) * unit
    return body, (body.shape[1] / 2 - wide / 2, _ABOVE * unit, wide, unit)


def _sizes(canvas: Picture) -> tuple[Picture, ...]:
    small = [
        cv2.resize(canvas, None, fx=size / SIZES[0], fy=size / SIZES[0], interpolation=cv2.INTER_AREA)
        for size in SIZES[1:]
    ]
    return (canvas, *(np.asarray(one, np.float32) for one in small))


def _over(canvas: Picture, colour: npt.NDArray[Any], alpha: Picture, top: int = 0, left: int = 0) -> None:
    """Lay `colour` (h, w, 3) with `alpha` (h, w) over the canvas at `top`, `left`."""
    part = canvas[top : top + alpha.shape[0], left : left + alpha.shape[1]]
    kept = (1 - alpha)[:, :, None]
    part[:, :, :3] = part[:, :, :3] * kept + colour * alpha[:, :, None]
    part[:, :, 3] = part[:, :, 3] * kept[:, :, 0] + alpha


def _soft(mask: npt.NDArray[Any], deviation: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), deviation), np.float32)


def _filled(shape: tuple[int, int], points: npt.NDArray[Any], deviation: float) -> Picture:
    """Return a soft mask of a closed outline in pixels."""
    mask = np.zeros(shape, np.float32)
    cv2.fillPoly(mask, [np.round(points * 8).astype(np.int32)], 1.0, cv2.LINE_AA, 3)
    return _soft(mask, deviation)


@functools.lru_cache(maxsize=64)
def _cloth(shape: tuple[int, int], colour: tuple[float, ...], seed: int, ash: int, salt: int) -> Picture:
    """Return worn cloth or plastic, (H, W, 3): its colour in folds, with dust on it."""
    rng = np.random.default_rng([seed, salt])
    folds = np.float32(0.6) + np.float32(0.8) * noise(rng, shape, octaves=4)
    plain = np.array(colour, np.float32) * folds[:, :, None]
    dust = np.clip(noise(rng, shape, octaves=5) * 1.2 - 0.6 + _GRIME[ash], 0, 0.85)[:, :, None]
    return np.asarray(plain * (1 - dust) + np.array(_DUST, np.float32) * dust, np.float32)


@functools.lru_cache(maxsize=24)
def _body(clothes: int, seed: int, ash: int) -> Picture:
    """Return a canvas with the jacket on it, (H, W, 4); shared, so copy before drawing."""
    unit = float(SIZES[0])
    width, height = round(2 * _ASIDE * unit), round((_ABOVE + _BELOW) * unit)
    canvas, brow, middle = np.zeros((height, width, 4), np.float32), _ABOVE * unit, width / 2
    points = np.array(
        [(-0.2, 0.95), (-0.42, 1.22), (-0.95, 1.5), (-1.14, 1.85), (-1.22, 3.0), (-1.1, 6.0)], np.float64
    )
    outline = np.concatenate([points, points[::-1] * (-1, 1)]) * unit + (middle, brow)
    alpha = _filled((height, width), outline, unit * 0.02)
    half = _cloth((height // 2, width // 2), _CLOTHES[clothes], seed, ash, 1)
    cloth = np.asarray(cv2.resize(half, (width, height)), np.float32)
    rows = (np.arange(height, dtype=np.float32) - np.float32(brow)) / np.float32(unit)
    stripes = np.zeros((height, width), np.float32)
    for side in (-0.55, 0.55):
        left, right = (round(middle + (side + d) * unit) for d in (-0.09, 0.09))
        stripes[round(brow + 1.45 * unit) :, left:right] = 1
    stripes[round(brow + 2.55 * unit) : round(brow + 2.75 * unit)] = 1
    stripes = _soft(stripes, unit * 0.012) * np.float32(0.8 - _GRIME[ash])
    cloth = cloth * (1 - stripes[:, :, None]) + np.float32(0.42) * stripes[:, :, None]
    # The lamps are above: shoulders have most of it, legs are left in the dark; sides turn away.
    aside = np.abs(np.arange(width, dtype=np.float32) - np.float32(middle)) / np.float32(unit)
    shade = np.exp(-np.maximum(rows - 0.6, 0) / np.float32(1.9))[:, None] * (1 - 0.3 * (aside / 1.2) ** 2)
    alpha *= np.clip((np.float32(_BELOW) - rows) / 1.2, 0, 1)[:, None]
    _over(canvas, cloth * np.clip(shade, 0, 1)[:, :, None], alpha)
    return canvas


def _draw_hood(canvas: Picture, face: FaceBox, outfit: Outfit, ash: int) -> None:
    unit = face[3]
    rows, columns = np.mgrid[: round(unit * 2.6), : canvas.shape[1]].astype(np.float32)
    u = (columns - (face[0] + face[2] / 2)) / np.float32(0.5 * face[2] + 0.13 * unit)
    v = (rows - (face[1] + 0.5 * unit)) / np.float32(0.72 * unit)
    distance = np.sqrt(u**2 + np.where(v > 0, v * 0.9, v) ** 2)
    alpha = np.clip((1 - distance) * unit * 0.25, 0, 1)
    cloth = _cloth((rows.shape[0], rows.shape[1]), (0.035, 0.035, 0.038), outfit.seed % _WORN, ash, 2)
    shade = np.clip(1.25 - 0.75 * distance, 0.2, 1)
    _over(canvas, cloth * shade[:, :, None], np.asarray(alpha, np.float32))


def _put_face(canvas: Picture, face: FaceBox, photo: Image, box: FaceBox, clean: Image | None) -> None:
    """Lay the photo's face into the hood: an oval, soft at its edge and shaded where the hood is near."""
    unit = face[3]
    scale = unit / box[3]
    pad = round(unit * 0.2)
    size = (round(face[2]) + 2 * pad, round(unit) + 2 * pad)
    move = np.array([[scale, 0, pad - box[0] * scale], [0, scale, pad - box[1] * scale]], np.float64)
    if scale < 0.7:  # noqa: PLR2004 - without skipping pixels
        photo = _shrunk(photo, scale)
        clean = None if clean is None else _shrunk(clean, scale)
        move[:, :2] = np.eye(2)
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    patch = cv2.warpAffine(photo, move, size, flags=method, borderMode=cv2.BORDER_REPLICATE)
    plain = patch if clean is None else cv2.warpAffine(clean, move, size, borderMode=cv2.BORDER_REPLICATE)
    linear = (patch.astype(np.float32) / np.float32(255)) ** np.float32(2.2)
    rows, columns = np.mgrid[: size[1], : size[0]].astype(np.float32)
    u = (columns - np.float32(size[0] / 2)) / np.float32(face[2] * 0.53)
    v = (rows - np.float32(pad + unit * 0.49)) / np.float32(unit * 0.6)
    distance = np.sqrt(u**2 + v**2)
    alpha = np.clip((np.float32(1.0) - distance) * np.float32(7), 0, 1)
    alpha = alpha * alpha * (3 - 2 * alpha)
    shade = 1 - np.float32(0.55) * np.clip((distance - np.float32(0.62)) / np.float32(0.38), 0, 1) ** 2
    top, left = round(face[1]) - pad, round(face[0]) - pad
    _over(canvas, linear * (_exposure(plain) * shade)[:, :, None], np.asarray(alpha, np.float32), top, left)


def _shrunk(photo: Image, scale: float) -> Image:
    return np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _exposure(patch: npt.NDArray[Any]) -> np.float32:
    """Return the factor that makes the middle of a clean face as bright as skin is, within bounds."""
    height, width = patch.shape[:2]
    middle = patch[height // 4 : -height // 4, width // 4 : -width // 4].astype(np.float32) / np.float32(255)
    mean = float((middle ** np.float32(2.2)).mean())
    return np.float32(np.clip(_SKIN / max(mean, 1e-3), 0.45, 2.2))


def _draw_helmet(canvas: Picture, face: FaceBox, outfit: Outfit, ash: int, yaw: float) -> tuple[float, float]:
    """Draw helmet, brim and lamp, and the brim's shade on the brow; return the lamp's centre."""
    unit = face[3]
    turned = float(np.sin(np.deg2rad(yaw)))
    middle = face[0] + face[2] / 2 - 0.06 * unit * turned
    bottom = face[1] + 0.03 * unit
    wide = face[2] / 2 + 0.17 * unit
    rows, columns = np.mgrid[: round(bottom + 0.5 * unit), : canvas.shape[1]].astype(np.float32)
    u, v = (columns - np.float32(middle)) / np.float32(wide), (rows - np.float32(bottom)) / np.float32(unit)
    # The shade first: it lies on what is there.
    dark = 0.5 * np.clip(1 - v / 0.27, 0, 1) * (v > -_BRIM) * (np.abs(u) < 1)
    canvas[: rows.shape[0], :, :3] *= (1 - _soft(dark.astype(np.float32), unit * 0.03))[:, :, None]
    dome = np.sqrt(np.clip(u, -2, 2) ** 2 + (v / 0.68) ** 2)
    alpha = np.clip((1 - dome) * unit * 0.3, 0, 1) * (v < 0)
    brim_at = v + 0.045 * (1 - np.clip(np.abs(u), 0, 1) ** 2) * -1.0
    brim = (np.abs(brim_at) < 0.055) & (np.abs(u) < 1.08)  # noqa: PLR2004 - a shape
    alpha = np.maximum(alpha, _soft(brim.astype(np.float32), unit * 0.012))
    shell = _HELMETS[outfit.helmet % len(_HELMETS)]
    plastic = _cloth((rows.shape[0], rows.shape[1]), shell, outfit.seed % _WORN, ash, 3)
    shine = 0.45 + 0.75 * np.exp(-((u + 0.15) ** 2) / 0.25 - ((v + 0.42) ** 2) / 0.05)
    shine = np.where(brim, 0.75, shine * np.clip(1.1 - 0.5 * u**2, 0, 1))
    _over(canvas, plastic * shine.astype(np.float32)[:, :, None], np.asarray(alpha, np.float32))
    lamp = (middle + 0.28 * unit * turned, bottom - 0.3 * unit)
    for radius, value in ((0.125, 0.02), (0.095, 0.5 if outfit.lamp else 0.12)):
        disc = np.hypot(columns - np.float32(lamp[0]), rows - np.float32(lamp[1]))
        spot = np.clip(np.float32(radius * unit) - disc + np.float32(0.5), 0, 1)
        _over(canvas, np.full((*rows.shape, 3), value, np.float32), np.asarray(spot, np.float32))
    return lamp
