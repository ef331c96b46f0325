"""CelebA as its authors distribute it, read as if it were the aligned set that training knows.

``celeba/img_align_celeba/000001.jpg`` (178x218), ``identity_CelebA.txt`` (file, number of the person) and
``list_landmarks_align_celeba.txt`` (five points in pixels of each picture; two lines of head). Each
picture is moved by its landmarks onto the 128x128 template of ``celeba_train.tar``. A person is the number
with five digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from dsr_inception.datasets import Photo, PhotoSet
from dsr_inception.errors import DataError
from edge_app.faces.preprocess import landmarks_of_aligned, similarity_transform

if TYPE_CHECKING:
    from pathlib import Path

    from dsr_inception.datasets import Image

FOLDER: Final = "celeba"
PICTURES: Final = "img_align_celeba"
IDENTITIES: Final = "identity_CelebA.txt"
LANDMARKS: Final = "list_landmarks_align_celeba.txt"
SIDE: Final = 128
_NUMBERS: Final = 10


def celeba_photos(folder: Path) -> PhotoSet:
    """Return ``celeba_train`` of the data folder, or the original layout where that stands instead.

    Raises:
        DataError: neither is there, or the original's files do not fit each other.
    """
    train = "celeba_train"
    packed = (folder / f"{train}.tar").is_file() or (folder / train).is_dir()
    return PhotoSet(folder, train) if packed or not (folder / FOLDER).is_dir() else OriginalCeleba(folder)


class OriginalCeleba(PhotoSet):
    """The pictures of ``celeba/`` in the data folder.

    Raises:
        DataError: a file is missing, a line cannot be read, or a picture has no person or no landmarks.
    """

    def __init__(self, folder: Path) -> None:
        top = folder / FOLDER
        self.name, self._folder = FOLDER, top / PICTURES
        people = {fields[0]: int(fields[1]) for fields in _rows(top / IDENTITIES, 0, 2)}
        self._marks = {
            fields[0]: np.array(fields[1:], np.float32).reshape(5, 2)
            for fields in _rows(top / LANDMARKS, 2, 1 + _NUMBERS)
        }
        names = sorted(path.name for path in self._folder.glob("*.jpg"))
        if not names:
            raise DataError(f"{self._folder} holds no pictures; unpack img_align_celeba.zip there")
        for known, where in ((people, IDENTITIES), (self._marks, LANDMARKS)):
            lacking = [name for name in names if name not in known]
            if lacking:
                raise DataError(f"{where} has no line for {len(lacking)} pictures: {', '.join(lacking[:10])}")
        self.photos = tuple(
            Photo(person, name) for person, name in sorted((f"{people[name]:05d}", name) for name in names)
        )

    def read(self, photo: Photo | str) -> Image:
        """Return a picture on the template, (128, 128, 3) uint8 BGR.

        Raises:
            DataError: it cannot be decoded.
        """
        image = super().read(photo)
        name = photo if isinstance(photo, str) else photo.file
        matrix = similarity_transform(self._marks[name], landmarks_of_aligned(SIDE))
        return np.asarray(cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR), np.uint8)


def _rows(path: Path, head: int, length: int) -> list[list[str]]:
    """Return the words of each line after `head` lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[head:]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; CelebA comes with it") from error
    rows = []
    for number, line in enumerate(lines, start=head + 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != length or not all(f.lstrip("-").isdigit() for f in fields[1:]):
            raise DataError(
                f"{path}, line {number}: expected a name and {length - 1} numbers; received {line!r}"
            )
        rows.append(fields)
    return rows
