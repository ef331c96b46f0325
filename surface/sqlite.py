"""The store in one SQLite file: the default, for a mine that has no system yet.

With full synchronisation, because a receipt lets the box forget the event: from then on this is the
only place that has it. Several consumers on one machine may share the file; readers are never held up.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from surface.database import (
    EVENT_COLUMNS,
    VERSION,
    VIEWS,
    VIEWS_VERSION,
    SurfaceError,
    Unstorable,
    newer_schema,
    not_there,
    sql_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

#: `id_ms` is part of the id, and only TimescaleDB wants it apart.
_COLUMNS: Final = tuple(column for column in EVENT_COLUMNS if column != "id_ms")
_INSERT: Final = (
    f"INSERT INTO event ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{c}' for c in _COLUMNS)})"  # noqa: S608 - our own names
    " ON CONFLICT (id) DO NOTHING"
)


class SqliteDatabase:
    """The store in the file at `path`, made if it is not there and `make` says so.

    Raises:
        SurfaceError: it cannot be opened, is of a newer version, or it or its folder is not there.
    """

    def __init__(self, path: Path, *, make: bool = True) -> None:
        self._path = path
        with self._translated():
            if not make and not path.exists():
                raise not_there(str(path))
            if not path.parent.is_dir():
                raise SurfaceError(
                    f"there is no folder {path.parent} for the store {path.name}",
                    fix="check --db, or make it",
                )
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            for setting in ("journal_mode=WAL", "synchronous=FULL", "trusted_schema=OFF"):
                self._db.execute(f"PRAGMA {setting}")
            self._migrate()

    def _migrate(self) -> None:
        found = self._version()
        if found > VERSION:
            raise newer_schema(str(self._path), found)
        if found == VERSION:
            return
        with self.transaction():  # the version is read again: another consumer may have been quicker
            found = self._version()
            for version in range(found + 1, VERSION + 1):
                self._execute(f"schema_v{version}.sql")
                if version == VIEWS_VERSION:
                    self._execute(VIEWS)
            self._db.execute(f"PRAGMA user_version={max(found, VERSION)}")

    def _execute(self, name: str) -> None:
        for statement in sql_of(name).split(";\n"):
            self._db.execute(statement)

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside to disk, or nothing of it.

        Raises:
            SurfaceError: it could not be committed.
        """
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def insert_events(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert the events whose ids are new, in this order; return how many. Inside a transaction."""
        before = self._db.total_changes
        self._db.executemany(_INSERT, rows)
        return self._db.total_changes - before

    def run(self, sql: str, **values: Any) -> Sequence[Sequence[Any]]:
        """Run one statement; return its rows.

        Raises:
            SurfaceError: the file does not serve.
        """
        with self._translated():
            return self._db.execute(sql, values).fetchall()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeError) as error:
            raise Unstorable(f"the store {self._path} does not take it: {error}") from error
        except (sqlite3.Error, OSError) as error:
            raise SurfaceError(
                f"the store {self._path} cannot be used: {error}",
                fix="check its disk and rights; nothing is receipted meanwhile, the boxes keep their events",
            ) from error
