"""A mine's own miner-face pictures, ``PERSON/LEVEL/POSE.jpg``, checked and cut for `miners`.

The paper has 40 people in 7 poses under 3 levels of coal ash; a mine has what it has. Nothing here is
simulated: the pictures under ash are photos of their own. Every (person, pose) that stands at all three
levels is used; what is missing, double or unknown is named.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from calibration.pictures import LEVELS, PictureFolder
from dsr_inception.crops import MinerCrops
from dsr_inception.datasets import POSES, MinerPhoto
from dsr_inception.errors import DataError
from dsr_inception.miners import MinerSet
from edge_app.errors import PhotoError
from edge_app.faces.preprocess import align

if TYPE_CHECKING:
    from pathlib import Path

    from calibration.pictures import Picture
    from edge_app.faces.detect import Detector

SHOWN: Final = 10

_log = logging.getLogger(__name__)


def checked_pictures(folder: PictureFolder) -> list[Picture]:
    """Return the folder's pictures, one for each person, level and pose that it has.

    A person, level or pose that is missing is logged and is no error: a mine's set may have gaps.

    Raises:
        DataError: a pose or level that is not known, a cell with two pictures, or the same file twice.
    """
    pictures = folder.pictures()
    cells = Counter(p.key for p in pictures)
    wrong = [f"{key} stands {n} times" for key, n in cells.items() if n > 1]
    wrong += [
        f"{p.file}: no such pose; the poses are {', '.join(POSES)}" for p in pictures if p.pose not in POSES
    ]
    wrong += [
        f"{name}: not PERSON/LEVEL/POSE with LEVEL one of {', '.join(LEVELS)}"
        for name in folder.misplaced(pictures)
    ]
    seen: dict[str, str] = {}
    for picture in pictures:
        digest = hashlib.sha256(folder.read_bytes(picture.file)).hexdigest()
        if digest in seen and not picture.simulated:
            wrong.append(f"{picture.file} is the same file as {seen[digest]}")
        seen.setdefault(digest, picture.file)
    if wrong:
        shown = "; ".join(sorted(wrong)[:SHOWN])
        raise DataError(f"{folder.path}: {len(wrong)} faults: {shown}")
    people = sorted({p.person for p in pictures})
    gaps = [f"{a}/{b}/{c}" for a in people for b in LEVELS for c in POSES if f"{a}/{b}/{c}" not in cells]
    if gaps:
        _log.warning("%s: %d pictures are missing: %s", folder.path, len(gaps), ", ".join(gaps[:SHOWN]))
    return pictures


def mine_set(path: Path, detector: Detector) -> MinerSet:
    """Return a mine's own set as `miners` measures it, from a folder or a tar archive of one.

    Where no face is found the middle of the picture is taken, and counted as not found.

    Raises:
        DataError: see `checked_pictures`; or nobody has a pose at all three levels, or a picture cannot be
            read.
    """
    try:
        folder = PictureFolder(path)
        pictures = checked_pictures(folder)
        by_key = {p.key: p for p in pictures}
        cells = sorted({(p.person, p.pose) for p in pictures})
        whole = [c for c in cells if all(f"{c[0]}/{level}/{c[1]}" in by_key for level in LEVELS)]
        if not whole:
            raise DataError(f"{path}: nobody has a pose at all of {', '.join(LEVELS)}")
        crops = {}
        for level in LEVELS:
            cut = [_cut(folder, by_key[f"{who}/{level}/{pose}"], detector) for who, pose in whole]
            crops[level] = MinerCrops(np.stack([c[0] for c in cut]), np.array([c[1] for c in cut]))
    except PhotoError as error:
        raise DataError(str(error)) from error
    photos = tuple(
        MinerPhoto(who, pose, f"{who}/{pose}", (0, 0, 1, 1), real_pose=True) for who, pose in whole
    )
    return MinerSet(photos, crops)


def _cut(folder: PictureFolder, picture: Picture, detector: Detector) -> tuple[np.ndarray, bool]:
    """Return the crop of the largest face and whether there was one."""
    image = folder.read(picture)
    faces = sorted(detector.detect(image), key=lambda face: face.box.width * face.box.height)
    if faces:
        return align(image, faces[-1].landmarks), True
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    middle = np.array([[0.34, 0.46], [0.66, 0.46], [0.5, 0.64], [0.37, 0.82], [0.63, 0.82]], np.float32)
    return align(image, middle * side + (left, top)), False
