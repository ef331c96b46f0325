"""What a miner wears around the face: a hood that frames it, a helmet whose brim covers the brow.

A photo that registers somebody shows hair and neck; a camera in the tunnel shows an oval of skin in a
hood, cut off at the top by a brim and in its shade. The recogniser must find the same person in both, so
its training draws these things onto photos. They are drawn by other means than the field test's figures
(`field_test.miner`), with wider choices, so that who is trained on these is tested on others.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from calibration.ash import Box, Image, Map

    Colour = Sequence[float] | npt.NDArray[Any]

#: Helmets that mines issue, blue, green, red: white, yellow, orange, red, blue, green, black.
_SHELLS: Final = (
    (225, 228, 228), (50, 200, 235), (30, 110, 235), (40, 40, 190), (170, 80, 30), (70, 130, 50),
    (35, 35, 38),
)  # fmt: skip
#: The share of pictures with a hood; a helmet alone leaves hair and background as they are.
_HOODED: Final = 0.85
_DUST: Final = np.array((78, 82, 86), np.float32)
_TEXTURES: Final = 24


def worn(image: Image, face: Box, rng: np.random.Generator) -> Image:
    """Return `image`, (H, W, 3) uint8 BGR, with hood and helmet drawn around `face`.

    `face` is x, y, width, height in pixels, from the brow to the chin. All randomness comes from `rng`.
    """
    height, width = image.shape[:2]
    x, y, wide, high = face
    middle = np.float32(x + wide * rng.normal(0.5, 0.02))
    across = (np.arange(width, dtype=np.float32)[None, :] - middle) / np.float32(wide)
    down = (np.arange(height, dtype=np.float32)[:, None] - np.float32(y)) / np.float32(high)
    planes = [np.asarray(plane, np.float32) for plane in cv2.split(image)]
    if rng.random() < _HOODED:
        _hood(planes, across, down, rng)
    _helmet(planes, across, down, rng)
    return np.asarray(cv2.merge([cv2.convertScaleAbs(plane) for plane in planes]), np.uint8)


def _hood(planes: list[Map], across: Map, down: Map, rng: np.random.Generator) -> None:
    """Leave an oval of the face; cloth around it, and around the cloth the dark of the tunnel."""
    half, tall = rng.uniform(0.42, 0.6), rng.uniform(0.5, 0.66)
    u, v = across / np.float32(half), (down - np.float32(rng.uniform(0.46, 0.56))) / np.float32(tall)
    distance = cv2.sqrt(u * u + v * v)
    skin = np.clip((1 - distance) * np.float32(rng.uniform(3, 12)), 0, 1)
    edge = np.clip((distance - np.float32(0.55)) / np.float32(0.45), 0, 1)
    shade = 1 - np.float32(rng.uniform(0.1, 0.7)) * edge * edge
    behind = np.clip((distance - np.float32(rng.uniform(1.2, 1.7))) * 8, 0, 1)
    fall = np.clip(np.float32(rng.uniform(0.9, 1.4)) - np.float32(0.5) * distance, 0.15, 1.2)
    shape, hidden = distance.shape, 1 - skin
    cloth = (1 - behind) * hidden * fall * _texture(shape, rng)
    tunnel = behind * hidden * _texture(shape, rng)
    colour, dark = rng.uniform(8, 80) + rng.normal(0, 6, 3), [rng.uniform(5, 90)] * 3
    _lay(planes, skin * shade, (cloth, colour), (tunnel, dark))


def _helmet(planes: list[Map], across: Map, down: Map, rng: np.random.Generator) -> None:
    """Cover all above the brim with the shell, and shade what lies below it."""
    arch, lean = np.float32(rng.uniform(-0.05, 0.14)), np.float32(rng.normal(0, 0.05))
    brim = np.float32(rng.uniform(-0.05, 0.25)) + arch * (across * across - np.float32(0.1)) + lean * across
    below = down - brim
    inside = np.asarray(np.abs(across) < rng.uniform(0.55, 0.9), np.float32)
    reach, dark = np.float32(rng.uniform(0.06, 0.4)), np.float32(rng.uniform(0.15, 0.75))
    shade = 1 - dark * np.clip(1 - below / reach, 0, 1) * inside
    sharpness = np.float32(len(down) * rng.uniform(0.3, 1.2))
    cover = np.clip(np.float32(0.5) - below * sharpness, 0, 1) * inside
    lip = below > -np.float32(rng.uniform(0.02, 0.09))
    light = np.where(lip, np.float32(rng.uniform(0.6, 1.25)), np.float32(1)) * np.float32(rng.uniform(0.3, 1))
    light *= np.clip(np.float32(1.1) - across * across, 0.3, 1)
    shell = np.array(_SHELLS[rng.integers(len(_SHELLS))], np.float32)
    shell += (_DUST - shell) * np.float32(rng.uniform(0, 0.7))
    _lay(planes, (1 - cover) * shade, (cover * light * _texture(cover.shape, rng), shell))


def _lay(planes: list[Map], kept: Map, *layers: tuple[Map, Colour]) -> None:
    """Keep so much of the picture's planes, and add each layer's colour by its map."""
    for channel in range(len(planes)):
        planes[channel] *= kept
        for layer, colour in layers:
            planes[channel] += layer * np.float32(max(0.0, colour[channel]))


def _texture(shape: tuple[int, ...], rng: np.random.Generator) -> Map:
    """Return cloth, plastic or rock in coarse and fine blotches around 1, (H, W) float32."""
    sheet = _sheets(max(shape))[rng.integers(_TEXTURES)]
    top, left = rng.integers(0, len(sheet) - np.array(shape) + 1)
    return sheet[top : top + shape[0], left : left + shape[1]]


@functools.cache
def _sheets(side: int) -> tuple[Map, ...]:
    """Return the sheets that textures are cut from, twice `side` wide and high."""
    rng, size = np.random.default_rng(side), (2 * side, 2 * side)
    return tuple(_sheet(rng, size) for _ in range(_TEXTURES))


def _sheet(rng: np.random.Generator, size: tuple[int, int]) -> Map:
    coarse = 0.75 + 0.5 * rng.random((int(rng.integers(5, 18)),) * 2)
    fine = 0.9 + 0.2 * rng.random((size[0] // 3, size[1] // 3))
    blotches = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC) * cv2.resize(fine, size)
    return np.asarray(blotches, np.float32)
