"""A store that is younger than the boxes: a baseline that an operator sets, or what an older store has."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from benchmarks.processes.surface import Surface
from benchmarks.rig import BoxProcess, wait_until
from surface.cli import main
from surface.records import Said
from surface.store import Baseline, open_store
from tests.surface.conftest import BOTH, arrived
from tests.surface.test_consumer import empty
from tests.surface.test_reports import shown

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.postgres import Postgres
    from benchmarks.rig import Mosquitto
    from surface.store import Store

BOX = "north/box-07"


@BOTH
def test_the_first_events_of_a_box_are_missed_unless_an_operator_says_otherwise(
    store: Store, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a new box they are lost, of an old one somebody else has them: the store cannot tell, and asks."""
    store.add([arrived(5), arrived(6), arrived(9)])
    said = shown(capsys, "gaps", "--db", where, status=1)
    assert f"{BOX}: 1..4  NOT REPORTED" in said
    assert "`dsr-surface baseline`" in said
    assert "no baseline" in shown(capsys, "baseline", "--db", where)

    assert f"{BOX}: from number 5 on, said on 20" in shown(capsys, "baseline", BOX, "--db", where)
    said = shown(capsys, "gaps", "--db", where, status=1)
    assert f"{BOX}: 1..4  before the box's baseline: not expected here" in said
    assert f"{BOX}: 7..8  NOT REPORTED" in said
    assert "`dsr-surface baseline`" not in said
    assert "2 missing (4 before its baseline not counted)" in shown(capsys, "boxes", "--db", where)

    store.add([arrived(7), arrived(8)])
    shown(capsys, "gaps", "--db", where)
    shown(capsys, "baseline", BOX, "--from", "3", "--db", where)
    assert [(1, 2, True), (3, 4, False)] == [(m.from_seq, m.to_seq, m.before) for m in store.missing()]


