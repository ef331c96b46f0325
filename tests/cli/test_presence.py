"""``dsr-edge presence``: who is where, and requests that only the daemon may carry out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_app.cli.main import main
from edge_app.clock import SystemClock, boot_id
from edge_app.presence.place import Place
from edge_app.presence.store import Kept, LedgerFile

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
box: {site: mine-1, node: box-01}
cameras: [{name: portal, zone: portal, source: {kind: folder, path: pictures}}]
zones: [{name: portal}, {name: heading}]
delivery: {brokers: [{host: 127.0.0.1}]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a box with two zones that has not run yet."""
    path = tmp_path / "box.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_a_box_that_never_ran_has_nobody(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No ledger is no error."""
    assert 0 == main(["presence", "show", "--config", str(config)])
    assert "0 registered people and 0 unknown inside, 0 left\n" == capsys.readouterr().out
    assert 0 == main(["presence", "show", "--json", "--config", str(config)])
    assert {"people": [], "unknown": [], "left": []} == json.loads(capsys.readouterr().out)


def test_who_has_perhaps_left_is_shown_as_such(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Inside, by name, with how long ago it was."""
    clock = SystemClock()
    now = clock.mono_ns()
    place = Place("portal", "cam", "t1", now, now, 0.7, perhaps_left_ns=now)
    ledger = LedgerFile(path=config.parent / "state" / "presence.json", boot=boot_id(), clock=clock)
    assert ledger.save(Kept(people=(("C-1", place),)))
    assert 0 == main(["presence", "show", "--config", str(config)])
    said = capsys.readouterr().out
    assert ", perhaps left 0:00:0" in said
    assert "1 registered people (1 of them perhaps left) and 0 unknown inside, 0 left\n" in said


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--ref", "C-1"],
        ["--ref", "C-1", "--left", "--zone", "portal"],
        ["--left"],
        ["--ref", "C-1", "--forget-strangers"],
    ],
    ids=" ".join,
)
def test_what_is_no_correction_is_refused_with_the_three_that_are(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """Half a correction must not move anybody."""
    assert 2 == main(["presence", "correct", *words, "--config", str(config)])
    said = capsys.readouterr().err
    assert "--ref CARD --zone ZONE, or --ref CARD --left, or --forget-strangers" in said


def test_a_zone_that_is_none_is_refused_with_those_there_are(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error would put somebody nowhere."""
    assert 2 == main(["presence", "correct", "--ref", "C-1", "--zone", "portel", "--config", str(config)])
    assert "the box knows: heading, portal" in capsys.readouterr().err


def test_without_a_daemon_the_request_waits(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1, said so, and the daemon finds it when it starts."""
    words = ["presence", "correct", "--ref", "C-1", "--left", "--by", "control room"]
    assert 1 == main([*words, "--config", str(config)])
    assert "it will take the request when it starts" in capsys.readouterr().out
    folder = config.parent / "state" / "presence.json.corrections"
    (waiting,) = folder.iterdir()
    kept = json.loads(waiting.read_text(encoding="utf-8"))
    assert ("left", "C-1", "control room") == (kept["what"], kept["person_ref"], kept["by"])
