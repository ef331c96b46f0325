"""A contact sheet of the simulated conditions, for a person to judge: does this look like ash?

One row a family of ash at its two levels, one for each effect of light and camera, one for each
composed severity; each column is another seed. The picture must be one that may be shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from calibration.ash import FAMILIES, LEVELS, Image, coal_ash
from calibration.conditions import EFFECTS, SEVERITIES, degrade
from edge_app.errors import PhotoError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLUMNS: Final = 6
SIDE: Final = 112
QUALITY: Final = 60


def _rows(face: Image) -> Iterator[tuple[str, list[Image]]]:
    """Yield each row's caption and its pictures."""
    height, width = face.shape[:2]
    box = (0.2 * width, 0.12 * height, 0.6 * width, 0.75 * height)
    seeds = [np.random.default_rng(seed) for seed in range(COLUMNS)]
    for family in FAMILIES:
        half = COLUMNS // len(LEVELS)
        pictures = [
            coal_ash(face, level, rng, face=box, family=family) for level in LEVELS for rng in seeds[:half]
        ]
        yield f"{family}: light, heavy", pictures
    yield "heavy ash, mixed", [coal_ash(face, 2, rng, face=box) for rng in seeds]
    for name, effect in EFFECTS.items():
        yield name, [effect(face, rng) for rng in seeds]
    for name in SEVERITIES:
        yield f"severity {name}", [degrade(face, name, rng, face=box) for rng in seeds]


def contact_sheet(photo: Path, out: Path) -> None:
    """Write the sheet of `photo`, a face that fills the picture, to `out` (JPEG or PNG by its name).

    Raises:
        PhotoError: `photo` cannot be read as a picture, or `out` cannot be written.
    """
    image = cv2.imread(str(photo))
    if image is None:
        raise PhotoError(f"{photo} is no readable picture", fix="give a photo of one face")
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    face = cv2.resize(image[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)
    strips = []
    for caption, pictures in _rows(np.asarray(face, np.uint8)):
        small = [cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for p in pictures]
        strip = np.concatenate(small, axis=1)
        for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(strip, caption, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.36, colour, thick, cv2.LINE_AA)
        strips.append(strip)
    if not cv2.haveImageWriter(str(out)):
        raise PhotoError(f"{out} is no picture's name", fix="give a name that ends in .jpg or .png")
    out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(out), np.concatenate(strips), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]):
        raise PhotoError(f"{out} cannot be written", fix="look at the folder and its disk")
