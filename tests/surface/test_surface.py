"""The reference consumer against a real broker and a real box: committed once, receipted after, merged."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.processes.surface import Surface
from benchmarks.rig import BoxProcess, Mosquitto, Watcher, order_violations, wait_until
from edge_app.delivery.event import KINDS
from edge_app.errors import ConfigError
from surface.arrive import Refused, event_of
from surface.cli import main, read_keys
from surface.muster import mine_muster
from surface.store import Arrived, Missing, Store, SurfaceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOOT = "0b7c5c3e-6a1f-4f5e-9f51-2f3c8a1d9e10"


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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return an empty store."""
    one = Store(tmp_path / "store.db")
    yield one
    one.close()


def arrived(seq: int, *, kind: str = "test", node: str = "box-07", **more: Any) -> Arrived:
    """Return an event as it arrives: the schema's example with another number."""
    fields = {
        **KINDS[kind].example,
        "seq": seq,
        "node": node,
        "id": f"{KINDS[kind].example['id'][:-4]}{seq:04x}",
        **more,
    }
    return Arrived(
        site="north", node=node, fields=fields, body=json.dumps(fields).encode(), arrived_ms=5000 + seq
    )


def test_event_is_stored_once_however_often_it_comes(store: Store) -> None:
    """Within a batch and between batches."""
    assert 2 == store.add([arrived(1), arrived(2), arrived(1)])
    assert 1 == store.add([arrived(2), arrived(3)])
    assert {"test": 3} == store.counts()


def test_missing_numbers_are_found_and_told_apart_by_their_reports(store: Store) -> None:
    """A hole that a gap event covers is reported; another is not; each box has its own numbers."""
    gap = arrived(9, kind="gap", from_seq=2, to_seq=4)
    store.add(
        [arrived(1), arrived(5), arrived(8), gap, arrived(1, node="box-08", id=KINDS["test"].example["id"])]
    )
    assert [
        Missing("north", "box-07", 2, 4, reported=True),
        Missing("north", "box-07", 6, 7, reported=False),
    ] == store.missing()


def test_time_fix_dates_what_was_recorded_without_a_clock(store: Store, tmp_path: Path) -> None:
    """Late, and for the events of its boot only."""
    undated = {"wall_ms": None, "wall_quality": "none"}
    other = BOOT.replace("0b7c", "1111")
    store.add([arrived(1, mono_ns=7_000_000_000, **undated), arrived(2, boot=other, **undated), arrived(3)])
    store.add([arrived(4, kind="time_fix", offset_ms=1_000_000)])
    found = sqlite3.connect(tmp_path / "store.db").execute(
        "SELECT at_ms FROM dated WHERE kind = 'test' ORDER BY seq"
    )
    assert [1_007_000, None, KINDS["test"].example["wall_ms"]] == [row[0] for row in found]


def test_newer_store_is_refused(store: Store, tmp_path: Path) -> None:
    """An older program does not touch it."""
    store._db.execute("PRAGMA user_version=7")
    with pytest.raises(SurfaceError, match="schema 7"):
        Store(tmp_path / "store.db")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"node": "box-08"}, "another site, box or kind"),
        ({"kind": "alarm"}, "another site, box or kind"),
        ({"id": "x"}, "event.id must match"),
        ({"seq": "1"}, "event.seq must be integer"),
        ({"seq": 0}, "at least 1"),
        ({"boot": None}, "event.boot must be string"),
        ({"zone": "a/b"}, "event.zone must match"),
        ({"v": 2}, "event.v must be 1"),
    ],
)
def test_what_is_no_event_of_its_topic_is_refused(change: dict[str, Any], complaint: str) -> None:
    """Wrong envelope, or another box's name: no row, no receipt."""
    body = json.dumps({**KINDS["test"].example, **change}).encode()
    with pytest.raises(Refused, match=complaint):
        event_of(body, site="north", node="box-07", kind="test")


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000, b"x" * 600_000, b"1"])
def test_rubbish_is_refused(body: bytes) -> None:
    """Not JSON, too deep, too large, no object."""
    with pytest.raises(Refused):
        event_of(body, site="north", node="box-07", kind="test")


def test_kind_of_a_newer_box_is_stored_like_any_other() -> None:
    """A consumer must not lose what it does not understand."""
    body = json.dumps({**KINDS["test"].example, "kind": "methane", "ppm": 5}).encode()
    assert 5 == event_of(body, site="north", node="box-07", kind="methane")["ppm"]


