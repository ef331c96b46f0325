"""The golden pictures: what every engine is shown at its start, drawn by arithmetic, needing no file.

Two faces as a child would draw them, on whole numbers only, so that every machine and every NumPy draws
the same bytes: light from one side, hair, eyes, a mouth, and a fine grain that reaches the first layers.
What the FP32 model says to them stands in an engine's manifest; an engine that says something else was
damaged, built wrongly, or belongs to another model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.faces.preprocess import CROP_SIZE, normalise

if TYPE_CHECKING:
    import numpy.typing as npt

#: Counted up when the pictures change; stands in every golden record.
GOLDEN_ID: Final = "golden-v1"


@dataclass(frozen=True, slots=True)
class _Face:
    """Colours (RGB), light from the left, how far the eyes look aside, and the mouth's height (pixels)."""

    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    back: tuple[int, int, int]
    light: int
    shift: int
    mouth: int


_FACES: Final = (
    _Face(skin=(196, 150, 122), hair=(52, 40, 34), back=(38, 42, 48), light=3, shift=0, mouth=14),
    _Face(skin=(128, 92, 70), hair=(24, 22, 22), back=(92, 84, 74), light=-4, shift=6, mouth=22),
)
#: Where the nose ends, the brows end and the mouth begins, pixels from the top.
_NOSE, _BROWS, _LIPS = 152, 84, 180


def golden_pictures() -> npt.NDArray[np.uint8]:
    """Return the golden pictures, (2, 224, 224, 3) uint8 RGB."""
    return np.stack([_draw(number, face) for number, face in enumerate(_FACES, start=1)])


def golden_batch() -> npt.NDArray[np.float32]:
    """Return the golden pictures as an engine takes them, (2, 3, 224, 224) float32 in -1..1."""
    planes = [normalise(picture).transpose(2, 0, 1) for picture in golden_pictures()]
    return np.ascontiguousarray(np.stack(planes), dtype=np.float32)


def _draw(number: int, face: _Face) -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[0:CROP_SIZE, 0:CROP_SIZE].astype(np.int64)

    def ellipse(cx: int, cy: int, rx: int, ry: int) -> npt.NDArray[np.bool_]:
        inside: npt.NDArray[np.bool_] = ((x - cx) * ry) ** 2 + ((y - cy) * rx) ** 2 <= (rx * ry) ** 2
        return inside

    picture = np.empty((CROP_SIZE, CROP_SIZE, 3), dtype=np.int64)
    picture[...] = face.back
    picture[ellipse(112, 96, 92, 100)] = face.hair
    picture[ellipse(112, 124, 78, 94)] = face.skin
    picture[ellipse(112, 150, 16, 34) & (y < _NOSE)] += 18
    for eye in (77 + face.shift, 148 + face.shift):
        picture[ellipse(eye, 84, 26, 6) & (y < _BROWS)] = face.hair
        picture[ellipse(eye, 103, 18, 9)] = (232, 228, 222)
        picture[ellipse(eye, 103, 8, 8)] = (40, 30, 26)
    picture[ellipse(112 + face.shift, 182, 34, face.mouth) & (y > _LIPS)] = (142, 62, 62)
    shade = face.light * (112 - x) // 8 + (112 - y) // 10
    grain = ((x * 7919 + y * 104729 + number * 15485863 + x * y * 31) >> 3) % 17 - 8
    picture += (shade + grain)[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)
