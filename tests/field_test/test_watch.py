"""The subscriber: a process of its own that shows each event once and writes it down."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from field_test import watch
from field_test.broker import BrokerError, demo_broker

ROOT: Final = Path(__file__).resolve().parents[2]
ROSTER: Final = {"C-1": "Ann Example"}


def event(**fields: Any) -> dict[str, Any]:
    """Return a sighting with these fields changed."""
    body = {
        "id": "1",
        "kind": "sighting",
        "mono_ns": 5_500_000_000,
        "track": "t000007",
        "decision": "named",
        "person_ref": "C-1",
        "score": 0.512,
        "threshold": 0.35,
        "face_px": 61.2,
        "final": False,
    }
    return {**body, **fields}


def shown(body: dict[str, Any], *, colour: bool = False) -> str:
    """Return the event's row, its spaces folded."""
    return " ".join(watch.row(body, ROSTER, start_ns=1_000_000_000, colour=colour).split())


@pytest.fixture
def watcher() -> watch.Watcher:
    """Return a watcher that writes into memory."""
    return watch.Watcher(roster=ROSTER, out=io.StringIO(), colour=False)


def test_a_named_sighting_shows_name_score_and_face() -> None:
    """Time, kind, track, name with reference, score, threshold and the face's size stand in the row."""
    assert "4.5 sighting 7 Ann Example (C-1) 0.51 0.35 61 px" == shown(event())


def test_a_person_missing_from_the_roster_is_shown_by_reference() -> None:
    """A reference that the roster lacks is still shown."""
    assert "C-9" in shown(event(person_ref="C-9"))


def test_an_unknown_person_is_shown_with_the_reason() -> None:
    """Why nobody is named stands beside it."""
    body = event(decision="unknown", reason="below_threshold", final=True)
    del body["person_ref"]

    assert "unknown: below threshold [track ended]" in shown(body)


def test_rows_are_coloured_on_a_terminal_only() -> None:
    """Decisions are told apart by colour where there is a terminal."""
    assert shown(event(), colour=True).startswith("\x1b[32m")
    assert "\x1b" not in shown(event())


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_the_table_fits_the_terminal(columns: int) -> None:
    """A row never wraps, ends in no blanks, and says by dots where it was cut."""
    body = event(kind="presence", person_ref="C-" + "9" * 70, change="entered", headcount=12)
    lines = [watch.row(one, ROSTER, start_ns=0, colour=False, columns=columns) for one in (event(), body)]
    for line in (watch.header(columns), *lines):
        assert len(line) <= columns
        assert line.rstrip() == line
    assert "..." in lines[1]
    assert [watch.header(columns).index("what")] == [lines[0].index("Ann")]


def test_presence_and_muster_are_shown_in_words() -> None:
    """The headcount stands in both."""
    presence = event(kind="presence", change="entered", zone="z", headcount=2)
    muster = event(kind="muster", headcount=2, people=[{"person_ref": "C-1"}], unknown=[{}])

    assert "Ann Example (C-1) entered, count 2" in shown(presence)
    assert "count 2: Ann Example (C-1)" in shown(muster)


def test_a_redelivered_event_is_shown_once(
    watcher: watch.Watcher, capsys: pytest.CaptureFixture[str]
) -> None:
    """The id tells a redelivery."""
    for _ in range(2):
        watcher.message("mine/m/v1/n/evt/sighting", json.dumps(event()).encode())

    assert 1 == capsys.readouterr().out.count("Ann Example")


@pytest.mark.parametrize("payload", [b"\xff\xfe", b"[1, 2]", b"", b'"text"'])
def test_what_is_no_event_is_shown_and_passed_over(
    watcher: watch.Watcher, payload: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nonsense on the topic stops nothing."""
    watcher.message("mine/m/v1/n/evt/sighting", payload)

    assert "not an event" in capsys.readouterr().out


def test_the_box_is_gone_when_it_says_so_after_it_was_there(watcher: watch.Watcher) -> None:
    """A retained goodbye of an earlier run ends nothing; one after `online` does."""
    watcher.message("mine/m/v1/n/state", b'{"online": false}')
    assert not watcher.gone.is_set()

    watcher.message("mine/m/v1/n/state", b'{"online": true}')
    watcher.message("mine/m/v1/n/state", b'{"online": false}')
    assert watcher.gone.is_set()


def test_the_roster_is_the_one_that_the_box_exports(tmp_path: Path) -> None:
    """The columns are those of ``dsr-edge people roster``."""
    from edge_app.cli.people_text import roster_csv

    path = tmp_path / "roster.csv"
    path.write_text(roster_csv([("C-1", "Ann, Example")]), encoding="utf-8")

    assert {"C-1": "Ann, Example"} == watch.read_roster(path)


def test_the_subscriber_hears_a_real_broker_and_ends_with_the_box(tmp_path: Path) -> None:
    """Over a real broker, an event is shown and written, and the goodbye ends the process with 0."""
    ready, out = tmp_path / "ready", tmp_path / "events.jsonl"
    with demo_broker(tmp_path) as (_, port):
        command = [sys.executable, "-m", "field_test.watch", "--port", str(port)]
        command += ["--out", str(out), "--ready", str(ready)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                until(ready.exists)
                say(
                    port,
                    [("evt/sighting", event()), ("state", {"online": True}), ("state", {"online": False})],
                )
                printed, _ = process.communicate(timeout=20)
            finally:
                process.kill()

    assert 0 == process.returncode
    assert "C-1" in printed
    assert [event()] == [json.loads(line) for line in out.read_text().splitlines()]


def until(condition: Any) -> None:
    """Wait until `condition` holds, at most ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited for ten seconds"
        time.sleep(0.02)


def say(port: int, messages: list[tuple[str, dict[str, Any]]]) -> None:
    """Publish messages of a box, each acknowledged before the next."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for topic, body in messages:
        client.publish(f"mine/m/v1/n/{topic}", json.dumps(body), qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def test_the_embedded_broker_keeps_retained_messages_and_frees_its_port(tmp_path: Path) -> None:
    """What a late subscriber must learn is kept while the broker runs, and nothing listens afterwards."""
    heard: list[bytes] = []
    with demo_broker(tmp_path) as (name, port):
        assert "iotcore" in name
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.on_message = lambda *args: heard.append(bytes(args[2].payload))
        client.connect("127.0.0.1", port)
        client.loop_start()
        client.publish("mine/m/v1/n/state", b"kept", qos=1, retain=True).wait_for_publish(10)
        client.subscribe("mine/#", qos=1)
        until(lambda: heard)
        client.disconnect()
        client.loop_stop()

    assert [b"kept"] == heard
    with pytest.raises(OSError, match="refused"):
        mqtt.Client(CallbackAPIVersion.VERSION2).connect("127.0.0.1", port)


def test_without_a_broker_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where neither broker is there, the message names the package."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr("shutil.which", lambda _name, **_options: None)

    with pytest.raises(BrokerError, match="apt-get install mosquitto"), demo_broker(tmp_path):
        pass


@pytest.mark.mosquitto
def test_mosquitto_takes_the_embedded_broker_s_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package has no wheel, an installed mosquitto serves the demo."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with demo_broker(tmp_path) as (name, port):
        assert "mosquitto" == name
        say(port, [("state", {"online": True})])
