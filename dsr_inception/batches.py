"""Training pictures: decoded once, cropped with a detector's inaccuracy, and put into the mine.

All training photos are kept decoded in one memory-mapped file. The next batches are cut while the network
computes, by a thread on a small machine and by processes where there are cores for it (threads of Python
would hold each other up): the aligned crop at the phase's side, moved, turned and scaled by about what a
detector's landmarks are off, mirrored half of the time, and for a share of the pictures degraded by
``calibration.conditions``. The teacher saw the clean photo.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import multiprocessing
import os
import queue
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from calibration.conditions import degrade
from edge_app.faces.preprocess import ARCFACE_TEMPLATE_112, landmarks_of_aligned, similarity_transform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor, Future
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
SEVERITIES: Final = ("miner", "miner", "miner", "miner", "mine", "mine", "mild", "dark_dust")
CAMERA: Final = 0.5
AHEAD: Final = 6
PHOTO_SIDE: Final = 128
#: So many workers are threads: on two cores the network computes in the others.
FEW: Final = 2


def decoded(photos: PhotoSet, chosen: Sequence[Photo], cache: Path) -> Image:
    """Return the photos, (N, 128, 128, 3) uint8 BGR, memory-mapped from `cache`, made if missing.

    Raises:
        DataError: a photo cannot be read.
    """
    shape = (len(chosen), PHOTO_SIDE, PHOTO_SIDE, 3)
    if cache.is_file():
        kept = _mapped(cache)
        if kept.shape == shape:
            return kept
    cache.parent.mkdir(parents=True, exist_ok=True)
    aside = cache.with_suffix(".part.npy")
    pixels = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=shape)

    def decode(row: int) -> None:
        image = photos.read(chosen[row])
        same = image.shape == shape[1:]
        pixels[row] = image if same else cv2.resize(image, shape[1:3], interpolation=cv2.INTER_AREA)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(decode, range(len(chosen))):
            pass
    pixels.flush()
    aside.replace(cache)
    return _mapped(cache)


def _mapped(path: Path | str) -> Image:
    photos: Image = np.load(path, mmap_mode="r")
    return photos


def upright_crops(pixels: Image, rows: npt.NDArray[np.integer], side: int) -> Image:
    """Return the plain crops of some photos, (len(rows), side, side, 3) uint8 RGB."""
    matrix = _onto_template(pixels.shape[1], side)
    crops = [
        cv2.warpAffine(np.asarray(pixels[i]), matrix, (side, side), flags=cv2.INTER_LINEAR) for i in rows
    ]
    return np.ascontiguousarray(np.stack(crops)[..., ::-1], np.uint8)


@functools.cache
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
    """A thread that has batches cut ahead, one worker a batch.

    Args:
        pixels: all photos, (N, 128, 128, 3) uint8 BGR.
        phase: called for every batch: which phase is it now.
        seed: same seed, same pictures in the same order while the phases fall alike.
        workers: that cut; without, half of up to four cores, for the network needs the others, and all
            but two of more. More than `FEW` are processes, where `pixels` is `decoded`'s file.
    """

    def __init__(
        self, pixels: Image, phase: Callable[[], Phase], *, seed: int, workers: int | None = None
    ) -> None:
        self._count, self._phase = len(pixels), phase
        cores = os.cpu_count() or 2
        self._workers = workers or max(1, cores // 2, cores - 2)
        self._pool, self._cut = _pool(pixels, self._workers)
        self._rng = np.random.default_rng(seed)
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="batches", daemon=True)
        self._thread.start()

    def next(self) -> Batch:
        """Return the next batch; what cutting it failed with is raised here."""
        batch = self._ready.get()
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def close(self) -> None:
        """Stop the thread and the workers."""
        self._stop.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._ready.get(timeout=0.05)

    def _fill(self) -> None:
        order: list[int] = []
        cutting: collections.deque[Future[Batch]] = collections.deque()
        try:
            while not self._stop.is_set():
                while len(cutting) < AHEAD + self._workers:
                    phase = self._phase()
                    while len(order) < phase.batch:
                        order += self._rng.permutation(self._count).tolist()
                    rows, order = order[: phase.batch], order[phase.batch :]
                    seeds = self._rng.integers(2**63, size=len(rows)).tolist()
                    cutting.append(self._pool.submit(self._cut, rows, seeds, phase))
                self._ready.put(cutting.popleft().result())
        except BaseException as error:  # noqa: BLE001 -- handed to the training loop, which raises it
            self._ready.put(error)
        finally:
            self._pool.shutdown(cancel_futures=True)


def _pool(pixels: Image, workers: int) -> tuple[Executor, Callable[..., Batch]]:
    """Return who cuts, and the function that a worker calls with rows, seeds and phase."""
    if workers <= FEW or not isinstance(pixels, np.memmap):
        return ThreadPoolExecutor(workers, thread_name_prefix="cut"), functools.partial(_cut_from, pixels)
    context = multiprocessing.get_context("spawn")  # a forked one would share the backend's locks
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(str(pixels.filename),))
    return pool, _cut_own


def _begin(path: str) -> None:
    """Open the photos in a worker process, which ends with the one that it works for."""
    global _photos  # noqa: PLW0603 -- a worker process has one set of photos
    _photos = _mapped(path)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


_photos: Image | None = None


def _cut_own(rows: Sequence[int], seeds: Sequence[int], phase: Phase) -> Batch:
    if _photos is None:
        raise RuntimeError("a worker without photos: it was not begun")
    return _cut_from(_photos, rows, seeds, phase)


def _cut_from(pixels: Image, rows: Sequence[int], seeds: Sequence[int], phase: Phase) -> Batch:
    pictures = [
        training_picture(np.asarray(pixels[row]), phase, np.random.default_rng(seed))
        for row, seed in zip(rows, seeds, strict=True)
    ]
    return Batch(np.stack(pictures), np.array(rows))
