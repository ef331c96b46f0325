"""What the dust detector's training pictures are made of: faces with known places, and places without faces.

Where a face is, two detectors say on the clean picture, CenterFace and YuNet; only where they agree is it
taken, with the mean of both. Portraits are CelebA people of the training set, one photo each; whole photos
are of every other development person of the unaligned sets, so that the rest of them can judge what was
learnt. Backgrounds are the parts of these photos beside the people, drawn patches, and whatever pictures
without people a folder holds (of the mine's own cameras, or of the simulated tunnel).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from dsr_inception.datasets import PhotoSet, Splits, free_photos, training_photos
from dsr_inception.detection import cases_of
from dsr_inception.scenes import Portrait

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dsr_inception.detection import Case
    from edge_app.faces.detect import Detector

    Image = npt.NDArray[np.uint8]

#: Both detectors mean the same face when their boxes share so much.
AGREED: Final = 0.5
#: A part of a photo smaller than this, in pixels, is no background.
_LEAST_SIDE: Final = 96
_DRAWN: Final = 20
_CLIPS: Final = frozenset({".mp4", ".avi", ".mkv", ".mov"})


def portraits_of(
    folder: Path, splits: Splits, detectors: Sequence[Detector], *, count: int, seed: int = 1
) -> list[Portrait]:
    """Return up to `count` aligned photos, one of a person, on whose only face all `detectors` agree."""
    photos = PhotoSet(folder, "celeba_train")
    first = {photo.person: photo for photo in reversed(training_photos(photos.photos, splits))}
    people = np.random.default_rng(seed).permutation(sorted(first)).tolist()
    found: list[Portrait] = []
    for person in people:
        if len(found) >= count:
            break
        pixels = photos.read(first[person])
        best = [faces[0] for detector in detectors if (faces := detector.detect(pixels))]
        if len(best) < len(detectors) or any(best[0].box.iou(one.box) < AGREED for one in best):
            continue
        boxes = np.mean([(f.box.x, f.box.y, f.box.width, f.box.height) for f in best], axis=0)
        marks = np.mean([f.landmarks for f in best], axis=0)
        found.append(Portrait(pixels, boxes[None].astype(np.float32), marks[None].astype(np.float32), False))
    return found


def development_cases(folder: Path, splits: Splits, detectors: Sequence[Detector]) -> Iterator[Case]:
    """Yield the clean unaligned photos of all development people with their known faces."""
    for name, people in (
        ("mf_photos", splits.mf_development),
        ("people_photos", splits.people_development),
    ):
        photos = PhotoSet(folder, name)
        yield from cases_of(photos, free_photos(photos, people), detectors)


def learnt_people(cases: Sequence[Case]) -> frozenset[str]:
    """Return every other person, by name: the network learns from these, the rest of them judge it."""
    return frozenset(sorted({case.person for case in cases})[::2])


def whole_photos(cases: Sequence[Case]) -> list[Portrait]:
    """Return the cases as pictures with all their known faces."""
    result = []
    for case in cases:
        boxes = [(f.box.x, f.box.y, f.box.width, f.box.height) for f in case.faces]
        marks = [f.landmarks for f in case.faces]
        result.append(
            Portrait(case.pixels, np.array(boxes, np.float32), np.array(marks, np.float32), whole=True)
        )
    return result


def backgrounds_of(photos: Sequence[Portrait], folder: Path | None, *, seed: int = 1) -> list[Image]:
    """Return pictures without faces: of `folder`, of the photos beside their people, and drawn ones.

    Of `folder` are taken its pictures, and of the clips there and in the folders below a frame every second.
    """
    found: list[Image] = []
    for path in sorted(folder.rglob("*")) if folder else ():
        if path.suffix.lower() in _CLIPS:
            found.extend(_every_second(path))
        elif path.parent == folder and (picture := cv2.imread(str(path), cv2.IMREAD_COLOR)) is not None:
            found.append(np.asarray(picture, np.uint8))
    for photo in photos:
        found.extend(_beside(photo))
    rng = np.random.default_rng(seed)
    for _ in range(_DRAWN):
        grid = rng.integers(0, 256, (*rng.integers(2, 12, 2), 3), dtype=np.uint8)
        found.append(np.asarray(cv2.resize(grid, (256, 256), interpolation=cv2.INTER_CUBIC), np.uint8))
    return found


def _every_second(path: Path) -> Iterator[Image]:
    """Yield one frame of each second of a clip."""
    clip = cv2.VideoCapture(str(path))
    step = max(1, round(clip.get(cv2.CAP_PROP_FPS)))
    for number in itertools.count():
        there, frame = clip.read()
        if not there:
            break
        if number % step == 0:
            yield np.asarray(frame, np.uint8)
    clip.release()


def _beside(photo: Portrait) -> Iterator[Image]:
    """Yield what is left of, right of and below the faces of a photo, well away from them."""
    height, width = photo.pixels.shape[:2]
    x, y, w, h = photo.boxes.T
    left, right = int((x - 0.4 * w).min()), int((x + 1.4 * w).max())
    below = int((y + 1.5 * h).max())
    for x0, y0, x1, y1 in ((0, 0, left, height), (right, 0, width, height), (0, below, width, height)):
        if min(x1 - x0, y1 - y0) >= _LEAST_SIDE:
            yield photo.pixels[y0:y1, x0:x1].copy()
