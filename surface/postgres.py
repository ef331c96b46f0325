"""The store in PostgreSQL (TimescaleDB is one): for a mine that has a database, and for several consumers.

A receipt lets the box forget the event, so a commit must mean the server's disk: the session asks for
``synchronous_commit`` whatever the server's default is, and a server that runs without ``fsync`` is
refused. When the connection is lost, also in the middle of a commit, the same events are simply
inserted again on the next one: their ids are known, or they are not.

Two consumers that insert the same redelivered events in another order may lock each other out; the
server ends one of the transactions, and that one is tried again.
"""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from edge_app.errors import ConfigError
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

SCHEMES: Final = ("postgresql", "postgres")
_TIMEOUT_S: Final = 30.0
#: Classes of SQLSTATE that speak of the values given, not of the server: data exception, integrity.
_OF_DATA: Final = ("22", "23")
#: Any number, the same for all: makes the tables once when several consumers start at the same time.
_MAKING: Final = 0x6473_7273
_ARRAYS: Final = ", ".join(f"CAST(:{column} AS {kind}[])" for column, kind in EVENT_COLUMNS.items())
_INSERT: Final = (
    f"INSERT INTO event ({', '.join(EVENT_COLUMNS)})"  # noqa: S608 - our own names
    f" SELECT {', '.join(EVENT_COLUMNS)} FROM unnest({_ARRAYS}) WITH ORDINALITY"
    f" AS new ({', '.join(EVENT_COLUMNS)}, place) ORDER BY place ON CONFLICT (id, id_ms) DO NOTHING"
)
_FIX: Final = (
    "check the server, the URL and the rights; nothing is receipted meanwhile, the boxes keep their events"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is; `path` is a Unix socket's, None over TCP."""

    user: str
    database: str
    host: str
    port: int
    path: str | None
    tls: ssl.SSLContext | None

    @property
    def name(self) -> str:
        """What messages call it; no password is in it."""
        return f"postgresql://{self.user}@{self.path or f'{self.host}:{self.port}'}/{self.database}"

    def connect(self) -> socket.socket:
        """Return a connected socket.

        Raises:
            OSError: nobody answers there.
        """
        if self.path is None:
            made = socket.create_connection((self.host, self.port), _TIMEOUT_S)
        else:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.settimeout(_TIMEOUT_S)
            try:
                made.connect(self.path)
            except OSError:
                made.close()
                raise
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return made


def address_of(url: str) -> Address:
    """Return what a URL says: ``postgresql://USER@HOST[:PORT]/DATABASE[?sslmode=...&sslrootcert=...]``.

    ``postgresql://USER@/DATABASE?host=/run/postgresql`` is a Unix socket. `sslmode` is ``verify-full`` (the
    default, but for this machine) or ``disable``; nothing in between would tell a stranger from the server.

    Raises:
        ConfigError: it is not of that form, or the authority's file cannot be used.
    """
    how = "postgresql://USER@HOST[:PORT]/DATABASE, ...?sslmode=disable where the network is trusted"
    try:
        parts = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        port = parts.port or 5432
    except ValueError as error:
        raise ConfigError(f"not a database: {error}", fix=how) from error
    user, database, folder = unquote(parts.username or ""), unquote(parts.path[1:]), options.pop("host", None)
    if parts.password is not None:
        raise ConfigError("a URL shows its password to everybody on this machine", fix="--db-password-file")
    if not user or not database or not (parts.hostname or folder):
        raise ConfigError("the database's URL lacks a user, a host or a database", fix=how)
    host = parts.hostname or ""
    local = folder is not None or host in ("localhost", "127.0.0.1", "::1")
    mode = options.pop("sslmode", "disable" if local else "verify-full")
    authority = options.pop("sslrootcert", None)
    if options or mode not in ("disable", "verify-full"):
        raise ConfigError(f"the database's URL asks for {sorted(options) or mode!r}", fix=how)
    try:
        tls = ssl.create_default_context(cafile=authority) if mode == "verify-full" else None
    except OSError as error:
        raise ConfigError(
            f"sslrootcert {authority} cannot be used: {error}", fix="give a PEM file"
        ) from error
    path = None if folder is None else f"{folder}/.s.PGSQL.{port}"
    return Address(user=user, database=database, host=host, port=port, path=path, tls=tls)


class PostgresDatabase:
    """The store at `address`, its tables made if they are not there and `make` says so.

    Raises:
        ConfigError: the driver is not installed.
        SurfaceError: it cannot be reached, is not safe to receipt from, is of a newer version, or not there.
    """

    def __init__(self, address: Address, *, password: str | None = None, make: bool = True) -> None:
        try:
            from pg8000 import exceptions, native
        except ImportError as error:
            raise ConfigError(
                "the driver for PostgreSQL is not installed",
                fix='pip install "dsr-edge[surface-postgres]"',
            ) from error
        self._native, self._errors = native, exceptions
        self._address = address
        self._password = password
        self._open: Any = None
        self._socket: socket.socket | None = None
        try:
            self._migrate(make=make)
        except BaseException:
            self.close()
            raise

    def _connection(self) -> Any:
        if self._open is None:
            address = self._address
            self._socket = address.connect()
            opened = self._native.Connection(
                address.user,
                host=address.host or "localhost",
                database=address.database,
                password=self._password,
                sock=self._socket,
                ssl_context=address.tls or False,  # None would take any certificate
                application_name="dsr-surface",
            )
            if opened.run("SHOW fsync") != [["on"]]:
                opened.close()
                raise SurfaceError(
                    f"{address.name} runs without fsync: a commit is no promise", fix="fsync = on"
                )
            if opened.run("SHOW synchronous_commit") == [["off"]]:
                opened.run("SET synchronous_commit = on")
            self._open = opened
        return self._open

    def _migrate(self, *, make: bool) -> None:
        with self.transaction():
            self.run("SELECT pg_advisory_xact_lock(:making)", making=_MAKING)
            if self.run("SELECT to_regclass('surface_schema')") == [[None]]:
                if not make:
                    raise not_there(self._address.name)
                for name in (f"postgres_v{VIEWS_VERSION}.sql", VIEWS):
                    self._connection().run(sql_of(name))
            found = int(self.run("SELECT max(version) FROM surface_schema")[0][0])
            for version in range(found + 1, VERSION + 1):
                self._connection().run(sql_of(f"schema_v{version}.sql"))
                self.run("UPDATE surface_schema SET version = :version", version=version)
        if found > VERSION:
            raise newer_schema(self._address.name, found)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside to the server's disk, or nothing of it.

        Raises:
            SurfaceError: it could not be committed, or nobody knows whether it was.
        """
        with self._translated():
            connection = self._connection()
            connection.run("BEGIN")
            try:
                yield
                connection.run("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def insert_events(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert the events whose ids are new, in this order; return how many. Inside a transaction."""
        arrays = {column: [row[column] for row in rows] for column in EVENT_COLUMNS}
        self.run(_INSERT, **arrays)
        return int(self._connection().row_count)

    def run(self, sql: str, **values: Any) -> Sequence[Sequence[Any]]:
        """Run one statement; return its rows.

        Raises:
            SurfaceError: the server does not serve.
        """
        with self._translated():
            found: Sequence[Sequence[Any]] | None = self._connection().run(sql, **values)
            return found or ()

    def close(self) -> None:
        """Hang up; the driver leaves a socket open when the server is not there to say goodbye to."""
        if self._open is not None:
            with suppress(OSError, self._errors.Error):
                self._open.close()
        if self._socket is not None and (descriptor := self._socket.detach()) >= 0:
            os.close(descriptor)
        self._open = self._socket = None

    def _roll_back(self) -> None:
        """End a transaction that failed; a connection that does not even do that is given up."""
        try:
            if self._open is not None:
                self._open.run("ROLLBACK")
        except (OSError, self._errors.Error):
            self.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except UnicodeError as error:
            raise Unstorable(f"{self._address.name} does not take it: {error}") from error
        except self._errors.DatabaseError as error:
            if self._open is None:  # it did not let us in
                self.close()
            state, message = _said(error)
            kind = Unstorable if state[:2] in _OF_DATA else SurfaceError
            raise kind(f"{self._address.name}: {message}", fix=_FIX) from error
        except (OSError, self._errors.Error) as error:
            self.close()
            raise SurfaceError(f"{self._address.name} cannot be used: {error}", fix=_FIX) from error


def _said(error: Exception) -> tuple[str, str]:
    """Return the server's SQLSTATE and message."""
    fields = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return str(fields.get("C", "")), str(fields.get("M", error))
