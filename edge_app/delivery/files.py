"""The two small files beside the outbox: the number that no event had yet, and a piece of ballast.

**The sequence ceiling.** Numbers of events must never repeat, also when the database is lost. So a
block of numbers is reserved on disk before the first of them is used; a new database after a loss
starts above the last reservation.

**The ballast.** The log has its room (`database.take_room`), but what it holds may have none in the database
yet: then it cannot be written back, and the queue is wedged for good. A file that can be given up at that
moment makes the room; it is larger than the log gets before SQLite writes it back by itself.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from edge_app.durable import write_durably

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK: Final = 100_000
_BALLAST_BYTES: Final = 2 << 20


class SequenceCeiling:
    """Reserves numbers in blocks in the file ``{outbox}.seq``."""

    def __init__(self, outbox: Path) -> None:
        self._path = outbox.with_name(outbox.name + ".seq")
        try:
            self.value = int(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            self.value = 0

    def reserve(self, up_to: int) -> None:
        """Make sure that `up_to` is reserved.

        Raises:
            OSError: the file cannot be written.
        """
        if up_to <= self.value:
            return
        ceiling = up_to + _BLOCK
        self._write(ceiling)

    def lost(self) -> bool:
        """Return whether somebody deleted the file."""
        return self.value > 0 and file_id(self._path) is None

    def restore(self) -> None:
        """Write the file again where somebody deleted it.

        Raises:
            OSError: it cannot be written.
        """
        if self.lost():
            self._write(self.value)

    def _write(self, ceiling: int) -> None:
        write_durably(self._path, b"%d\n" % ceiling)
        self.value = ceiling


class Ballast:
    """Two MiB in the file ``{outbox}.ballast`` that is given up when the disk is full."""

    def __init__(self, outbox: Path) -> None:
        self._path = outbox.with_name(outbox.name + ".ballast")

    def drop(self) -> bool:
        """Give the room free; return whether there was any."""
        try:
            had = self._path.stat().st_size > 0
            os.truncate(self._path, 0)
        except OSError:
            return False
        return had

    def restore(self) -> None:
        """Take the room again if the disk has plenty; quietly does nothing if it has not."""
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size >= _BALLAST_BYTES:
                return
            if free_bytes(self._path.parent) < 4 * _BALLAST_BYTES:
                return
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, _BALLAST_BYTES)
            finally:
                os.close(descriptor)


def file_id(file: Path | int) -> tuple[int, int] | None:
    """Return the device and inode of a path or descriptor; None if there is no such file."""
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def free_bytes(folder: Path) -> int:
    """Return how many bytes may still be written on the disk of `folder`.

    Raises:
        OSError: there is no such folder.
    """
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def has_room(folder: Path, *, ballasts: int = 1) -> bool:
    """Return whether the disk of `folder` has room for so many ballasts."""
    try:
        return free_bytes(folder) >= ballasts * _BALLAST_BYTES
    except OSError:
        return True
