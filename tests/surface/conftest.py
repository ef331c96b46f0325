"""Fixtures for the surface: stores of both kinds, a real server and a real broker, events as they arrive."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.postgres import Postgres, postgres_folder
from benchmarks.rig import Mosquitto
from edge_app.delivery.event import KINDS
from surface.store import Arrived, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from surface.store import Store

BOOT = KINDS["test"].example["boot"]
#: Both kinds of store; what is true of one must be of the other.
BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgres"])


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a running PostgreSQL server of our own."""
    if postgres_folder() is None or find_spec("pg8000") is None:
        pytest.skip("PostgreSQL or its driver is not installed (apt-get install postgresql; pip: pg8000)")
    server = Postgres(in_memory=True).start()
    yield server
    server.close()


@pytest.fixture
def where(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Return where an empty store of `kind` is: a path, or a URL."""
    if kind == "sqlite":
        return str(tmp_path / "surface.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def opened(where: str) -> Iterator[Callable[[], Store]]:
    """Return what opens the store at `where`; all are closed at the end."""
    stores: list[Store] = []

    def make() -> Store:
        stores.append(open_store(where))
        return stores[-1]

    yield make
    for one in stores:
        one.close()


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    """Return an empty store of `kind`."""
    return opened()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Return a key that box and surface share."""
    path = tmp_path / "key"
    path.write_text("ab" * 32, encoding="ascii")
    path.chmod(0o600)
    return path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Return a real broker."""
    one = Mosquitto(tmp_path, settings=("max_queued_messages 100000",)).start()
    yield one
    one.stop()


def arrived(
    seq: int, *, kind: str = "test", node: str = "box-07", at_ms: int | None = None, **more: Any
) -> Arrived:
    """Return an event as it arrives at `at_ms`: the schema's example with another number."""
    fields = {
        **KINDS[kind].example,
        "seq": seq,
        "node": node,
        "id": f"{KINDS[kind].example['id'][:-4]}{seq:04x}",
        **more,
    }
    return Arrived(
        site="north",
        node=node,
        fields=fields,
        body=json.dumps(fields).encode(),
        arrived_ms=5000 + seq if at_ms is None else at_ms,
    )
