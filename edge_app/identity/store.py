"""The file under the register of people: SQLite with a rollback journal, in one file of mode 0600.

Why a rollback journal and not WAL: the register is read once and changed rarely, so nothing is won
by a log; and without one the file is complete by itself after every change, can be copied, and can
be read from a read-only folder. ``synchronous=EXTRA`` also syncs the folder when the journal goes,
so that a change that was reported as done survives a power cut; a change that was not done is rolled
back by the next reader. A new file is built under another name and linked into place only when it is
complete, so an empty or half-written register is never taken for one. ``secure_delete`` overwrites
what is removed: a face that was deleted is not left in free pages.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from edge_app.durable import sync_folder
from edge_app.errors import GalleryError

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA_VERSION: Final = 1
#: "dsrP", so that `file` and we can tell the register from any other SQLite file.
APPLICATION_ID: Final = 0x64737250
_BUSY_S: Final = 5.0
_SCHEMA: Final = Path(__file__).with_name(f"schema_v{SCHEMA_VERSION}.sql")

_RESTORE: Final = (
    "restore the file from a copy; without one, move it away and register everybody again from photos"
)
#: (part of SQLite's message, what it means, what to do). SQLite's error codes need Python 3.11.
_CAUSES: Final = (
    ("not a database", "is not a register of people", _RESTORE),
    ("malformed", "is damaged", _RESTORE),
    ("locked", "is being changed by another command", "wait for it to end, then try again"),
    ("readonly", "cannot be written", "run the command as the owner of the file; is the disk read-only?"),
    ("unable to open", "cannot be opened", "run the command as the owner of the file and of its folder"),
    ("disk is full", "cannot grow: the disk is full", "free some space; nothing was changed"),
    (
        "disk I/O",
        "cannot be read or written",
        "free some space and check the disk (dmesg); nothing was changed",
    ),
)


def gallery_error(path: Path, error: sqlite3.Error | OSError) -> GalleryError:
    """Return what `error` means for the register at `path`, with what to do about it."""
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return GalleryError(
            f"{path} cannot be used: {reason}",
            fix="check that the folder exists, has room and belongs to the user who runs this",
        )
    for part, meaning, fix in _CAUSES:
        if part in str(error):
            return GalleryError(f"{path} {meaning} (SQLite: {error})", fix=fix)
    return GalleryError(f"{path} cannot be used (SQLite: {error})", fix=_RESTORE)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the register for one consistent look, all queries in one transaction.

    Raises:
        GalleryError: missing, empty, damaged, unreadable, or of another schema version.
    """
    try:
        with contextlib.closing(_connect(path)) as connection:
            connection.execute("BEGIN")
            _check_schema(path, connection)
            yield connection
            connection.execute("ROLLBACK")
    except (sqlite3.Error, OSError) as error:
        raise gallery_error(path, error) from error


@contextlib.contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the register for one change that happens wholly or not at all.

    Raises:
        GalleryError: as `reading`; also not writable, no room, or another command is changing it.
    """
    try:
        with contextlib.closing(_connect(path)) as connection:
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("PRAGMA synchronous=EXTRA")
            connection.execute("BEGIN IMMEDIATE")
            try:
                _check_schema(path, connection)
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        raise gallery_error(path, error) from error


def create(path: Path) -> None:
    """Make an empty register at `path` unless there is a file; its folder is made too.

    Root making it in somebody's folder gives it to the owner of the folder, so that the service can
    read what an operator registered with sudo.

    Raises:
        GalleryError: the folder cannot be made or written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        _build_empty(temporary)
        if os.geteuid() == 0:
            folder = path.parent.stat()
            os.chown(temporary, folder.st_uid, folder.st_gid)
        with contextlib.suppress(FileExistsError):  # another command was quicker: its register stands
            os.link(temporary, path)
        sync_folder(path.parent)
    except (sqlite3.Error, OSError) as error:
        raise gallery_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def signature(path: Path) -> tuple[int, int, int, int] | None:
    """Return (device, inode, size, mtime_ns) of the file, None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _connect(path: Path) -> sqlite3.Connection:
    if path.stat().st_size == 0:
        raise GalleryError(f"{path} is empty (0 bytes): not a register of people", fix=_RESTORE)
    # mode=rw never creates; SQLite itself falls back to reading where it may not write, and needs
    # to write only to roll back a change that a power cut interrupted.
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_S)
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _check_schema(path: Path, connection: sqlite3.Connection) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise GalleryError(
            f"{path} is an SQLite file of another program (application_id {application:#x})",
            fix="give the register's own file as gallery.path",
        )
    pages = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
    expected, size = pages.fetchone()[0], path.stat().st_size
    if expected != size:
        raise GalleryError(f"{path} is damaged: {size} bytes instead of {expected}", fix=_RESTORE)
    if found != SCHEMA_VERSION:
        raise GalleryError(
            f"{path} has schema version {found}; this program knows version {SCHEMA_VERSION}",
            fix="use the program version that wrote it, or a newer one that converts it",
        )


def _build_empty(temporary: Path) -> None:
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=EXTRA")
        connection.execute("BEGIN")
        for statement in _SCHEMA.read_text(encoding="utf-8").split(";\n"):
            connection.execute(statement)
        connection.execute("INSERT INTO gallery VALUES (1, ?, 0)", (uuid.uuid4().hex,))
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")
