"""What only PostgreSQL can do: go away and come back, be somewhere else, be set up badly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_app.errors import ConfigError
from surface.postgres import address_of
from surface.store import SurfaceError, open_store
from tests.surface.conftest import arrived

if TYPE_CHECKING:
    from benchmarks.postgres import Postgres


def test_a_server_that_goes_and_comes_back_is_used_again(postgres: Postgres) -> None:
    """What was not committed is refused in words, and stored when the server is back."""
    store = open_store(postgres.new_database())
    store.add([arrived(1)])
    postgres.kill()
    with pytest.raises(SurfaceError, match="cannot be used"):
        store.add([arrived(2)])
    postgres.start()
    assert 1 == store.add([arrived(1), arrived(2)])
    assert {"test": 2} == store.counts()
    store.close()


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql://u:secret@host/db", "shows its password"),
        ("postgresql://host/db", "lacks a user"),
        ("postgresql://u@host", "lacks a user"),
        ("postgresql://u@host:x/db", "not a database"),
        ("postgresql://u@host/db?sslmode=prefer", "'prefer'"),
        ("postgresql://u@host/db?target_session_attrs=any", "target_session_attrs"),
        ("postgresql://u@host/db?sslrootcert=/nowhere", "sslrootcert"),
    ],
)
def test_urls_that_mean_nothing_or_too_much_are_refused(url: str, complaint: str) -> None:
    """Never a password that everybody sees, never a TLS that knows nobody."""
    with pytest.raises(ConfigError, match=complaint) as caught:
        address_of(url)
    assert "secret" not in str(caught.value)


def test_a_server_elsewhere_is_reached_by_tls_unless_told_otherwise() -> None:
    """On this machine, and where the operator says so, without."""
    assert address_of("postgresql://u@db.mine/x").tls is not None
    assert address_of("postgresql://u@db.mine/x?sslmode=disable").tls is None
    assert address_of("postgresql://u@localhost/x").tls is None
    assert "/run/pg/.s.PGSQL.5432" == address_of("postgres://u@/x?host=/run/pg").path
    with pytest.raises(SurfaceError, match="mysql"):
        open_store("mysql://u@h/d")
