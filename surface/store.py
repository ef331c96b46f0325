"""The surface's store: every event once, committed before it is receipted.

SQLite with full synchronisation, because a receipt lets the box forget the event: from then on this
is the only place that has it. One thread writes; readers open their own connection.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import OutboxError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_INSERT: Final = (
    "INSERT OR IGNORE INTO event (id, site, node, seq, priority, kind, boot, mono_ns, wall_ms, zone, camera,"
    " person_ref, test, arrived_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class SurfaceError(OutboxError):
    """The surface's store of events cannot be used."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event as it came: its fields, and the very bytes."""

    site: str
    node: str
    fields: dict[str, Any]
    body: bytes
    arrived_ms: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Numbers of a box that never came; `reported` if a gap event covers them."""

    site: str
    node: str
    from_seq: int
    to_seq: int
    reported: bool


class Store:
    """The store at `path`, made if it is not there.

    Raises:
        SurfaceError: it cannot be opened, or is of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            for setting in ("journal_mode=WAL", "synchronous=FULL", "trusted_schema=OFF"):
                self._db.execute(f"PRAGMA {setting}")
            self._migrate()

    def _migrate(self) -> None:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > 1:
            raise SurfaceError(
                f"{self._path} has schema {version}; this version knows 1", fix="use the newer version"
            )
        if version == 0:
            sql = resources.files("surface").joinpath("schema_v1.sql").read_text("utf-8")
            self._db.executescript(f"BEGIN EXCLUSIVE;\n{sql}\nPRAGMA user_version=1;\nCOMMIT;")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, arrived: Sequence[Arrived]) -> int:
        """Commit events that are new and return how many were; those that are known are left as they are.

        Raises:
            SurfaceError: they could not be committed; none was, and none may be receipted.
        """
        with self._translated(), self._transaction():
            before = self._db.total_changes
            self._db.executemany(_INSERT, [_row(one) for one in arrived])
            new = self._db.total_changes - before
            for one in arrived:
                self._note(one)
        return new

    def _note(self, one: Arrived) -> None:
        fields = one.fields
        if fields["kind"] == "time_fix" and isinstance(fields.get("offset_ms"), int):
            self._db.execute(
                "INSERT OR REPLACE INTO boot VALUES (?, ?)", (fields["boot"], fields["offset_ms"])
            )
        elif (
            fields["kind"] == "gap"
            and isinstance(fields.get("from_seq"), int)
            and isinstance(fields.get("to_seq"), int)
        ):
            lost = fields.get("lost")
            values = (
                fields["id"],
                one.site,
                one.node,
                fields["from_seq"],
                fields["to_seq"],
                lost,
                str(fields.get("reason")),
            )
            self._db.execute("INSERT OR IGNORE INTO gap VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def set_node(self, site: str, node: str, what: str, document: dict[str, Any], *, now_ms: int) -> None:
        """Keep a box's newest ``state`` or ``muster``."""
        column = {"state": "state", "muster": "muster"}[what]
        with self._translated(), self._transaction():
            self._db.execute("INSERT OR IGNORE INTO node (site, node) VALUES (?, ?)", (site, node))
            self._db.execute(
                f"UPDATE node SET {column} = ?, {column}_ms = ? WHERE site = ? AND node = ?",  # noqa: S608 - one of two names
                (json.dumps(document), now_ms, site, node),
            )

    def nodes(self) -> list[tuple[str, str, dict[str, Any] | None, dict[str, Any] | None, int | None]]:
        """Return site, node, state, muster, and when the muster arrived (ms since 1970), of every box."""
        with self._translated():
            rows = self._db.execute(
                "SELECT site, node, state, muster, muster_ms FROM node ORDER BY site, node"
            ).fetchall()
        return [(s, n, _document(state), _document(muster), ms) for s, n, state, muster, ms in rows]

    def counts(self) -> dict[str, int]:
        """Return the number of events by kind."""
        with self._translated():
            return dict(self._db.execute("SELECT kind, count(*) FROM event GROUP BY kind ORDER BY kind"))

    def missing(self) -> list[Missing]:
        """Return the ranges of numbers that never came, of every box, below the highest that came."""
        query = (
            "SELECT site, node, before + 1, seq - 1 FROM (SELECT site, node, seq, lag(seq, 1, 0)"
            " OVER (PARTITION BY site, node ORDER BY seq) AS before FROM event) WHERE seq > before + 1"
        )
        covered = "SELECT 1 FROM gap WHERE site = ? AND node = ? AND from_seq <= ? AND to_seq >= ?"
        with self._translated():
            ranges = self._db.execute(query).fetchall()
            return [
                Missing(s, n, a, b, reported=self._db.execute(covered, (s, n, a, b)).fetchone() is not None)
                for s, n, a, b in ranges
            ]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise SurfaceError(
                f"the store {self._path} cannot be used: {error}",
                fix="check its disk and rights; nothing is receipted meanwhile, the boxes keep their events",
            ) from error


def _row(one: Arrived) -> tuple[Any, ...]:
    f = one.fields
    return (
        *(f["id"], one.site, one.node, f["seq"], f["priority"], f["kind"], f["boot"], f["mono_ns"]),
        *(f.get("wall_ms"), f.get("zone"), f.get("camera"), f.get("person_ref"), int(bool(f.get("test")))),
        *(one.arrived_ms, one.body),
    )


def _document(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    loaded: dict[str, Any] = json.loads(text)
    return loaded
