"""Opening the outbox's database: write-ahead log, full synchronisation, schema versions.

``synchronous=FULL`` makes every commit survive a power cut (``NORMAL`` in WAL mode loses them all,
measured); `max_page_count` makes it fail cleanly when it is as large as it may be, instead of filling
the disk. Schemas are `schema_vN.sql`, counted by ``PRAGMA user_version``.

On a full disk SQLite can only write where the files have their room already. So a database begins with a
megabyte of free pages, and the room of its log is taken when it is opened (`take_room`).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from importlib import resources
from typing import TYPE_CHECKING, Final

from edge_app.errors import OutboxCorrupt, OutboxError, OutboxFull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_VERSION: Final = 2
PAGE_BYTES: Final = 4096
_RESERVED_PAGES: Final = 256
_LOG_BYTES: Final = 2 << 20
#: How every SQLite database begins (sqlite.org/fileformat.html, 1.2).
_MAGIC: Final = b"SQLite format 3\0"
# The log is written back at 250 pages (1 MB), so that the ballast (files.py) is always large enough to.
_SETTINGS: Final = (
    f"PRAGMA page_size={PAGE_BYTES}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA wal_autocheckpoint=250",
    "PRAGMA journal_size_limit=4194304",
    "PRAGMA cache_size=-8000",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
)


def open_database(path: Path, *, max_mb: float) -> sqlite3.Connection:
    """Open or create the database at `path` and bring its schema up to date.

    Raises:
        OutboxCorrupt: the file is damaged, or no database.
        OutboxError: the folder cannot be written, or the file is from a newer version of this software.
    """
    with translated(path):
        _keep_to_ourselves(path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
        try:
            for setting in _SETTINGS:
                connection.execute(setting)
            connection.execute(f"PRAGMA max_page_count={max_pages(max_mb)}")
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def refuse_others(path: Path) -> None:
    """Refuse a file that is no database; only where an outbox was before may it be a damaged one.

    Raises:
        OutboxError: it is something else.
    """
    with suppress(OSError):
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
        if head and head != _MAGIC:
            raise OutboxError(f"{path} is no outbox, but another file", fix="check delivery.outbox")


def take_room(connection: sqlite3.Connection, path: Path) -> None:
    """Take the room of the log, and a megabyte of pages; quietly does nothing where the disk has none.

    The pages are written before they are set free: those that never were have no room on the disk.
    """
    with suppress(sqlite3.OperationalError):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        if pages < _RESERVED_PAGES:
            connection.execute("CREATE TABLE IF NOT EXISTS room (bytes BLOB)")
            blob = (_RESERVED_PAGES - pages) * PAGE_BYTES
            connection.execute("INSERT INTO room VALUES (zeroblob(?))", (blob,))
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        connection.execute("DROP TABLE IF EXISTS room")
    with suppress(OSError):
        descriptor = os.open(path.with_name(path.name + "-wal"), os.O_RDWR | os.O_CLOEXEC)
        try:
            os.posix_fallocate(descriptor, 0, _LOG_BYTES)
        finally:
            os.close(descriptor)


def _keep_to_ourselves(path: Path) -> None:
    """Make the file, and with it its log, readable for its owner alone: it says who was where."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise OutboxError(
            f"the outbox {path} cannot be opened for writing: {error.strerror}",
            fix="make it writable for the user that runs the daemon, or change delivery.outbox",
        ) from error


def max_pages(max_mb: float) -> int:
    """Return how many pages a database of `max_mb` megabytes has."""
    return max(64, int(max_mb * 1_000_000 / PAGE_BYTES))


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the database at `path` beside its owner, without a way to change it.

    Raises:
        OutboxError: there is none, or it cannot be read.
    """
    must_exist(path)
    with translated(path):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=5.0)
        try:
            connection.execute("SELECT n FROM tally").fetchall()
        except BaseException:
            connection.close()
            raise
    return connection


def must_exist(path: Path) -> None:
    """Look whether there is an outbox at `path`, for whoever would otherwise begin an empty one.

    Raises:
        OutboxError: there is none.
    """
    if not path.exists():
        raise OutboxError(
            f"there is no outbox at {path}", fix="start the daemon once, or check delivery.outbox"
        )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise OutboxError(
            f"the outbox {path} has schema {version}; this version of dsr-edge knows up to {SCHEMA_VERSION}",
            fix="install the newer version again, or move the file away (its events would then not be sent)",
        )
    for number in range(version + 1, SCHEMA_VERSION + 1):
        sql = resources.files("edge_app.delivery").joinpath(f"schema_v{number}.sql").read_text("utf-8")
        connection.executescript(f"BEGIN EXCLUSIVE;\n{sql}\nPRAGMA user_version={number};\nCOMMIT;")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing: commits at the end, rolls back on any error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours: what may be retried, what is damaged, what needs the operator."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            raise OutboxFull(
                f"the outbox {path} cannot be written: {text}",
                fix="free space on its disk; a running daemon keeps events in memory until then",
            ) from error
        if text == "no such table: tally":  # what every reader asks first
            raise OutboxError(
                f"the outbox {path} is not finished: the disk was full or the power went when it was made",
                fix="start the daemon with room on the disk: it finishes it",
            ) from error
        raise OutboxError(
            f"the outbox {path} cannot be used: {text}",
            fix="make the folder and the file writable for the user that runs the daemon",
        ) from error
    except sqlite3.DatabaseError as error:
        raise OutboxCorrupt(
            f"the outbox {path} is damaged: {error}",
            fix="the daemon sets it aside, at once or at its next start, and keeps what can be read",
        ) from error
