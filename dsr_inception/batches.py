"""Training pictures: decoded once, cropped with a detector's inaccuracy, and put into the mine.

All training photos are kept decoded in one memory-mapped file. A thread of its own cuts the next
batches while the network computes: the aligned crop at the phase's side, moved, turned and scaled by
about what a detector's landmarks are off, mirrored half of the time, and for a share of the pictures
degraded by ``calibration.conditions``. The teacher saw the clean photo.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from calibration.conditions import degrade
from edge_app.faces.preprocess import ARCFACE_TEMPLATE_112, landmarks_of_aligned, similarity_transform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dsr_inception.datasets import Photo, PhotoSet
    from dsr_inception.recipe import Phase

    Image = npt.NDArray[np.uint8]

#: Standard deviations of rotation (radians), logarithm of scale, and shift (share of the side).
TURN: Final = 0.06
SCALE: Final = 0.05
SHIFT: Final = 0.022
#: Severities drawn from for a degraded picture, and how often the rest see an ordinary camera.
SEVERITIES: Final = ("mine", "mine", "mild", "dark_dust")
CAMERA: Final = 0.5
AHEAD: Final = 6
PHOTO_SIDE: Final = 128


def decoded(photos: PhotoSet, chosen: Sequence[Photo], cache: Path) -> Image:
    """Return the photos, (N, 128, 128, 3) uint8 BGR, memory-mapped from `cache`, made if missing.

    Raises:
        DataError: a photo cannot be read.
    """
    shape = (len(chosen), PHOTO_SIDE, PHOTO_SIDE, 3)
    if cache.is_file():
        kept = np.load(cache, mmap_mode="r")
        if kept.shape == shape:
            return np.asarray(kept)
    cache.parent.mkdir(parents=True, exist_ok=True)
    aside = cache.with_suffix(".part.npy")
    pixels = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=shape)
    for slot, photo in zip(pixels, chosen, strict=True):
        image = photos.read(photo)
        same = image.shape == shape[1:]
        slot[...] = image if same else cv2.resize(image, shape[1:3], interpolation=cv2.INTER_AREA)
    pixels.flush()
    aside.replace(cache)
    return np.asarray(np.load(cache, mmap_mode="r"))


def upright_crops(pixels: Image, rows: npt.NDArray[np.integer], side: int) -> Image:
    """Return the plain crops of some photos, (len(rows), side, side, 3) uint8 RGB."""
    matrix = _onto_template(pixels.shape[1], side)
    crops = [
        cv2.warpAffine(np.asarray(pixels[i]), matrix, (side, side), flags=cv2.INTER_LINEAR) for i in rows
    ]
    return np.ascontiguousarray(np.stack(crops)[..., ::-1], np.uint8)


def _onto_template(photo_side: int, side: int) -> npt.NDArray[np.float64]:
    return similarity_transform(landmarks_of_aligned(photo_side), ARCFACE_TEMPLATE_112 * (side / 112))


def jittered_crop(photo: Image, side: int, rng: np.random.Generator) -> Image:
    """Return a crop of `photo` on the template at `side`, moved at random: (side, side, 3) uint8 BGR."""
    matrix = _onto_template(photo.shape[1], side)
    angle, scale = rng.normal(0, TURN), np.exp(rng.normal(0, SCALE))
    shift, middle = rng.normal(0, SHIFT, 2) * side, side / 2
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = np.empty((2, 3))
    moved[:, :2] = turn @ matrix[:, :2]
    moved[:, 2] = turn @ (matrix[:, 2] - middle) + middle + shift
    if rng.integers(2):
        moved[0] = [-moved[0, 0], -moved[0, 1], side - 1 - moved[0, 2]]
    return np.asarray(cv2.warpAffine(photo, moved, (side, side), flags=cv2.INTER_LINEAR), np.uint8)


def training_picture(photo: Image, phase: Phase, rng: np.random.Generator) -> Image:
    """Return one augmented picture, (side, side, 3) uint8 RGB."""
    side = phase.side
    picture = jittered_crop(photo, side, rng)
    if rng.random() < phase.degraded:
        name = SEVERITIES[rng.integers(len(SEVERITIES))]
        picture = degrade(picture, name, rng, face=(0.12 * side, 0.05 * side, 0.76 * side, 0.85 * side))
    elif rng.random() < CAMERA:
        picture = degrade(picture, "camera", rng)
    return picture[:, :, ::-1]


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures, (B, side, side, 3) uint8 RGB, and which photos they are, (B,)."""

    pictures: Image
    rows: npt.NDArray[np.int64]


class Batches:
    """A thread that cuts batches ahead.

    Args:
        pixels: all photos, (N, 128, 128, 3) uint8 BGR.
        phase: called for every batch: which phase is it now.
        seed: same seed, same pictures in the same order while the phases fall alike.
        workers: threads that cut; half of the cores without, for the network needs the others.
    """

    def __init__(
        self, pixels: Image, phase: Callable[[], Phase], *, seed: int, workers: int | None = None
    ) -> None:
        self._pixels, self._phase = pixels, phase
        self._workers = workers or max(1, (os.cpu_count() or 2) // 2)
        self._rng = np.random.default_rng(seed)
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="batches", daemon=True)
        self._thread.start()

    def next(self) -> Batch:
        """Return the next batch; what the thread failed with is raised here."""
        batch = self._ready.get()
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._ready.get(timeout=0.05)

    def _fill(self) -> None:
        order: list[int] = []
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="cut")
        try:
            while not self._stop.is_set():
                phase = self._phase()
                while len(order) < phase.batch:
                    order += self._rng.permutation(len(self._pixels)).tolist()
                rows, order = order[: phase.batch], order[phase.batch :]
                seeds = self._rng.integers(2**63, size=len(rows))
                pictures = pool.map(self._cut, rows, seeds, repeat(phase))
                self._ready.put(Batch(np.stack(list(pictures)), np.array(rows)))
        except BaseException as error:  # noqa: BLE001 -- handed to the training loop, which raises it
            self._ready.put(error)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _cut(self, row: int, seed: int, phase: Phase) -> Image:
        return training_picture(np.asarray(self._pixels[row]), phase, np.random.default_rng(seed))
