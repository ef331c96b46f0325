"""From the sets' pictures to the aligned 224 crops that every recogniser gets.

Aligned sets go through ``preprocess.align`` at the places where their landmarks are by construction.
Miner-face photos are not aligned: the ash (the frozen yardstick or ours) is laid on the whole photo, a
face detector runs on what comes out, and where it finds nothing the landmarks of the clean photo are
used and counted, so that a figure for recognition does not hide one for detection.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from calibration.ash import coal_ash
from calibration.conditions import degrade
from dsr_inception.errors import DataError
from edge_app.faces.preprocess import CROP_SIZE, align, landmarks_of_aligned
from edge_app.records import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dsr_inception.datasets import MinerPhoto, Photo, PhotoSet
    from edge_app.faces.detect import Detector

    Image = npt.NDArray[np.uint8]
    Ash = Callable[[Image, tuple[float, float, float, float], int, str], Image]

LEVELS: Final = ("clean", "light", "heavy")
#: The face in a 224 crop, x, y, width, height: where ash is laid on an aligned picture.
FACE_IN_CROP: Final = (27.0, 11.0, 170.0, 190.0)
#: A detection belongs to the photo's person if it overlaps the manifest's box this much.
SAME_FACE: Final = 0.3


def aligned_crops(photos: PhotoSet, chosen: Sequence[Photo | str]) -> Image:
    """Return the crops of aligned photos, (N, 224, 224, 3) uint8 RGB."""
    out = np.empty((len(chosen), CROP_SIZE, CROP_SIZE, 3), np.uint8)
    for slot, photo in zip(out, chosen, strict=True):
        image = photos.read(photo)
        slot[...] = align(image, landmarks_of_aligned(image.shape[1]))
    return out


def degraded_crops(crops: Image, condition: str, *, seed: int) -> Image:
    """Return `crops` under `condition`: clean, light or heavy (ash alone), or a name of ``SEVERITIES``."""
    if condition == LEVELS[0]:
        return crops
    out = np.empty_like(crops)
    for number, crop in enumerate(crops):
        rng = np.random.default_rng([seed, number])
        picture = np.ascontiguousarray(crop[:, :, ::-1])
        if condition in LEVELS:
            picture = coal_ash(picture, LEVELS.index(condition), rng, face=FACE_IN_CROP)
        else:
            picture = degrade(picture, condition, rng, face=FACE_IN_CROP)
        out[number] = picture[:, :, ::-1]
    return out


def reference_ash(path: Path) -> Ash:
    """Return the frozen yardstick's ``ash(image, box, level, key)`` from its file, ``ash_reference.py``.

    Raises:
        DataError: the file is missing.
    """
    if not path.is_file():
        raise DataError(f"the ash yardstick is missing: put ash_reference.py at {path}, or give --ash")
    spec = importlib.util.spec_from_file_location("ash_reference", path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["ash_reference"] = module
    spec.loader.exec_module(module)
    ash: Any = module.ash
    return ash  # type: ignore[no-any-return]


def own_ash(image: Image, box: tuple[float, float, float, float], level: int, key: str) -> Image:
    """Return `image` with this project's simulated ash, seeded by `key` like the yardstick."""
    seed = np.frombuffer(key.encode().ljust(4, b" "), np.uint8)
    return coal_ash(image, level, np.random.default_rng(seed.tolist()), face=box)


@dataclass(frozen=True, slots=True)
class MinerCrops:
    """The crops of one ash level, (N, 224, 224, 3) uint8 RGB, and whether the face was found, (N,) bool."""

    crops: Image
    found: npt.NDArray[np.bool_]


def miner_crops(
    photos: PhotoSet, chosen: Sequence[MinerPhoto], detector: Detector, ash: Ash
) -> dict[str, MinerCrops]:
    """Return the crops of `chosen` for each of `LEVELS`.

    Where no face is found under ash its place in the clean photo is taken, and where it is not found there
    either, that of an average face in the manifest's box.

    Raises:
        DataError: a photo cannot be read.
    """
    crops = {level: np.empty((len(chosen), CROP_SIZE, CROP_SIZE, 3), np.uint8) for level in LEVELS}
    found = {level: np.zeros(len(chosen), bool) for level in LEVELS}
    for number, photo in enumerate(chosen):
        image = photos.read(photo.file)
        clean: npt.NDArray[np.float32] | None = None
        for index, level in enumerate(LEVELS):
            seen = ash(image, photo.box, index, f"{photo.person}/{photo.pose}/{index}")
            marks = _landmarks(detector, seen, photo.box)
            found[level][number] = marks is not None
            clean = marks if index == 0 else clean
            used = marks if marks is not None else clean
            if used is None:
                used = _guessed(photo.box)
            crops[level][number] = align(seen, used)
    return {level: MinerCrops(crops[level], found[level]) for level in LEVELS}


def _landmarks(
    detector: Detector, image: Image, box: tuple[float, float, float, float]
) -> npt.NDArray[np.float32] | None:
    """Return the landmarks of the detection that overlaps `box` most, None where none does."""
    wanted = Box(*box)
    faces = [(face.box.iou(wanted), face) for face in detector.detect(image)]
    overlap, best = max(faces, key=lambda pair: pair[0], default=(0.0, None))
    return best.landmarks if best is not None and overlap >= SAME_FACE else None


def _guessed(box: tuple[float, float, float, float]) -> npt.NDArray[np.float32]:
    """Return landmarks where they lie in an average face box: for a clean photo without a detection."""
    shares = np.array([[0.3, 0.38], [0.7, 0.38], [0.5, 0.58], [0.34, 0.78], [0.66, 0.78]], np.float32)
    return np.asarray(shares * (box[2], box[3]) + (box[0], box[1]), np.float32)
