"""What the store asks of a database, and the values and errors that both kinds share.

The statements are the same for SQLite and PostgreSQL (named parameters, ``ON CONFLICT``); what differs
is how many events are inserted at once, how a version is kept, and what can go wrong.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any, Final, Protocol

from edge_app.errors import OutboxError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    Row = Sequence[Any]

#: Of the schema files beside this module.
VERSION: Final = 3
#: What both kinds of database make after the tables of version 2; what came later changed no view.
VIEWS: Final = "views_v2.sql"
VIEWS_VERSION: Final = 2

#: Columns of an event, but for `arrival`, which the database counts, with PostgreSQL's types.
EVENT_COLUMNS: Final = {
    "id": "text",
    "id_ms": "bigint",
    "site": "text",
    "node": "text",
    "seq": "bigint",
    "priority": "smallint",
    "kind": "text",
    "boot": "text",
    "mono_ns": "bigint",
    "wall_ms": "bigint",
    "zone": "text",
    "camera": "text",
    "person_ref": "text",
    "test": "boolean",
    "arrived_ms": "bigint",
    "body": "bytea",
}


class SurfaceError(OutboxError):
    """The surface's store of events cannot be used."""


class Unstorable(SurfaceError):
    """The database serves, and will never take what it was given: trying again would be for ever."""


class Database(Protocol):
    """A database with the surface's tables; one thread uses it. Everything raises `SurfaceError`."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit what is done inside to disk, or nothing of it."""
        ...

    def insert_events(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert the events whose ids are new, in this order; return how many. Inside a transaction."""
        ...

    def run(self, sql: str, **values: Any) -> Sequence[Row]:
        """Run one statement with ``:named`` values; return its rows."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def sql_of(name: str) -> str:
    """Return the statements of a file beside this module."""
    return resources.files("surface").joinpath(name).read_text("utf-8")


def not_there(name: str) -> SurfaceError:
    """Return the error about a store that was to be read and that nobody has made."""
    return SurfaceError(f"there is no store at {name}", fix="check --db; `dsr-surface run` makes it")


def newer_schema(name: str, found: int) -> SurfaceError:
    """Return the error about a store that a newer program made."""
    return SurfaceError(
        f"{name} has schema {found}; this version knows {VERSION}", fix="use the newer version"
    )
