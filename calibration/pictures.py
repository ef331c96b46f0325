"""A folder of miner-face (MF) pictures: who, how much ash, which pose, and the bytes.

Two layouts are read, each as a folder or as a tar archive of one:

- ``PERSON/LEVEL/POSE.jpg``, LEVEL one of clean, light, heavy (or 0, 1, 2): pictures taken in a mine;
- ``PERSON/POSE.jpg`` with a ``manifest.json`` that lists person, pose, file and face box: clean
  pictures, on which light and heavy ash are *simulated* when they are used, and marked as such.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from calibration.ash import coal_ash
from edge_app.errors import PhotoError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]

LEVELS: Final = ("clean", "light", "heavy")
SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_LEVEL_NAMES: Final = {name: name for name in LEVELS} | {"0": "clean", "1": "light", "2": "heavy"}
_LAYOUT_FIX: Final = "arrange the pictures as PERSON/LEVEL/POSE.jpg with LEVEL clean, light or heavy"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: `file` from the folder's top; `box` x, y, width, height of the face where it is known.

    `simulated` says that the ash of `level` is laid on the clean `file` when it is read.
    """

    person: str
    level: str
    pose: str
    file: str
    simulated: bool = False
    box: tuple[float, float, float, float] | None = None

    @property
    def key(self) -> str:
        """Return ``PERSON/LEVEL/POSE``, unique in a folder."""
        return f"{self.person}/{self.level}/{self.pose}"


class PictureFolder:
    """The files of an MF folder or tar archive.

    Raises:
        PhotoError: it is missing or no readable archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, tuple[Path, int, int]] = {}
        if path.is_dir():
            for file in path.rglob("*"):
                if file.is_file():
                    self._files[file.relative_to(path).as_posix()] = (file, 0, -1)
        elif path.is_file():
            self._open_archive()
        else:
            raise PhotoError(f"there is no folder or archive {path}", fix="give the folder of MF pictures")

    def _open_archive(self) -> None:
        try:
            with tarfile.open(self.path, "r:") as archive:
                members = [m for m in archive.getmembers() if m.isfile()]
        except (tarfile.TarError, OSError) as error:
            raise PhotoError(
                f"{self.path} is no readable tar archive (uncompressed): {error}",
                fix="copy it again, or give a folder",
            ) from error
        for member in members:
            name = member.name.removeprefix("./").removeprefix(f"{self.path.stem}/")
            self._files[name] = (self.path, member.offset_data, member.size)

    @property
    def names(self) -> list[str]:
        """Every file's name from the top, sorted."""
        return sorted(self._files)

    def read_bytes(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            PhotoError: there is no such file.
        """
        found = self._files.get(name)
        if found is None:
            raise PhotoError(f"{self.path} has no file {name}", fix="restore it, or make the manifest again")
        path, start, size = found
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    def pictures(self) -> list[Picture]:
        """Return the pictures in either layout, sorted by key.

        Raises:
            PhotoError: no picture at all, or a manifest that cannot be read.
        """
        found = self._listed() if "manifest.json" in self._files else self._arranged()
        if not found:
            raise PhotoError(f"{self.path} holds no MF pictures", fix=_LAYOUT_FIX)
        return sorted(found, key=lambda picture: picture.key)

    def misplaced(self, pictures: Iterable[Picture]) -> list[str]:
        """Return the picture files that none of `pictures`, all of this folder, is read from, sorted."""
        used = {picture.file for picture in pictures}
        return [name for name in self.names if name.lower().endswith(SUFFIXES) and name not in used]

    def _arranged(self) -> list[Picture]:
        found = []
        for name in self.names:
            path = PurePosixPath(name)
            if path.suffix.lower() in SUFFIXES and len(path.parts) == 3:  # noqa: PLR2004 -- PERSON/LEVEL/POSE
                person, level, _ = path.parts
                if level.lower() in _LEVEL_NAMES:
                    found.append(Picture(person, _LEVEL_NAMES[level.lower()], path.stem, name))
        return found

    def _listed(self) -> list[Picture]:
        try:
            rows: list[dict[str, Any]] = json.loads(self.read_bytes("manifest.json"))
            found = []
            for row in rows:
                x, y, w, h = (float(value) for value in row["box"])
                levels = [row["level"]] if "level" in row else LEVELS
                for level in levels:
                    simulated = "level" not in row and level != LEVELS[0]
                    box = (x, y, w, h)
                    found.append(Picture(row["person"], level, row["pose"], row["file"], simulated, box))
        except (ValueError, KeyError, TypeError) as error:
            raise PhotoError(
                f"{self.path}/manifest.json cannot be used: {error!r}",
                fix="each row needs person, pose, file and box [x, y, width, height]",
            ) from error
        return found

    def read(self, picture: Picture) -> Image:
        """Return the picture, (H, W, 3) uint8 BGR, with its ash where that is simulated.

        Raises:
            PhotoError: missing, or no readable picture.
        """
        data = np.frombuffer(self.read_bytes(picture.file), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if image is None:
            raise PhotoError(f"{picture.file} is no readable picture", fix="remove or replace it")
        decoded = np.asarray(image, np.uint8)
        if not picture.simulated:
            return decoded
        seed = np.frombuffer(picture.key.encode().ljust(4, b" "), np.uint8).tolist()
        level = LEVELS.index(picture.level)
        return coal_ash(decoded, level, np.random.default_rng(seed), face=picture.box)