def test_muster_of_the_mine_takes_the_newest_sight_and_ages(store: Store) -> None:
    """Two boxes saw card-1; one box is silent, its people are marked; a blind camera is named."""

    def box(node: str, ref: str, zone: str, age_ms: int, *, at: int, online: bool = True) -> None:
        person = {"person_ref": ref, "zone": zone, "camera": "c", "age_ms": age_ms}
        cameras = [{"camera": "c", "sees": online}]
        store.set_node(
            "north",
            node,
            "muster",
            {"people": [person], "unknown": [{**person, "person_ref": None}], "cameras": cameras},
            now_ms=at,
        )
        store.set_node("north", node, "state", {"online": online}, now_ms=at)

    box("box-1", "card-1", "shaft", 60_000, at=100_000)
    box("box-2", "card-1", "drift", 1_000, at=100_000)
    box("box-3", "card-2", "portal", 0, at=40_000, online=False)
    found = mine_muster(store, now_ms=110_000)
    assert [("card-1", "drift", 11.0, False), ("card-2", "portal", 70.0, True)] == [
        (one.person_ref, one.zone, one.age_s, one.silent) for one in found.people
    ]
    assert (5, ("north/box-3",), ("north/box-3/c",)) == (
        found.headcount,
        found.silent_boxes,
        found.blind_cameras,
    )


def test_hostile_muster_does_no_harm(store: Store) -> None:
    """A retained muster of wrong types counts nobody."""
    for muster in (
        {"people": 5},
        {"people": [1, None]},
        {"cameras": {"a": 1}},
        {"unknown": [{"age_ms": "x"}]},
    ):
        store.set_node("north", "box-1", "muster", muster, now_ms=1)
        mine_muster(store, now_ms=5)


def test_keys_are_read_by_box_and_must_be_closed_to_others(tmp_path: Path, key: Path) -> None:
    """``default`` counts for all others; an empty folder says how to make one."""
    folder = tmp_path / "keys"
    folder.mkdir()
    with pytest.raises(ConfigError, match="openssl rand"):
        read_keys(folder)
    for name in ("box-01", "default"):
        (folder / name).write_bytes(key.read_bytes())
        (folder / name).chmod(0o600)
    assert {"box-01": b"\xab" * 32, "*": b"\xab" * 32} == read_keys(folder)
    (folder / "default").chmod(0o644)
    with pytest.raises(ConfigError, match="may be read by others"):
        read_keys(folder)


def empty(outbox: Path) -> bool:
    """Return whether a box has delivered everything."""
    connection = sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)
    n = connection.execute("SELECT sum(n) FROM tally").fetchone()[0]
    connection.close()
    return bool(n == 0)


@pytest.mark.mosquitto
def test_box_and_surface_lose_nothing_while_the_surface_is_killed(
    broker: Mosquitto, tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five kills of the consumer: everything is stored once, in order; nothing is missing."""
    surface = Surface(folder=tmp_path, port=broker.port, key=key)
    box = BoxProcess(
        outbox=tmp_path / "box.db",
        port=broker.port,
        ledger=tmp_path / "ledger",
        rate=200,
        extra=("--count", "1500", "--consumer", f"surface={key}"),
    )
    for _ in range(5):
        time.sleep(1.2)
        surface.kill()
        surface.start()
    wait_until(
        lambda: len(box.committed()) == 1500 and empty(tmp_path / "box.db"), timeout=60, what="draining"
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


@pytest.mark.mosquitto
def test_hostile_messages_stop_nothing(broker: Mosquitto, tmp_path: Path, key: Path) -> None:
    """Rubbish on every subscribed topic; the next true event is stored and receipted."""
    surface = Surface(folder=tmp_path, port=broker.port, key=key)
    watcher = Watcher(broker.port, topic="mine/north/v1/box-07/rcpt")
    wait_until((tmp_path / "surface.db").exists, what="the store")
    time.sleep(0.5)
    base = "mine/north/v1/box-07"
    for topic in ("evt/test", "evt/x/y", "evt", "state", "muster", "state/x"):
        for payload in (b"", os.urandom(2000), b"[" * 60_000, b"{}", b'{"people": 7}', b"null"):
            watcher.publish(f"{base}/{topic}", payload)
    watcher.publish(f"{base}/evt/test", arrived(3).body)
    wanted = arrived(3).fields["id"]
    wait_until(lambda: any(wanted.encode() in a.payload for a in watcher.arrivals), what="a receipt")
    assert {wanted} == surface.ids()
    surface.stop()
    watcher.close()
