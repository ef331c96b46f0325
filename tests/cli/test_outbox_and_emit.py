"""``dsr-edge outbox`` and ``dsr-edge emit``, with and without a running owner, against a real broker."""

from __future__ import annotations

import json
import resource
import signal
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.rig import Mosquitto, Watcher, free_port, wait_until
from edge_app.cli.main import build_parser, main
from edge_app.clock import SystemClock, boot_id
from edge_app.delivery.event import KINDS, EnvelopeContext
from edge_app.delivery.service import Delivery
from edge_app.records import Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = """\
box: {{site: north, node: box-1}}
cameras:
  - name: portal
    zone: portal
    source: {{kind: folder, path: pictures}}
delivery: {{outbox: state/outbox.db, brokers: [{{host: 127.0.0.1, port: {port}}}]}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Callable[[int], Path]:
    """Return a writer of a configuration whose broker is at a port."""

    def write(port: int) -> Path:
        path = tmp_path / "box.yaml"
        path.write_text(CONFIG.format(port=port), encoding="utf-8")
        return path

    return write


def owner_of(path: Path) -> Delivery:
    """Return a running owner of the configured outbox, as the daemon is."""
    from edge_app.wiring import delivery_options, load_config

    context = EnvelopeContext(site="north", node="box-1", boot=boot_id())
    delivery = Delivery(options=delivery_options(load_config(path)), context=context, clock=SystemClock())
    delivery.start()
    return delivery


def record(path: Path, n: int) -> None:
    """Leave `n` events in the outbox while no broker is there."""
    delivery = owner_of(path)
    for number in range(n):
        delivery.submit(Event(kind="test", mono_ns=1, data={"note": str(number)}))
    delivery.stop()


def status_of(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what ``outbox status --json`` prints."""
    capsys.readouterr()
    assert 0 == main(["outbox", "status", "--json", "--config", str(path)])
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@pytest.mark.mosquitto
def test_emit_delivers_by_itself_when_no_daemon_runs(
    broker: Mosquitto, config: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The event arrives, marked as a test, with the operator's note."""
    watcher = Watcher(broker.port)
    words = ["emit", "--test", "--config", str(config(broker.port)), "--data", '{"note": "drift 3"}']
    assert 0 == main(words)
    assert "delivered; topic mine/north/v1/box-1/evt/test" in capsys.readouterr().out
    (event,) = [e for e in watcher.events() if e["kind"] == "test"]
    assert (True, "drift 3") == (event["test"], event["note"])
    watcher.close()


@pytest.mark.mosquitto
def test_emit_hands_over_to_the_daemon_that_runs(
    broker: Mosquitto, config: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The owner is named, and the event arrives through it."""
    watcher = Watcher(broker.port)
    path = config(broker.port)
    delivery = owner_of(path)
    assert 0 == main(
        ["emit", "--test", "--kind", "camera_blind", "--config", str(path), "--camera", "portal"]
    )
    out = capsys.readouterr().out
    assert "runs and owns the outbox" in out
    assert "committed by the daemon" in out
    wait_until(lambda: any(e["kind"] == "camera_blind" for e in watcher.events()), what="arrival")
    assert None is watcher.last("alarms/camera_blind.cam1")
    delivery.stop()
    watcher.close()


@pytest.mark.mosquitto
@pytest.mark.parametrize("kind", list(KINDS))
def test_emit_can_send_every_kind(kind: str, broker: Mosquitto, config: Callable[[int], Path]) -> None:
    """Each kind's example of the schema can be sent as it stands."""
    watcher = Watcher(broker.port, topic=f"mine/north/v1/box-1/evt/{kind}")
    assert 0 == main(["emit", "--test", "--kind", kind, "--config", str(config(broker.port))])
    wait_until(lambda: any(e["test"] for e in watcher.events()), what="arrival")
    watcher.close()


def test_emit_without_a_broker_keeps_the_event(
    config: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 7, the reason, and the event waits in the outbox."""
    path = config(free_port())
    assert 7 == main(["emit", "--test", "--timeout", "1", "--config", str(path)])
    out, err = capsys.readouterr()
    assert "waits in" in out
    assert "nothing listens there" in out
    assert "" == err  # the answer stands alone, without a log of the attempts
    assert 1 == status_of(path, capsys)["waiting"]["health"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "add --test"),
        (["--test", "--kind", "flood"], "no kind of event 'flood'"),
        (["--test", "--data", "{"], "not JSON"),
        (["--test", "--data", "[]"], "must be a JSON object"),
        (["--test", "--data", '{"colour": 1}'], "colour is not a field"),
        (["--test", "--camera", "a/b"], "camera must match"),
    ],
)
def test_emit_refuses_with_what_to_do(
    words: list[str], complaint: str, config: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """One clear message on the error stream, status 2."""
    assert 2 == main(["emit", *words, "--config", str(config(free_port()))])
    err = capsys.readouterr().err
    assert complaint in err
    assert "fix:" in err


def test_emit_lists_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    """All of them, without a configuration."""
    assert 0 == main(["emit", "--kind", "list"])
    assert list(KINDS) == [line.split()[0] for line in capsys.readouterr().out.splitlines()]


def test_outbox_can_be_looked_into_beside_its_owner(
    config: Callable[[int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status names the owner; peek shows the oldest; export writes all and removes none."""
    path = config(free_port())
    record(path, 30)
    delivery = owner_of(path)
    found = status_of(path, capsys)
    assert (30, 0, []) == (found["waiting"]["health"], found["lost"], found["standing_alarms"])
    assert found["owner"] is not None
    assert 0 == main(["outbox", "peek", "--limit", "2", "--config", str(path)])
    assert 2 == sum(line.startswith('{"v":1,') for line in capsys.readouterr().out.splitlines())
    out = tmp_path / "events.jsonl"
    assert 0 == main(["outbox", "export", "--out", str(out), "--config", str(path)])
    exported = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert (31, [str(n) for n in range(30)]) == (
        len(exported),
        [e["note"] for e in exported if e["kind"] == "test"],
    )
    delivery.stop()
    assert None is status_of(path, capsys)["owner"]


@pytest.mark.parametrize("name", ["state/outbox.db", "box.yaml", "state/outbox.db.lock"])
def test_export_writes_over_nothing(
    name: str, config: Callable[[int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Least of all over the outbox itself, whose events would be gone."""
    path = config(free_port())
    record(path, 3)
    before = (tmp_path / name).read_bytes()
    assert 2 == main(["outbox", "export", "--out", str(tmp_path / name), "--config", str(path)])
    assert "File exists\n  fix: name a file that does not exist yet" in capsys.readouterr().err
    assert before == (tmp_path / name).read_bytes()
    assert 3 == status_of(path, capsys)["waiting"]["health"]


def test_export_that_failed_leaves_no_half_a_file(
    config: Callable[[int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor fills the disk with it: here the files of this process may have 48 kilobytes."""
    path = config(free_port())
    record(path, 300)
    out = tmp_path / "events.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (49_152, limits[1]))
    try:
        assert 2 == main(["outbox", "export", "--out", str(out), "--config", str(path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert "File too large" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("limit", ["0", "-1", "many", "9" * 40])
def test_peek_wants_a_number_it_can_count_to(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a traceback nor nothing at all."""
    with pytest.raises(SystemExit, match="2"):
        main(["outbox", "peek", "--limit", limit])
    assert "is not a number from 1 to 999999999" in capsys.readouterr().err


def test_status_does_not_call_an_unknown_loss_none(
    config: Callable[[int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file was deleted while the box was off: how many waited in it, nobody knows."""
    path = config(free_port())
    record(path, 3)
    (tmp_path / "state/outbox.db").unlink()
    record(path, 1)
    found = status_of(path, capsys)
    assert (0, 1, 1) == (found["lost"], found["losses"], found["losses_of_unknown_size"])
    assert 0 == main(["outbox", "status", "--config", str(path)])
    assert "losses: 1 (1 of unknown size), at least 0 events" in capsys.readouterr().out


@pytest.mark.mosquitto
def test_drain_delivers_what_waits(
    broker: Mosquitto, config: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """And says so; afterwards nothing waits."""
    record(config(free_port()), 50)
    path = config(broker.port)
    watcher = Watcher(broker.port)
    assert 0 == main(["outbox", "drain", "--timeout", "20", "--config", str(path)])
    assert "the outbox is empty" in capsys.readouterr().out
    assert 50 == sum(e["kind"] == "test" for e in watcher.events())
    watcher.close()


def test_drain_and_purge_are_refused_while_the_daemon_runs(
    config: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 6 and who owns it."""
    path = config(free_port())
    delivery = owner_of(path)
    for words in (["drain", "--timeout", "1"], ["purge", "--yes"]):
        assert 6 == main(["outbox", *words, "--config", str(path)])
        assert "belongs to process" in capsys.readouterr().err
    delivery.stop()


@pytest.mark.mosquitto
def test_purge_wants_a_yes_and_is_reported_as_a_gap(
    broker: Mosquitto, config: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """What an operator deletes is a loss like any other: the mine is told."""
    record(config(free_port()), 20)
    path = config(broker.port)
    assert 2 == main(["outbox", "purge", "--config", str(path)])
    assert 0 == main(["outbox", "purge", "--yes", "--config", str(path)])
    assert "events deleted" in capsys.readouterr().out
    assert 0 == main(["outbox", "purge", "--yes", "--config", str(path)])
    assert "nothing was deleted" in capsys.readouterr().out
    watcher = Watcher(broker.port)
    delivery = owner_of(path)
    wait_until(lambda: any(e["kind"] == "gap" for e in watcher.events()), what="a gap event")
    gap = next(e for e in watcher.events() if e["kind"] == "gap")
    assert ("purged", 20) == (gap["reason"], gap["lost_kinds"]["test"])
    delivery.stop()
    watcher.close()


def test_outbox_that_is_not_there_is_a_clear_error(
    config: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a traceback, and nobody begins an empty one to say of it that it is empty."""
    path = config(free_port())
    for words in (["status"], ["drain"], ["purge", "--yes"]):
        assert 6 == main(["outbox", *words, "--config", str(path)])
        assert "there is no outbox at" in capsys.readouterr().err


def test_help_of_every_verb_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The parser is whole."""
    for words in (["emit", "--help"], *(["outbox", verb, "--help"] for verb in ("status", "peek", "drain"))):
        with pytest.raises(SystemExit) as ended:
            build_parser().parse_args(words)
        assert 0 == ended.value.code
    assert "usage: dsr-edge emit" in capsys.readouterr().out
