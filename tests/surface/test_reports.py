"""What the command line shows of a store, and the roster that it takes over."""

from __future__ import annotations

import json
import re
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_app.cli.people_text import roster_csv, roster_json
from edge_app.errors import ConfigError
from surface.cli import build_parser, main, read_keys, settings_from
from surface.records import Said
from surface.reports import read_roster
from surface.store import open_store
from tests.surface.conftest import BOTH, arrived
from tests.surface.test_muster import say

if TYPE_CHECKING:
    from surface.store import Store

PEOPLE = (("card-1", "Li, Wei"), ("card-2", 'Ann "A" Neil'))


def shown(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    """Return what a command prints."""
    assert status == main([*words])
    return capsys.readouterr().out


@BOTH
def test_the_boxes_the_gaps_and_the_muster_are_shown(
    store: Store, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A silent box, numbers that are missing or lost, what came out of order, and who was where."""
    say(store, "box-07", ("card-1", "drift", 0), online=False)
    state = {"online": False, "reason": "lost", "backlog": {"alarm": 0, "sighting": 7}}
    store.say(
        [Said("north", "box-07", json.dumps({**state, "silent_consumers": {"scada": 5, "\x1b": 5}}), 1)]
    )
    store.add([arrived(1), arrived(6), arrived(2), arrived(9, kind="gap", from_seq=3, to_seq=4, lost=1)])
    text = shown(capsys, "boxes", "--db", where)
    assert "north/box-07: SILENT (lost)" in text
    assert "4 events from number 1 to 9" in text
    assert "3 missing, 1 lost and reported, 1 out of order; 7 wait on the box" in text
    assert text.endswith("which gets no receipts from scada\n")
    (row,) = json.loads(shown(capsys, "boxes", "--json", "--db", where))
    assert (3, 1, 1, True) == tuple(row[k] for k in ("missing", "lost_and_reported", "late", "silent"))

    lines = shown(capsys, "gaps", "--db", where, status=1).splitlines()
    assert "north/box-07: 3..4  reported by the box (lost, or left out)" == lines[0]
    assert "NOT REPORTED" in lines[1]
    assert 3 == len(json.loads(shown(capsys, "gaps", "--json", "--db", where, status=1)))
    store.add([arrived(10, kind="gap", from_seq=5, to_seq=5, lost=None)])
    assert "an unknown number lost and reported" in shown(capsys, "boxes", "--db", where)

    assert "card-1" in (text := shown(capsys, "muster", "--db", where))
    assert "BOX SILENT" in text
    assert "box north/box-07 is not there" in text
    assert 1 == json.loads(shown(capsys, "muster", "--json", "--db", where))["headcount"]


@BOTH
def test_numbers_that_another_outbox_used_are_told(
    store: Store, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A box with a new disk counts from 1 again, and what it loses hides behind the old numbers."""
    store.add([arrived(seq) for seq in range(1, 6)])
    assert "TWICE" not in shown(capsys, "boxes", "--db", where)
    store.add([arrived(seq, id=f"{arrived(seq).fields['id'][:-4]}f{seq:03x}") for seq in (1, 5)])
    assert "; 2 NUMBERS USED TWICE" in shown(capsys, "boxes", "--db", where)
    assert "north/box-07: 2 NUMBERS USED TWICE" in shown(capsys, "gaps", "--db", where, status=1)
    (row,) = json.loads(shown(capsys, "boxes", "--json", "--db", where))
    assert (7, 2) == (row["stored"], row["numbers_twice"])
    shown(capsys, "baseline", "north/box-07", "--from", "6", "--db", where)
    assert "TWICE" not in shown(capsys, "gaps", "--db", where)


@BOTH
def test_an_event_is_a_word_of_its_box_unless_it_was_carried_or_kept(
    store: Store, where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broker keeps events of a box that is long gone; without a state nobody knows that it is there."""
    now = time.time_ns() // 1_000_000
    undated = {"wall_ms": None, "wall_quality": "none"}
    old = {"wall_ms": now - 60_000, "wall_quality": "sync"}
    (tmp_path / "carried").write_bytes(arrived(1, node="box-03").body)
    shown(capsys, "import", str(tmp_path / "carried"), "--db", where)
    for number, (node, more) in enumerate({"box-01": undated, "box-02": old}.items(), 2):
        store.add([replace(arrived(number, node=node, **more), arrived_ms=now)], live=True)
    first, second, third = shown(capsys, "boxes", "--db", where).splitlines()
    assert "north/box-01: SILENT (no word), heard 0 s ago; 1 events" in first
    assert "north/box-02: SILENT (no word), heard 60 s ago; 1 events" in second
    assert "north/box-03: SILENT (no word), never heard; 1 events" in third
    assert "box north/box-01 sent no muster" in shown(capsys, "muster", "--db", where)
    store.say([Said("north", "box-01", '{"online": true}', now - 200_000)])
    assert "north/box-01: there, heard" in shown(capsys, "boxes", "--db", where)


@BOTH
def test_what_was_never_heard_is_not_an_empty_mine(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped store is an error, nothing is made; one without boxes, a box without a muster, is said."""
    for verb in ("muster", "boxes", "gaps", "roster"):
        shown(capsys, verb, "--db", where, status=6)
    assert "://" in where or not Path(where).exists()
    (tmp_path / "carried").write_bytes(arrived(1).body)
    shown(capsys, "import", str(tmp_path / "carried"), "--db", str(tmp_path / "mistyped" / "s.db"), status=6)
    assert not (tmp_path / "mistyped").exists()
    with closing(open_store(where)) as store:
        assert "nobody knows who is in the mine" in shown(capsys, "muster", "--db", where)
        assert 0 == json.loads(shown(capsys, "muster", "--json", "--db", where))["boxes"]
        store.say([Said("north", "box-07", '{"online": true}', 1)])
    text = shown(capsys, "muster", "--exit", "gate-9", "--exit", "box-07", "--db", where)
    assert "box north/box-07 sent no muster" in text
    assert 1 == text.count("--exit")
    assert "--exit gate-9 is no box" in text


@BOTH
def test_events_that_were_carried_are_stored_once(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The very bytes; what is no event is told by its line; what comes over the broker is known then."""
    file, events = tmp_path / "events.jsonl", [arrived(1), arrived(2)]
    file.write_bytes(b"".join(one.body + b"\n" for one in events) + b'{"v": 1}\n' + b"x" * 400_000)
    text = shown(capsys, "import", str(file), "--db", where, status=1)
    assert "2 stored, 0 known already, " in text
    assert "line 3: " in text
    with closing(open_store(where)) as store:
        assert [one.body for one in events] == [
            bytes(body) for (body,) in store.rows("SELECT body FROM event ORDER BY seq")
        ]
        assert 1 == store.add([*events, arrived(3)])
    file.write_bytes(events[0].body)
    assert "0 stored, 1 known already, 0 refused" in shown(capsys, "import", str(file), "--db", where)
    shown(capsys, "import", str(tmp_path / "nowhere"), "--db", where, status=2)


@pytest.mark.parametrize(("suffix", "write"), [("csv", roster_csv), ("json", roster_json)])
def test_a_roster_that_a_box_wrote_is_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, write: Any
) -> None:
    """By the very functions that the box writes it with; then the muster and the list have the names."""
    file, where = tmp_path / f"roster.{suffix}", str(tmp_path / "s.db")
    file.write_text(write(PEOPLE), encoding="utf-8")
    assert dict(PEOPLE) == read_roster(file)
    assert "2 names" in shown(capsys, "roster", "--import", str(file), "--db", where)
    file.write_text(write([("card-1", "Li Na")]), encoding="utf-8")
    assert "card-1 was Li, Wei, is now Li Na" in shown(capsys, "roster", "--import", str(file), "--db", where)
    assert 2 == len(json.loads(shown(capsys, "roster", "--json", "--db", where)))
    shown(capsys, "roster", "--import", str(file), "--replace", "--db", where)
    assert ["card-1", "Li", "Na"] == shown(capsys, "roster", "--db", where).split()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"name\nx",
        b"reference,name\na/b,x\n",
        b"reference,name\na,\n",
        b"reference,name\na,\x1b[2J\n",
        b"reference,name\na,x\na,y\n",
        b"\xff\xfe",
        b"\x00",
    ],
)
def test_what_is_no_roster_is_refused(tmp_path: Path, content: bytes) -> None:
    """Nothing of it is taken over."""
    for suffix in ("csv", "json"):
        path = tmp_path / f"x.{suffix}"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"roster|reference|twice"):
            read_roster(path)


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
    (folder / "box-01.key").touch()
    with pytest.raises(ConfigError, match=r"box-01\.key is named as no box can be"):
        read_keys(folder)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--broker", ""], "not a broker: ''"),
        (["--broker", "mqtt://h"], "without mqtt://"),
        (["--broker", "::1"], r"\[IPV6\]:PORT"),
        (["--broker", "h:0"], "not a broker"),
        (["--broker", "h:65536"], "not a broker"),
        (["--broker", "h", "--password-file", "p"], "without --username"),
        (["--broker", "h", "--ca-file", "nowhere.pem"], "TLS files cannot be used"),
    ],
)
def test_what_no_connection_could_use_is_said_before_one_is_tried(words: list[str], said: str) -> None:
    """Otherwise the consumer would try for ever, or leave a password out."""
    with pytest.raises(ConfigError) as raised:
        settings_from(build_parser().parse_args(["run", *words, "--keys", "k", "--db", "x"]))
    assert re.search(said, str(raised.value))


@pytest.mark.parametrize("option", ["--site", "--node", "--consumer", "--share"])
@pytest.mark.parametrize("value", ["#", "a/b", "+a", "$share", "", "x" * 33, "a\nb", "ä"])
def test_names_that_would_change_a_topic_filter_are_refused(tmp_path: Path, option: str, value: str) -> None:
    """A wildcard or a level in a name would subscribe to other boxes, or to everything."""
    words = ["run", "--broker", "h", "--keys", str(tmp_path), "--db", "x", f"{option}={value}"]
    with pytest.raises(ConfigError, match="is no name"):
        settings_from(build_parser().parse_args(words))


def test_several_consumers_share_events_and_nothing_else(tmp_path: Path, key: Path) -> None:
    """States and musters are retained, which no shared subscription delivers; alone, nothing is shared."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "default").write_bytes(key.read_bytes())
    (tmp_path / "keys" / "default").chmod(0o600)
    words = ["run", "--broker", "h:1885", "--keys", str(tmp_path / "keys"), "--db", "x", "--site", "m1"]
    alone = settings_from(build_parser().parse_args(words))
    assert ("h", 1885) == (alone.host, alone.port)
    v6 = settings_from(build_parser().parse_args([*words, "--broker", "[fe80::1]"]))
    assert ("fe80::1", 1883) == (v6.host, v6.port)
    assert ("mine/m1/v1/+/evt/#", "mine/m1/v1/+/state", "mine/m1/v1/+/muster") == alone.filters
    shared = settings_from(build_parser().parse_args([*words, "--share", "a"]))
    assert "$share/dsr-surface-surface/mine/m1/v1/+/evt/#" == shared.filters[0]
    assert ("dsr-surface-surface", "dsr-surface-surface-a") == (alone.client_id, shared.client_id)
    assert alone.filters[1:] == shared.filters[1:3]
