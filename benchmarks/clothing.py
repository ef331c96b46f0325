"""What hood and helmet, a small face and ash cost in similarity, each alone and together.

Development people of CelebA are registered bare-headed on two photos each; a third photo passes by as the
field test's figures wear it (`field_test.miner`), well lit and without noise, at faces of several widths, and
under our own simulated ash. The places of the landmarks are known, so no detector has a part in it. Run as
``python -m benchmarks.clothing``; it needs the research data, and says so without it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from benchmarks.research import data_or_word, embedded, parser_for
from calibration.ash import coal_ash
from dsr_inception.crops import aligned_crops
from dsr_inception.datasets import PhotoSet, Splits
from dsr_inception.embedders import unit
from edge_app.embedding.recogniser import Recogniser
from edge_app.faces.preprocess import align, landmarks_of_aligned
from field_test.miner import Outfit, figure_from_face
from field_test.people import ALIGNED_FACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]

PEOPLE: Final = 150
#: What passes by: a name, the face's width in pixels, the level of ash.
CASES: Final = (
    ("in hood and helmet, 91 pixels", 91, 0),
    ("60 pixels", 60, 0),
    ("45 pixels", 45, 0),
    ("60 pixels, light ash", 60, 1),
    ("60 pixels, heavy ash", 60, 2),
)
#: How bright a figure is lit, and what is seen beside it, in linear light.
_LIT, _BEHIND = 1.6, 0.02


def dressed(photo: Image, width: int, ash: int, rng: np.random.Generator) -> Image:
    """Return the crop of `photo`, an aligned head, in hood and helmet with a face `width` pixels wide."""
    dusty = coal_ash(photo, ash, rng, face=ALIGNED_FACE) if ash else photo
    outfit = Outfit(int(rng.integers(4)), int(rng.integers(4)), lamp=False, seed=int(rng.integers(2)))
    figure = figure_from_face(dusty, ALIGNED_FACE, clean=photo if ash else None, outfit=outfit, ash=ash)
    x, y, wide, high = figure.face
    left, top = int(x - wide), int(max(0.0, y - 0.6 * high))
    part = figure.layers[0][top : int(y + 1.7 * high), left : int(x + 2 * wide)]
    linear = part[..., :3] + np.float32(_BEHIND) * (1 - part[..., 3:])
    scale = width / wide
    small = cv2.resize(linear, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture = np.clip((np.maximum(small, 0) * _LIT) ** (1 / 2.2) * 255, 0, 255).astype(np.uint8)
    marks = (landmarks_of_aligned(photo.shape[1]) - ALIGNED_FACE[:2]) * (high / ALIGNED_FACE[3])
    marks = (marks + np.array([x - left, y - top])) * scale
    return align(picture, np.asarray(marks, np.float32))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 0."""
    args = parser_for(__doc__).parse_args(argv)
    data = data_or_word()
    if data is None:
        return 0
    photos, recogniser = PhotoSet(data, "celeba_train"), Recogniser.open(args.model)
    by_person = photos.by_person()
    able = [by_person[who] for who in sorted(Splits.load(data).celeba_development) if len(by_person[who]) > 2]  # noqa: PLR2004 - two register
    first, second, third = zip(*(own[:3] for own in able[:PEOPLE]), strict=True)
    known = unit(sum(embedded(recogniser, aligned_crops(photos, some)) for some in (first, second)))
    heads = [photos.read(photo) for photo in third]
    print(
        "| passes by | similarity, mean | at or above the threshold | nearest is right |\n|---|---|---|---|"
    )
    threshold, rng = recogniser.threshold, np.random.default_rng(0)
    for name, width, ash in (("bare-headed", 0, 0), *CASES):
        worn = [dressed(head, width, ash, rng) for head in heads] if width else None
        crops = aligned_crops(photos, third) if worn is None else np.stack(worn)
        scores = embedded(recogniser, crops) @ known.T
        own = scores.diagonal()
        right = (scores.argmax(axis=1) == np.arange(len(own))).mean()
        print(
            f"| {name} | {own.mean():.3f} | {100 * (own >= threshold).mean():.1f} % | {100 * right:.1f} % |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
