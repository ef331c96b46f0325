"""The reference consumer with real brokers, boxes and databases: committed once, receipted after."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import structlog

from benchmarks.processes.surface import Surface
from benchmarks.rig import BoxProcess, Watcher, order_violations, wait_until
from surface.cli import main
from surface.consumer import Consumer
from surface.link import ConsumerSettings
from surface.store import open_store
from tests.surface.conftest import arrived

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.postgres import Postgres
    from benchmarks.rig import Mosquitto

pytestmark = pytest.mark.mosquitto


@pytest.fixture(autouse=True)
def _no_box_is_left() -> Iterator[None]:
    """End the boxes of a test that failed."""
    yield
    for box in list(BoxProcess.alive):
        box.kill()


def empty(outbox: Path) -> bool:
    """Return whether a box has delivered everything."""
    with closing(sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)) as connection:
        return bool(connection.execute("SELECT sum(n) FROM tally").fetchone()[0] == 0)


def box_in(folder: Path, broker: Mosquitto, key: Path, *, rate: int, count: int) -> BoxProcess:
    """Return a running box that records `count` events."""
    return BoxProcess(
        outbox=folder / "box.db",
        port=broker.port,
        ledger=folder / "ledger",
        rate=rate,
        extra=("--count", str(count), "--consumer", f"surface={key}"),
    )


def test_box_and_surface_lose_nothing_while_the_surface_is_killed(
    broker: Mosquitto, tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five kills of the consumer: everything is stored once, in order; nothing is missing."""
    surface = Surface(folder=tmp_path, port=broker.port, key=key)
    box = box_in(tmp_path, broker, key, rate=200, count=1500)
    for _ in range(5):
        time.sleep(1.2)
        surface.kill()
        surface.start()
    wait_until(
        lambda: len(box.committed()) == 1500 and empty(tmp_path / "box.db"), timeout=120, what="draining"
    )
    box.stop()
    surface.stop()
    events = surface.events()
    assert set(box.committed()) <= {event["id"] for event in events}
    assert 0 == order_violations(events)
    assert 0 == main(["gaps", "--db", str(tmp_path / "surface.db")])
    assert "nothing is missing\n" == capsys.readouterr().out
    assert 0 == main(["muster", "--json", "--db", str(tmp_path / "surface.db")])
    assert ["north/box-1"] == json.loads(capsys.readouterr().out)["silent_boxes"]


def test_several_consumers_on_one_database_lose_nothing_while_some_are_killed(
    broker: Mosquitto, tmp_path: Path, key: Path, postgres: Postgres
) -> None:
    """Three share; one is killed again and again, one for good: all is stored once, and by more than one.

    What the dead one had not receipted is sent again because its last will has the others ask for it, long
    before the box would by itself (that takes 100 seconds while receipts do come).
    """
    where = postgres.new_database()
    members = {}
    for name in "abc":
        (tmp_path / name).mkdir()
        members[name] = Surface(
            folder=tmp_path / name, port=broker.port, key=key, where=where, extra=("--share", name)
        )
    box = box_in(tmp_path, broker, key, rate=300, count=1200)
    box.wait_ready()
    for turn in range(3):
        time.sleep(1.0)
        members["a"].kill()
        if turn == 1:
            members["c"].kill()
        members["a"].start()
    wait_until(
        lambda: len(box.committed()) == 1200 and empty(tmp_path / "box.db"), timeout=120, what="draining"
    )
    box.stop()
    for name in "ab":
        members[name].stop()
    ids = [event["id"] for event in members["a"].events()]
    assert len(ids) == len(set(ids))
    assert set(box.committed()) <= set(ids)
    with closing(open_store(where)) as store:
        assert [] == store.missing()
        (came,) = store.events_by_box().values()
    assert len(ids) == came.stored == came.highest_seq
    assert 0 < members["b"].stored() < len(ids)


def test_hostile_messages_stop_nothing(broker: Mosquitto, tmp_path: Path, key: Path) -> None:
    """Rubbish on every subscribed topic; the next true event is stored and receipted."""
    surface = Surface(folder=tmp_path, port=broker.port, key=key)
    watcher = Watcher(broker.port, topic="mine/north/v1/box-07/rcpt")
    wait_until((tmp_path / "surface.db").exists, what="the store")
    time.sleep(0.5)
    base = "mine/north/v1/box-07"
    for topic in ("evt/test", "evt/x/y", "evt", "state", "muster", "state/x", "evt/täst", "evt/ "):
        for payload in (
            b"",
            os.urandom(2000),
            b"[" * 60_000,
            b"{}",
            b'{"people": 7}',
            b"null",
            b"x" * 600_000,
        ):
            watcher.publish(f"{base}/{topic}", payload)
    watcher.publish(
        f"{base}/evt/test", arrived(3, mono_ns=1).body.replace(b'"mono_ns": 1', b'"mono_ns": 1.0')
    )
    watcher.publish(f"{base}/evt/test", arrived(3).body)
    wanted = arrived(3).fields["id"]
    wait_until(lambda: any(wanted.encode() in a.payload for a in watcher.arrivals), what="a receipt")
    assert {wanted} == surface.ids()
    surface.stop()
    assert surface.refused() > 20
    watcher.close()


def test_a_box_without_a_key_is_said_once(tmp_path: Path) -> None:
    """It is never receipted, so it forgets nothing: nothing else would tell why."""
    told = ConsumerSettings(host="h", port=1883, consumer="surface", site="+", keys={"box-01": b"k" * 32})
    with closing(open_store(str(tmp_path / "s.db"))) as store, structlog.testing.capture_logs() as said:
        consumer = Consumer(settings=told, store=store)
        for node in ("box-01", "box-02", "box-02"):
            consumer._send_receipt("north", node, [])
    assert [("no_key", "box-02")] == [(one["event"], one["node"]) for one in said]
