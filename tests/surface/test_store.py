"""The store, in SQLite and in PostgreSQL: every event once, holes told apart, what comes late put right."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from edge_app.delivery.event import KINDS
from surface.database import Unstorable, sql_of
from surface.postgres import address_of
from surface.records import Said
from surface.store import Missing, SurfaceError, open_store
from tests.surface.conftest import BOOT, BOTH, arrived

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from surface.store import Store


def at_ms(store: Store, kind: str) -> list[int | None]:
    """Return when the events of a kind happened, by number."""
    found = store._db.run("SELECT at_ms FROM dated WHERE kind = :kind ORDER BY seq", kind=kind)
    return [row[0] for row in found]


@BOTH
def test_event_is_stored_once_however_often_it_comes(store: Store) -> None:
    """Within a batch and between batches; in the order in which they came; with the very bytes."""
    assert 2 == store.add([arrived(2), arrived(1), arrived(2)])
    assert 1 == store.add([arrived(2), arrived(3)])
    assert {"test": 3} == store.counts()
    rows = store._db.run("SELECT seq, body, test FROM event ORDER BY arrival")
    assert [(seq, arrived(seq).body, False) for seq in (2, 1, 3)] == [
        (s, bytes(b), bool(t)) for s, b, t in rows
    ]


@BOTH
def test_several_consumers_store_an_event_once(opened: Callable[[], Store]) -> None:
    """Four write the same events at once, in other orders; those that lock each other out try again."""
    stores, new = [opened() for _ in range(4)], []

    def work(number: int) -> None:
        for first in range(1, 400, 40):
            batch = [arrived(seq) for seq in range(first, first + 60)]
            while True:
                try:
                    new.append(stores[number].add(batch if number % 2 else batch[::-1]))
                except SurfaceError:
                    continue
                break

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {"test": 420} == stores[0].counts()
    assert 420 == sum(new)


@BOTH
def test_missing_numbers_are_found_and_told_apart_by_their_reports(store: Store) -> None:
    """A hole is cut where reports begin and end; two reports may cover one; each box has its own numbers."""
    reports = [arrived(40, kind="gap", from_seq=2, to_seq=4), arrived(41, kind="gap", from_seq=13, to_seq=20)]
    reports.append(arrived(42, kind="gap", from_seq=18, to_seq=22))
    other = arrived(1, node="box-08", id=KINDS["test"].example["id"])
    store.add([*map(arrived, (1, 5, 8, 12, 30)), *map(arrived, range(31, 40)), *reports, other])
    assert [(2, 4, True), (6, 7, False), (9, 11, False), (13, 22, True), (23, 29, False)] == [
        (one.from_seq, one.to_seq, one.reported) for one in merged(store.missing())
    ]
    store.add([arrived(6), arrived(7)])
    assert (9, 11) == next((m.from_seq, m.to_seq) for m in store.missing() if not m.reported)


def merged(found: list[Missing]) -> list[Missing]:
    """Return ranges that follow each other and are reported alike as one."""
    whole: list[Missing] = []
    for one in found:
        last = whole[-1] if whole else None
        if last and (last.node, last.reported, last.to_seq + 1) == (one.node, one.reported, one.from_seq):
            whole[-1] = Missing(last.site, last.node, last.from_seq, one.to_seq, reported=one.reported)
        else:
            whole.append(one)
    return whole


@BOTH
def test_time_fix_dates_what_was_recorded_without_a_clock(store: Store) -> None:
    """Late, and for the events of its box and boot only; an older fix that comes after it changes nothing."""
    undated = {"wall_ms": None, "wall_quality": "none"}
    other = BOOT.replace("0b7c", "1111")
    store.add([arrived(1, mono_ns=7_000_000_000, **undated), arrived(2, boot=other, **undated), arrived(3)])
    store.add([arrived(9, kind="time_fix", offset_ms=1_000_000)])
    store.add([arrived(4, kind="time_fix", offset_ms=77)])
    store.add([arrived(10, kind="time_fix", node="box-08", offset_ms=5)])
    assert [1_007_000, None, KINDS["test"].example["wall_ms"]] == at_ms(store, "test")


@BOTH
def test_commissioning_test_is_stored_and_changes_nothing(store: Store) -> None:
    """`dsr-edge emit --test` sends any kind: nobody left by it, no loss is excused, no clock is set."""
    span = {"from_seq": 2, "to_seq": 4, "lost": 3, "reason": "full"}
    kinds: dict[str, dict[str, object]] = {
        "presence": {"change": "left", "person_ref": "C1"}, "time_fix": {"offset_ms": 5}, "gap": span
    }  # fmt: skip
    store.add(
        [
            arrived(1, wall_ms=None, wall_quality="none"),
            *(arrived(seq, kind=kind, test=True, **own) for seq, (kind, own) in enumerate(kinds.items(), 5)),
        ]
    )
    assert [] == store.departures()
    assert [(2, 4, False)] == [(one.from_seq, one.to_seq, one.reported) for one in store.missing()]
    assert [None] == at_ms(store, "test")
    assert 4 == sum(store.counts().values())


@BOTH
def test_who_came_out_of_order_and_how_late_is_counted(store: Store) -> None:
    """By box and priority: history after a live event of its priority is late, an alarm before it not."""
    store.add([arrived(3), arrived(1), arrived(2), arrived(4, kind="alarm"), arrived(5)])
    came = store.events_by_box()["north", "box-07"]
    assert (5, 5, 2) == (came.stored, came.highest_seq, came.late)
    store.add([arrived(6, wall_ms=1000)])
    assert 4006 == store.events_by_box()["north", "box-07"].longest_ms


@BOTH
def test_departures_keep_the_newest_by_number(store: Store) -> None:
    """Whatever comes in between or after."""
    gone = {"kind": "presence", "person_ref": "card-1", "change": "left"}
    store.add([arrived(5, **gone, wall_ms=500), arrived(3, **gone, wall_ms=300)])
    store.add([arrived(6, **{**gone, "change": "entered"}, wall_ms=600)])
    assert [("card-1", "box-07", 500)] == [(d.person_ref, d.node, d.at_ms) for d in store.departures()]


@BOTH
def test_an_older_muster_changes_nothing_and_the_same_word_does_not_look_fresher(store: Store) -> None:
    """As the broker keeps it for whoever comes late; another boot counts anew."""
    for boot, mono_ns, at, text in (
        ("a", 5, 10, "1"),
        ("a", 5, 99, "1"),
        ("a", 4, 99, "0"),
        ("a", 6, 12, "2"),
    ):
        store.say([Said("north", "box-07", text, at, boot, mono_ns)])
        assert (text, at) == (store.boxes()[0].muster, store.boxes()[0].muster_ms) or at == 99
    assert ("2", 12) == (store.boxes()[0].muster, store.boxes()[0].muster_ms)
    store.say([Said("north", "box-07", "3", 20, "b", 1)])
    for at in (30, 40):
        store.say([Said("north", "box-07", "{}", at)])
    (box,) = store.boxes()
    assert ("3", 20, "{}", 30) == (box.muster, box.muster_ms, box.state, box.state_ms)


@BOTH
def test_names_are_taken_over_and_conflicts_told(store: Store) -> None:
    """From several boxes; the newest name counts; with replace the others are forgotten."""
    assert [] == store.import_roster({"a": "Ann", "b": "Ben"}, replace=False)
    assert [("b", "Ben", "Bea")] == store.import_roster({"b": "Bea", "c": "Cy"}, replace=False)
    assert {"a": "Ann", "b": "Bea", "c": "Cy"} == store.roster()
    store.import_roster({"d": "D'Or"}, replace=True)
    assert {"d": "D'Or"} == store.roster()


@BOTH
def test_what_no_column_takes_is_told_apart_from_a_store_that_does_not_serve(store: Store) -> None:
    """Trying again would be for ever: a number beyond all columns, half a character."""
    for wrong in ({"mono_ns": 1 << 70}, {"zone": "\ud800"}, {"priority": None}):
        with pytest.raises(Unstorable):
            store.add([arrived(1), arrived(2, **wrong)])
    assert {} == store.counts()


@BOTH
def test_newer_store_is_refused(store: Store, where: str, kind: str) -> None:
    """An older program does not touch it."""
    store._db.run("PRAGMA user_version=7" if kind == "sqlite" else "UPDATE surface_schema SET version = 7")
    with pytest.raises(SurfaceError, match="schema 7"):
        open_store(where)


def test_a_store_of_version_1_is_brought_up(tmp_path: Path) -> None:
    """Events, offsets and states stay; only SQLite had a version 1."""
    path = tmp_path / "old.db"
    old = sqlite3.connect(path)
    sql = resources.files("surface").joinpath("schema_v1.sql").read_text("utf-8")
    old.executescript(f"{sql}\nPRAGMA user_version=1;")
    values = "?, ?, 'north', 'b', ?, 3, ?, 'x', 9000000, NULL, NULL, NULL, NULL, 0, 1, x''"
    event = f"INSERT INTO event VALUES ({values})"  # noqa: S608 - our own
    old.executemany(event, [(1, "i1", 1, "test"), (2, "i2", 2, "time_fix")])
    old.execute("INSERT INTO boot VALUES ('x', 100)")
    old.execute("INSERT INTO node VALUES ('north', 'b', '{}', 1, '{}', 2)")
    old.commit()
    old.close()
    store = open_store(str(path))
    assert [109] == at_ms(store, "test")
    assert ["b"] == [box.node for box in store.boxes()]
    assert {"test": 1, "time_fix": 1} == store.counts()
    store.close()


@BOTH
def test_a_store_of_version_2_is_brought_up(where: str, kind: str) -> None:
    """Its events stay, baselines are new, and what a commissioning test had changed is taken back."""
    test = (
        (
            "INSERT INTO gap (id, site, node, from_seq, to_seq, lost, reason)"
            " VALUES ('e', 'north', 'box-07', 1, 2, 2, 'full')"
        ),
        (
            "INSERT INTO event (id, {ms} site, node, seq, priority, kind, boot, mono_ns, test, arrived_ms,"
            " body) VALUES ('e', {n} 'north', 'box-07', 3, 0, 'gap', 'b', 1, {true}, 1, '')"
        ),
    )
    first, last = ("schema_v1.sql", "schema_v2.sql"), ("views_v2.sql",)
    if kind == "sqlite":
        old = sqlite3.connect(where)
        for name in (*first, *last):
            old.executescript(sql_of(name))
        for line in test:
            old.execute(line.format(ms="", n="", true=1))
        old.execute("PRAGMA user_version=2")
        old.commit()
        old.close()
    else:
        native = pytest.importorskip("pg8000.native")
        address = address_of(where)
        with closing(
            native.Connection(address.user, database=address.database, sock=address.connect())
        ) as old:
            for name in ("postgres_v2.sql", *last):
                old.run(sql_of(name))
            for line in test:
                old.run(line.format(ms="id_ms,", n="1,", true="true"))
    for _ in range(2):
        with closing(open_store(where)) as store:
            store.add([arrived(3)])
            assert [(1, 2, False)] == [(m.from_seq, m.to_seq, m.reported) for m in store.missing()]
            assert {} == store.baselines()
