"""Readers for the four kinds of face sets, and the split into people for choices and people for figures.

The photos are biometric data and stay where they are: a folder named by ``DSR_DATA`` (default
``../shared/data`` beside the checkout) holds them as ``NAME.tar`` or unpacked as ``NAME/``. Each reader
gives records of person and file and reads pictures one at a time. The *aligned* sets (CelebA, LFW, the
strangers) stand on the ArcFace template already; the *free* sets (miner-face photos, other people)
come with a manifest of face boxes and need a detector.

``splits.json`` says which people are for development and which are only ever reported on. Development
people and the last five photos of each deep CelebA person are in no training set.
"""

from __future__ import annotations

import json
import logging
import os
import tarfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from dsr_inception.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]

PICTURES: Final = (".webp", ".jpg", ".jpeg", ".png")
#: Photos of each deep CelebA person, last in file order, that no training set holds.
HELD_BACK: Final = 5
POSES: Final = ("front", "yaw_m15", "yaw_p15", "yaw_m45", "yaw_p45", "up_15", "down_15")


_log = logging.getLogger(__name__)


def data_folder(given: Path | None = None) -> Path:
    """Return the folder of the face sets: `given`, ``DSR_DATA``, or ``../shared/data``.

    Raises:
        DataError: there is none.
    """
    root = Path(__file__).resolve().parent.parent
    folder = given or Path(os.environ.get("DSR_DATA") or root.parent / "shared" / "data")
    if not folder.is_dir():
        raise DataError(
            f"the folder of face sets is missing: {folder}. Put celeba_train.tar, lfw_pairs.tar, "
            "mf_photos.tar and strangers.tar there, or name another folder with DSR_DATA or --data"
        )
    return folder


@dataclass(frozen=True, slots=True)
class Photo:
    """One picture of a set: whose it is and where it stands, ``PERSON/FILE`` from the set's top."""

    person: str
    file: str


