"""A stranger as the box would see them: one photo turned into the views of a passage, pooled.

The box compares the pooled views of a track, not a photo (`evidence`), and pooled views are more like
everybody than a single one is. So a cohort of photos is given views: smaller and larger faces, less light, a
veil of dust, noise, a detector's small errors in placing the face. All of it is simulated and mild; what it
is worth is measured by ``python -m benchmarks.cohort``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from edge_app.faces.preprocess import CROP_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Crop = npt.NDArray[np.uint8]

#: Views of a passage, the photo itself among them.
VIEWS: Final = 6
#: Share of the crop's side that a face takes.
_FACE_SHARE: Final = 0.76
_FACE_PX: Final = (36.0, 96.0)
_GAIN: Final = (0.3, 1.0)
_VEIL: Final = (0.0, 0.5)
_GREY: Final = 110.0
_NOISE: Final = (2.0, 8.0)
_TURN_DEG, _SHIFT_PX, _SCALE = 4.0, 5.0, 0.05


def views_of_photo(crop: Crop, *, seed: int) -> Crop:
    """Return `VIEWS` views of one aligned (224, 224, 3) uint8 RGB crop, the crop itself first."""
    rng = np.random.default_rng(seed)
    return np.stack([crop, *(_view(crop, rng) for _ in range(VIEWS - 1))])


def pooled(vectors: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Return the unit mean of several (D,) vectors, as the box pools the views of a track.

    Raises:
        ValueError: they cancel each other out.
    """
    mean = np.mean(vectors, axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-3:  # noqa: PLR2004
        msg = "views that cancel each other out have no mean"
        raise ValueError(msg)
    return np.asarray(mean / length, np.float32)


def _view(crop: Crop, rng: np.random.Generator) -> Crop:
    middle = CROP_SIZE / 2
    matrix = cv2.getRotationMatrix2D(
        (middle, middle), rng.uniform(-_TURN_DEG, _TURN_DEG), 1.0 + rng.uniform(-_SCALE, _SCALE)
    )
    shift = np.array([[0.0, 0.0, rng.uniform(-_SHIFT_PX, _SHIFT_PX)] for _ in range(2)])
    moved = cv2.warpAffine(crop, matrix + shift, (CROP_SIZE, CROP_SIZE), borderMode=cv2.BORDER_REPLICATE)
    side = round(float(np.exp(rng.uniform(*np.log(_FACE_PX)))) / _FACE_SHARE)
    small = cv2.resize(moved, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    veil = rng.uniform(*_VEIL)
    lit = rng.uniform(*_GAIN) * ((1 - veil) * small + veil * _GREY)
    noisy = np.clip(lit + rng.normal(0.0, rng.uniform(*_NOISE), lit.shape), 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(noisy, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)
