"""What only PostgreSQL can do: go away and come back, be somewhere else, be set up badly."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import structlog

from benchmarks.rig import Watcher, wait_until
from edge_app.errors import ConfigError
from surface.postgres import address_of
from surface.store import SurfaceError, open_store
from tests.surface.conftest import arrived
from tests.surface.test_link import consuming

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.postgres import Postgres
    from benchmarks.rig import Mosquitto


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


@pytest.mark.mosquitto
def test_an_outage_of_the_server_is_told_once_and_so_is_its_end(
    postgres: Postgres, broker: Mosquitto, tmp_path: Path
) -> None:
    """Not a line a second; what came meanwhile, older events too, is stored in the end."""
    where = postgres.new_database()
    watcher = Watcher(broker.port, topic="mine/+/v1/+/rcpt")

    def send(*numbers: int) -> None:
        for seq in numbers:
            watcher.publish("mine/north/v1/box-07/evt/test", arrived(seq).body)

    def receipted(seq: int) -> bool:
        return any(arrived(seq).fields["id"].encode() in one.payload for one in watcher.arrivals)

    with structlog.testing.capture_logs() as lines, consuming(tmp_path, broker.port, where) as consumer:
        wait_until(lambda: consumer.subscribed, what="the subscription")
        send(5)
        wait_until(lambda: receipted(5), what="a receipt")
        postgres.kill()
        send(6, 2, 3)
        wait_until(lambda: "not_stored" in [one["event"] for one in lines], what="a word of it")
        time.sleep(3.5)
        told = [one["reason"] for one in lines if one["event"] == "not_stored"]
        assert len(told) == len(set(told)) <= 2, told
        assert not receipted(6)
        postgres.start()
        wait_until(lambda: receipted(3), timeout=20, what="what came meanwhile, stored")
    (again,) = [one for one in lines if one["event"] == "stores_again"]
    assert again["after_s"] >= 3.5
    watcher.close()
    with closing(open_store(where)) as store:
        (came,) = store.events_by_box().values()
        assert (4, 2) == (came.stored, came.late)
        assert [(1, 1), (4, 4)] == [(one.from_seq, one.to_seq) for one in store.missing()]


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
