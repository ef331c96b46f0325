"""What to do when the outbox's file is damaged: set it aside, read what can be read, go on.

The database and its log are renamed, never deleted, so that somebody may look later; the two newest
are kept. Rows are read in ranges of their numbers; a range that cannot be read is halved until the
unreadable rows stand alone. A row counts only if the checksum of its body is right.

What is read goes into a file beside the damaged one, which is moved only when the new one is complete: if the
power goes meanwhile, the next start begins again, and nothing is forgotten half way.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from typing import TYPE_CHECKING, Any, Final

from edge_app.durable import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEEP: Final = 2
_SPAN: Final = 4096
#: How many reads may fail before ranges are no longer halved: a second or so, so that the box starts.
_PATIENCE: Final = 20_000
_COLUMNS: Final = "seq, event_id, priority, kind, mono_ns, wall_ms, body, crc, parked"

SavedRow = tuple[int, bytes, int, str, int, "int | None", bytes, int, "str | None"]


def quarantine(path: Path) -> Path:
    """Rename the database at `path` and its log; return the new name. Older ones beyond two are deleted."""
    numbers = [int(old.name.rsplit("-", 1)[1]) for old in _quarantined(path)]
    target = path.with_name(f"{path.name}.corrupt-{max(numbers, default=0) + 1}")
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(target.with_name(target.name + suffix))
    sync_folder(path.parent)
    for old in _quarantined(path)[:-_KEEP]:
        for suffix in ("", "-wal", "-shm"):
            old.with_name(old.name + suffix).unlink(missing_ok=True)
    return target


def new_file(path: Path) -> Path:
    """Return the path at which the salvaged database is made; what an earlier try left there is deleted."""
    begun = path.with_name(path.name + ".salvaging")
    for suffix in ("", "-wal", "-shm"):
        begun.with_name(begun.name + suffix).unlink(missing_ok=True)
    return begun


def complete(path: Path) -> None:
    """Say that the database at `new_file` is complete and closed."""
    begun = path.with_name(path.name + ".salvaging")
    descriptor = os.open(begun, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    begun.rename(_completed(path))
    sync_folder(path.parent)


def settle(path: Path) -> None:
    """Put a complete salvaged database, if there is one, in the place of the damaged one."""
    if _completed(path).exists():
        quarantine(path)
        _completed(path).rename(path)
        sync_folder(path.parent)


def _completed(path: Path) -> Path:
    return path.with_name(path.name + ".salvaged")


def _quarantined(path: Path) -> list[Path]:
    found = (p for p in path.parent.glob(f"{path.name}.corrupt-*") if p.name.rsplit("-", 1)[1].isdigit())
    return sorted(found, key=lambda p: int(p.name.rsplit("-", 1)[1]))


class Wreck:
    """A damaged database, open for reading as far as that goes."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._patience = _PATIENCE
        # An image that is damaged may still hold most of its rows behind a schema that reads.
        with contextlib.suppress(sqlite3.DatabaseError):
            self._connection.execute("PRAGMA writable_schema=ON")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of `sql`, none if they cannot be read."""
        try:
            return self._connection.execute(sql).fetchall()
        except (sqlite3.DatabaseError, OverflowError):
            return []

    def rows(self, *, ceiling: int) -> Iterator[SavedRow]:
        """Yield the readable rows in the order of their numbers; `ceiling` bounds the search."""
        low = (self.ask("SELECT seq FROM outbox ORDER BY seq LIMIT 1") or [(max(1, ceiling - 2_000_000),)])[
            0
        ][0]
        if not self.ask("SELECT 1 FROM sqlite_master WHERE name = 'outbox'"):
            return
        last = self.ask("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
        high = (self.ask("SELECT seq FROM outbox ORDER BY seq DESC LIMIT 1") or last or [(ceiling,)])[0][0]
        if not (isinstance(low, int) and isinstance(high, int)):
            return
        for first in range(low, high + 1, _SPAN):
            yield from self._range(first, min(first + _SPAN - 1, high))

    def _range(self, first: int, last: int) -> Iterator[SavedRow]:
        spans = [(first, last)]
        while spans:
            a, b = spans.pop()
            try:
                found = self._connection.execute(
                    f"SELECT {_COLUMNS} FROM outbox NOT INDEXED WHERE seq BETWEEN ? AND ? ORDER BY seq",  # noqa: S608 - constant
                    (a, b),
                ).fetchall()
            except (sqlite3.DatabaseError, OverflowError):
                self._patience -= 1
                if a < b and self._patience > 0:
                    middle = (a + b) // 2
                    spans += [(middle + 1, b), (a, middle)]
                continue
            yield from (row for row in found if _sound(row))


def sound_body(body: object, crc: object) -> bool:
    """Return whether a body is what was committed; damage can also change its type."""
    return isinstance(body, bytes) and zlib.crc32(body) == crc


def _sound(row: tuple[Any, ...]) -> bool:
    shape: tuple[Any, ...] = (int, bytes, int, str, int, (int, type(None)), bytes, int, (str, type(None)))
    typed = all(isinstance(value, kind) for value, kind in zip(row, shape, strict=True))
    return typed and 0 <= row[2] <= 3 and sound_body(row[6], row[7])  # noqa: PLR2004 - priorities
