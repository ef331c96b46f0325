"""``dsr-edge presence``: who is where, and requests that only the daemon may carry out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_app.cli.main import main
from edge_app.clock import SystemClock, boot_id
from edge_app.delivery.database import open_database
from edge_app.delivery.lock import OutboxLock
from edge_app.identity.gallery import Gallery
from edge_app.identity.people import NewPhoto
from edge_app.presence.place import Place
from edge_app.presence.store import Kept, LedgerFile
from edge_app.records import Embedding, Quality
from tests.clocks import NOW_MS, StoppedClock

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


def keep(config: Path, *people: tuple[str, Place], strangers: tuple[Place, ...] = (), ago_s: int = 0) -> Path:
    """Write a ledger with `people`, `ago_s` ago; return its file."""
    clock = StoppedClock()
    clock.now_ns = SystemClock().mono_ns() - ago_s * 1_000_000_000
    path = config.parent / "state" / "presence.json"
    assert LedgerFile(path=path, boot=boot_id(), clock=clock).save(Kept(people=people, strangers=strangers))
    return path


def at(zone: str | None, *, through: bool = False) -> Place:
    """Return where somebody is, seen now."""
    now = SystemClock().mono_ns()
    return Place(zone, "cam", "t1", now, now, 0.7, through=through)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_box_that_never_ran_does_not_look_empty(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """At three in the morning "0 inside" is an answer; that nobody has looked is another."""
    assert 2 == main(["presence", "show", *words, "--config", str(config)])
    said = capsys.readouterr()
    assert "" == said.out
    assert "the daemon has not run here yet, and who is inside is not known" in said.err


def test_ledger_of_a_daemon_that_is_down_says_so_with_its_age(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who is inside, and of when that is."""
    keep(config, ("C-1", at("portal")), strangers=(at("portal"), at("heading", through=True)), ago_s=724)
    assert 0 == main(["presence", "show", "--config", str(config)])
    said = capsys.readouterr().out
    assert "THE DAEMON DOES NOT RUN: this was so 0:12:0" in said
    assert "ago (2025-06-15 15:06:40 UTC by its clock)" in said
    assert "headcount 3, 1 to 3;" in said
    assert "which cameras see is not known" in said
    assert 0 == main(["presence", "show", "--json", "--config", str(config)])
    told = json.loads(capsys.readouterr().out)
    assert (False, NOW_MS, None) == (told["daemon"], told["as_of_ms"], told["cameras"])
    assert 724_000 <= told["age_ms"] < 800_000