@BOTH
def test_baseline_beyond_what_is_stored_is_refused(
    store: Store, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A digit too many would excuse every loss to come; of a box that is not here yet nobody can tell."""
    store.add([arrived(5)])
    assert 2 == main(["baseline", BOX, "--from", "7", "--db", where])
    assert "would not be missed\n  fix: a number up to 6" in capsys.readouterr().err
    assert f"{BOX}: from number 6" in shown(capsys, "baseline", BOX, "--from", "6", "--db", where)
    said = shown(capsys, "baseline", "north/nobox", "--from", "700", "--db", where)
    assert "no event of north/nobox is stored yet: is that its name?" in said


@BOTH
def test_box_that_is_no_more_is_forgotten_and_its_events_stay(
    store: Store, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whom it saw last would otherwise be in the mine's muster for ever."""
    store.add([arrived(1)])
    muster = {"people": [{"person_ref": "card-1", "zone": "lock", "camera": "c", "age_ms": 5}]}
    store.say([Said("north", "box-07", json.dumps(muster), 1, "b", 1)])
    assert "headcount 1" in shown(capsys, "muster", "--db", where)
    assert "mosquitto_pub -r -n -t TOPIC" in shown(capsys, "retire", BOX, "--db", where)
    assert "nobody knows who is in the mine" in shown(capsys, "muster", "--db", where)
    assert {"test": 1} == store.counts()
    assert 2 == main(["retire", BOX, "--db", where])
    assert "was never heard" in capsys.readouterr().err


@BOTH
def test_a_baseline_of_all_boxes_changes_none_that_stands(
    store: Store, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A box that comes new to the mine afterwards is expected from 1 on; who still has a backlog is named."""
    store.add([arrived(5), arrived(70, node="box-08")])
    store.set_baselines([Baseline("north", "box-07", 2, 1)])
    state = {"online": True, "backlog": {"alarm": 0, "sighting": 12}}
    store.say([Said("north", "box-08", json.dumps(state), 1)])
    assert "north/box-08 still has 12 events" in shown(capsys, "baseline", "--all", "--db", where)
    store.add([arrived(3, node="box-09")])
    found = json.loads(shown(capsys, "baseline", "--json", "--db", where))
    assert [("box-07", 2), ("box-08", 70)] == [(one["node"], one["from_seq"]) for one in found]
    assert [("box-07", 2, 4), ("box-09", 1, 2)] == [
        (one.node, one.from_seq, one.to_seq) for one in store.missing() if not one.before
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["box-07"], "SITE/BOX"),
        (["north/box-99"], "no event of north/box-99 is in the store"),
        (["--all", "--from", "3"], "belongs to boxes that are named"),
        ([BOX, "--from", "0"], "1 or more"),
    ],
)
def test_a_baseline_of_nothing_is_refused(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is set."""
    where = str(tmp_path / "s.db")
    with closing(open_store(where)) as store:
        store.add([arrived(5)])
        assert 2 == main(["baseline", *words, "--db", where])
        assert said in capsys.readouterr().err
        assert {} == store.baselines()


@BOTH
def test_a_copy_has_everything_and_takes_nothing_away(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bytes, their order and arrival, losses, names, states; what the newer store knows already stays."""
    old = str(tmp_path / "old.db")
    with closing(open_store(old)) as source:
        source.add([arrived(seq) for seq in (3, 1, 2)])
        source.add([arrived(seq) for seq in range(10, 700)])
        source.add([arrived(9, kind="gap", from_seq=4, to_seq=8, lost=5)])
        source.say([Said("north", "box-07", "{}", 7), Said("north", "box-07", "[]", 8, "boot", 9)])
        source.say([Said("north", "box-08", '{"online": false}', 7)])
        source.import_roster({"card-1": "Old", "card-2": "Bea"}, replace=False)
        source.set_baselines([Baseline("north", "box-08", 40, 1)])
        rows = source.rows("SELECT seq, body, arrived_ms FROM event ORDER BY arrival")
        with closing(open_store(where)) as store:
            store.say([Said("north", "box-08", '{"online": true}', 99)])
            store.import_roster({"card-1": "Ann"}, replace=False)
            copied = "694 events stored, 0 known already, 0 refused\n"
            assert copied == shown(capsys, "copy", "--from", old, "--db", where)
            assert [(seq, bytes(body), at) for seq, body, at in rows] == [
                (seq, bytes(body), at)
                for seq, body, at in store.rows("SELECT seq, body, arrived_ms FROM event ORDER BY arrival")
            ]
            assert source.missing() == store.missing()
            assert source.events_by_box() == store.events_by_box()
            assert source.boxes()[0] == store.boxes()[0]
            assert source.baselines() == store.baselines()
            assert '{"online": true}' == store.boxes()[1].state
            assert {"card-1": "Ann", "card-2": "Bea"} == store.roster()
            assert "0 events stored, 694 known" in shown(capsys, "copy", "--from", old, "--db", where)
    shown(capsys, "copy", "--from", str(tmp_path / "nowhere.db"), "--db", where, status=6)
    shown(capsys, "copy", "--from", where, "--db", where, status=2)


@pytest.mark.mosquitto
def test_a_mine_that_moves_to_postgresql_takes_its_events_along(
    broker: Mosquitto, tmp_path: Path, key: Path, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the new store an old box begins in the middle; with the old store's events nothing is missing."""
    where = postgres.new_database()
    for turn, store in enumerate((None, where)):
        surface = Surface(folder=tmp_path, port=broker.port, key=key, where=store)
        consumer = ("--consumer", f"surface={key}")
        box = BoxProcess(
            outbox=tmp_path / "box.db",
            port=broker.port,
            ledger=tmp_path / f"ledger{turn}",
            rate=200,
            extra=("--count", "100", *consumer),
        )
        box.wait_ready()
        wait_until(
            lambda box=box: len(box.committed()) == 100 and empty(tmp_path / "box.db"),
            timeout=60,
            what="draining",
        )
        time.sleep(0.2)
        box.stop()
        surface.stop()
    assert "north/box-1: 1..10" in shown(capsys, "gaps", "--db", where, status=1)
    shown(capsys, "copy", "--from", str(tmp_path / "surface.db"), "--db", where)
    assert "nothing is missing\n" == shown(capsys, "gaps", "--db", where)