class PhotoSet:
    """The pictures of one set, from ``NAME.tar`` or the folder ``NAME/``; reading is by file name.

    Args:
        folder: where the sets are (`data_folder`).
        name: of the set.

    Raises:
        DataError: neither the archive nor the folder is there, or it holds no picture.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._folder = folder / name if (folder / name).is_dir() else None
        self._archive = folder / f"{name}.tar"
        self._members: dict[str, tuple[int, int]] = {}
        if self._folder is None:
            self._list_archive(self._archive)
        names = sorted(n for n in self.names() if n.lower().endswith(PICTURES))
        if not names:
            raise DataError(f"{name} holds no pictures; expected PERSON/PHOTO{PICTURES[0]} in it")
        self.photos: tuple[Photo, ...] = tuple(Photo(n.rpartition("/")[0] or Path(n).stem, n) for n in names)

    def _list_archive(self, path: Path) -> None:
        """Note where each file's bytes begin and how many there are: reading needs no open archive."""
        if not path.is_file():
            raise DataError(
                f"the set {self.name!r} is missing: put {path.name} or a folder {self.name}/ into "
                f"{path.parent}"
            )
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    if member.isfile():
                        name = member.name.removeprefix("./").removeprefix(f"{self.name}/")
                        self._members[name] = (member.offset_data, member.size)
        except tarfile.TarError as error:
            raise DataError(f"{path} is no readable tar archive: {error}; copy it again") from error

    def names(self) -> Iterator[str]:
        """Yield every file's name from the set's top."""
        if self._folder is None:
            yield from self._members
        else:
            yield from (str(p.relative_to(self._folder)) for p in self._folder.rglob("*") if p.is_file())

    def read_bytes(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            DataError: there is no such file.
        """
        if self._folder is not None:
            path = self._folder / name
            if not path.is_file():
                raise DataError(f"{self.name} has no file {name}")
            return path.read_bytes()
        if name not in self._members:
            raise DataError(f"{self.name} has no file {name}")
        offset, size = self._members[name]
        with self._archive.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def read(self, photo: Photo | str) -> Image:
        """Return a picture, (H, W, 3) uint8 BGR.

        Raises:
            DataError: it cannot be decoded; the message names it.
        """
        name = photo if isinstance(photo, str) else photo.file
        data = np.frombuffer(self.read_bytes(name), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if image is None:
            raise DataError(f"{self.name}/{name} is no readable picture; remove or replace it")
        return np.asarray(image, np.uint8)

    def by_person(self) -> dict[str, list[Photo]]:
        """Return each person's photos in file order."""
        people: dict[str, list[Photo]] = defaultdict(list)
        for photo in self.photos:
            people[photo.person].append(photo)
        return dict(people)


@dataclass(frozen=True, slots=True)
class Splits:
    """Which people serve for choices and which are only reported on."""

    celeba_development: frozenset[str]
    celeba_deep: frozenset[str]
    mf_development: frozenset[str]
    mf_test: frozenset[str]
    people_development: frozenset[str] = frozenset()
    people_test: frozenset[str] = frozenset()

    @classmethod
    def load(cls, folder: Path) -> Splits:
        """Read ``splits.json`` beside or above the data folder.

        Raises:
            DataError: it is missing, does not name these people, or a person is in development and test.
        """
        for path in (folder / "splits.json", folder.parent / "splits.json"):
            if path.is_file():
                names = ("celeba_development", "celeba_deep", "mf_development", "mf_test")
                more = ("people_development", "people_test")
                try:
                    content = json.loads(path.read_text(encoding="utf-8"))
                    given = [content[name] for name in names] + [content.get(name, []) for name in more]
                    splits = cls(*(frozenset(people) for people in given))
                except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                    raise DataError(
                        f"{path} cannot be used: {error!r}; it holds a list of people for each of "
                        f"{', '.join(names)}"
                    ) from error
                both = splits.mf_development & splits.mf_test
                if both:
                    raise DataError(f"{path}: development and test share {sorted(both)}")
                return splits
        raise DataError(f"splits.json is missing: put it into {folder} or {folder.parent}")


def training_photos(photos: Sequence[Photo], splits: Splits, *, hold_back: int = HELD_BACK) -> list[Photo]:
    """Return what may be trained on: no development person, not the last photos of a deep one."""
    people: dict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        people[photo.person].append(photo)
    kept: list[Photo] = []
    for person, own in sorted(people.items()):
        if person not in splits.celeba_development:
            kept.extend(own[:-hold_back] if person in splits.celeba_deep else own)
    return kept


def require_classes(photos: Iterable[Photo], *, least: int = 2, people: Iterable[str] = ()) -> None:
    """Refuse a closed set in which somebody, also of `people` without a picture, has fewer than `least`.

    Raises:
        DataError: naming the people, at most ten.
    """
    counts = Counter(dict.fromkeys(people, 0))
    counts.update(photo.person for photo in photos)
    if not counts:
        raise DataError("there is nobody to train on: the set is empty after the split")
    few = sorted(person for person, n in counts.items() if n < least)
    if few:
        raise DataError(f"{len(few)} people have fewer than {least} pictures: {', '.join(few[:10])}")


def lfw_pairs(photos: PhotoSet) -> tuple[list[tuple[str, str]], npt.NDArray[np.bool_], int]:
    """Return LFW view 2: pairs of file names, whether each is one person, and the number of folds.

    Raises:
        DataError: a pair names a photo that is not there.
    """
    lines = photos.read_bytes("pairs.txt").decode().split("\n")
    folds = int(lines[0].split()[0])
    known = {Path(p.file).with_suffix("").name: p.file for p in photos.photos}
    pairs: list[tuple[str, str]] = []
    same: list[bool] = []
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split()
        if not fields:
            continue
        if len(fields) == 3:  # noqa: PLR2004 -- NAME I J
            fields = [fields[0], fields[1], fields[0], fields[2]]
        stems = (f"{fields[0]}_{int(fields[1]):04d}", f"{fields[2]}_{int(fields[3]):04d}")
        missing = [stem for stem in stems if stem not in known]
        if missing:
            raise DataError(f"{photos.name}/pairs.txt, line {number}: {missing[0]} is not among the photos")
        pairs.append((known[stems[0]], known[stems[1]]))
        same.append(fields[0] == fields[2])
    return pairs, np.array(same), folds


@dataclass(frozen=True, slots=True)
class FreePhoto:
    """One unaligned picture, of either set: whose it is, its file, and x, y, width, height of the face."""

    person: str
    file: str
    box: tuple[float, float, float, float]


def free_photos(photos: PhotoSet, people: frozenset[str]) -> list[FreePhoto]:
    """Return the unaligned photos of `people` by the set's manifest."""
    rows: list[Mapping[str, Any]] = json.loads(photos.read_bytes("manifest.json"))
    return [FreePhoto(r["person"], r["file"], tuple(r["box"])) for r in rows if r["person"] in people]


@dataclass(frozen=True, slots=True)
class MinerPhoto:
    """One picture of the miner-face set: `box` is x, y, width, height; `real_pose` False for a stand-in."""

    person: str
    pose: str
    file: str
    box: tuple[float, float, float, float]
    real_pose: bool


def miner_photos(photos: PhotoSet) -> list[MinerPhoto]:
    """Return the miner-face photos by their manifest, checked: known poses, each once, picture there.

    A pose that a person lacks is logged as a warning and is no error: a mine's own set may have gaps.

    Raises:
        DataError: pictures are missing, or poses are double or unknown; the message names them.
    """
    rows: list[Mapping[str, Any]] = json.loads(photos.read_bytes("manifest.json"))
    found = [
        MinerPhoto(r["person"], r["pose"], r["file"], tuple(r["box"]), bool(r.get("real_pose", True)))
        for r in rows
    ]
    cells = Counter((p.person, p.pose) for p in found)
    wrong = [f"{person}/{pose} stands {n} times" for (person, pose), n in cells.items() if n > 1]
    wrong += [f"{p.person}/{p.pose}: no such pose" for p in found if p.pose not in POSES]
    people = sorted({p.person for p in found})
    gaps = [f"{who}/{pose}" for who in people for pose in POSES if (who, pose) not in cells]
    if gaps:
        _log.warning("%s: %d poses are missing: %s", photos.name, len(gaps), ", ".join(gaps[:10]))
    have = set(photos.names())
    wrong += [f"the picture {p.file} is missing" for p in found if p.file not in have]
    if wrong:
        raise DataError(f"{photos.name}: {len(wrong)} faults: {'; '.join(sorted(wrong)[:10])}")
    return found