def test_ledger_of_a_daemon_that_runs_is_as_old_as_it_is(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few seconds; older, something is wrong, and is said."""
    keep(config)
    lock = OutboxLock(config.parent / "state" / "outbox.db")
    assert 0 == main(["presence", "show", "--config", str(config)])
    assert "\nas of 0:00:0" in capsys.readouterr().out
    keep(config, ago_s=60)
    assert 0 == main(["presence", "show", "--config", str(config)])
    assert "THE LEDGER IS OLD: this was so 0:01:0" in capsys.readouterr().out
    lock.release()


def test_cameras_that_do_not_see_stand_beside_the_count(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a blind camera's zone the count says nothing."""
    keep(config)
    alarms = [
        ("camera_blind", "east", {"id": "camera_blind.east"}, "covered"),
        ("alarm", "west", {"id": "camera_moved.west"}, "camera_moved"),
        ("alarm", "east", {"id": "overtime.C-1"}, "overtime"),
    ]
    database = open_database(config.parent / "state" / "outbox.db", max_mb=4)
    since = SystemClock().mono_ns() - 300 * 1_000_000_000
    for number, (kind, camera, alarm, reason) in enumerate(alarms):
        body = {"kind": kind, "camera": camera, "reason": reason, "boot": boot_id(), "wall_ms": None}
        body["alarm"] = {**alarm, "state": "active", "since_ns": since}
        row = (alarm["id"], number, json.dumps(body).encode())
        database.execute("INSERT INTO alarm (id, seq, body) VALUES (?, ?, ?)", row)
    database.close()
    assert 0 == main(["presence", "show", "--config", str(config)])
    said = capsys.readouterr().out
    assert "camera east DOES NOT SEE for 0:05:0" in said
    assert ": covered\ncamera west sees badly for 0:05:0" in said
    assert "overtime" not in said


def test_ledger_that_may_not_be_read_names_the_user_who_may(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no reason to start a daemon."""
    path = keep(config)
    opened = type(path).open

    def refuse(self: Path, *args: Any, **more: Any) -> Any:
        if self.name == "presence.json":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **more)

    monkeypatch.setattr(type(path), "open", refuse)
    assert 2 == main(["presence", "show", "--config", str(config)])
    said = capsys.readouterr().err
    assert "run it as the user whom it belongs to: sudo -u" in said
    monkeypatch.undo()
    path.write_text("{", encoding="utf-8")
    assert 2 == main(["presence", "show", "--config", str(config)])
    assert "it sets it aside" in capsys.readouterr().err


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


def waiting(config: Path) -> list[str]:
    """Return who the corrections that wait are about."""
    folder = config.parent / "state" / "presence.json.corrections"
    files = sorted(folder.glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8"))["person_ref"] for path in files]


def test_a_reference_that_nobody_has_is_no_ghost(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """40071 for 40017 put two people inside, of whom one did not exist and counted for a day."""
    words = ["presence", "correct", "--zone", "heading", "--config", str(config), "--ref"]
    assert 2 == main([*words, "40071"])
    assert "nobody is registered as '40071' (registered: 0)" in capsys.readouterr().err
    quality = Quality(
        face_px=90.0,
        sharpness=200.0,
        brightness=110.0,
        contrast=50.0,
        yaw=0.0,
        pitch=0.0,
        roll=0.0,
        score=0.8,
    )
    look = Embedding(np.eye(1, 128, dtype=np.float32)[0], "a" * 64, "b" * 64)
    photo = NewPhoto("a.jpg", "c" * 64, quality, look, None)
    (config.parent / "state").mkdir(exist_ok=True)
    gallery = Gallery(path=config.parent / "state" / "people.db")
    gallery.create()
    gallery.add(ref="40017", name="A", photos=[photo])
    assert 2 == main([*words, "40071"])
    assert "(registered: 1; did you mean 40017?)" in capsys.readouterr().err
    assert [] == waiting(config)
    assert 1 == main([*words, "40017"])
    assert 1 == main([*words, "VISITOR-1", "--not-registered"])
    assert ["40017", "VISITOR-1"] == waiting(config)


def test_strangers_of_a_zone_that_has_another_name_by_now_can_be_forgotten(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would count for a day; nobody can be put there."""
    keep(config, strangers=(at("old-name", through=True),))
    words = ["presence", "correct", "--zone", "old-name", "--config", str(config)]
    assert 1 == main([*words, "--forget-strangers"])
    assert 2 == main([*words, "--ref", "C-1", "--not-registered"])
    assert "there is no zone 'old-name'" in capsys.readouterr().err


def test_who_is_not_inside_cannot_leave(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The one who was meant would stay in the muster; who is inside is said."""
    people = [(f"4{number:04d}", at("portal")) for number in range(30)]
    keep(config, ("OUT-1", at(None)), *people)
    words = ["presence", "correct", "--left", "--config", str(config), "--ref"]
    assert 2 == main([*words, "40710"])
    said = capsys.readouterr().err
    assert "40710 is not in the ledger; inside are: 40000, 40001, " in said
    assert ", 40019 and 10 more; did you mean 40010?" in said
    assert 2 == main([*words, "OUT-1"])
    assert "OUT-1 has left already" in capsys.readouterr().err
    assert [] == waiting(config)
    assert 1 == main([*words, "40017"])
    assert ["40017"] == waiting(config)
