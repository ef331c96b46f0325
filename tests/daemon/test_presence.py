"""The count of a real box: corrected at a desk, killed, asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from benchmarks.camera_daemon import Course, run_faults
from benchmarks.camera_health import FAULTS
from benchmarks.rig import Watcher
from edge_app import clock

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.rig import Mosquitto
    from tests.daemon.rig import BoxRig, Listener

pytestmark = pytest.mark.mosquitto


def test_correction_survives_a_kill_and_the_muster_is_told_on_demand(
    rig: BoxRig, listener: Listener, clip: Path
) -> None:
    """Put in by hand, told with who said so, still there after SIGKILL, in the muster that is asked for."""
    rig.config["presence"] = {"muster_every_s": 3600}
    rig.watch(clip, fps=10, loop=True)
    daemon = rig.start()
    listener.wait_for(lambda: listener.of("box_start"))
    words = ["--ref", "CARD-9", "--not-registered", "--zone", "z1", "--by", "desk", "--timeout", "20"]
    done = rig.cli("presence", "correct", *words)
    assert (0, "done\n") == (done.returncode, done.stdout), done.stderr
    listener.wait_for(lambda: listener.of("presence_set"))
    told = listener.of("presence_set")[0]
    assert ("set", "CARD-9", "desk", "z1") == tuple(told[k] for k in ("change", "person_ref", "by", "zone"))
    listener.wait_for((rig.folder / "state" / "presence.json").exists)
    daemon.kill()
    daemon.wait(10)
    rig.start()
    listener.wait_for(lambda: len(listener.of("box_start")) == 2, timeout=40)
    assert 0 == rig.cli("presence", "muster", "--timeout", "20").returncode
    listener.wait_for(lambda: listener.of("muster"))
    assert "CARD-9" in {person.get("person_ref") for person in listener.of("muster")[-1]["people"]}
    shown = json.loads(rig.cli("presence", "show", "--json").stdout)
    assert ["CARD-9"] == [person["person_ref"] for person in shown["people"]]


def test_correction_waits_for_a_daemon_that_does_not_run(rig: BoxRig, listener: Listener, clip: Path) -> None:
    """It is done when the daemon starts; one that makes no sense is refused at once."""
    rig.watch(clip, fps=10)
    asked = rig.cli("presence", "correct", "--ref", "CARD-9", "--not-registered", "--zone", "z1")
    assert (1, True) == (asked.returncode, "when it starts" in asked.stdout)
    for words in (["--ref", "CARD-9"], ["--zone", "z1"], ["--ref", "CARD-9", "--zone", "nowhere"], []):
        refused = rig.cli("presence", "correct", *words)
        assert 2 == refused.returncode
        assert "fix" in refused.stderr
    assert rig.start().wait(60) == 0, rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))
    assert ["CARD-9"] == [event["person_ref"] for event in listener.of("presence_set")]


def test_muster_says_since_when_a_camera_is_blind(
    broker: Mosquitto, centerface: Path, tmp_path: Path
) -> None:
    """Since the last good picture but one look, the same in every muster, until the camera sees again."""
    course = Course(clean=3, faulty=8, after=3, blind_after_s=3)
    told = run_faults(
        tmp_path, {"dark": FAULTS["darkness"]}, course=course, port=broker.port, detector=centerface
    )["dark"]
    assert ("dark", True, 0) == (told.called, told.blind, told.too_early)
    assert 1 == len(told.blind_since)
    assert told.blind_since <= {0.0, 1.0}
    assert 2 <= (told.after_s or 0) <= 5
    assert told.over_s is not None
    assert 0 <= told.over_s <= 2


def test_power_cut_before_a_lens_out_of_focus_gives_no_all_clear(
    broker: Mosquitto, centerface: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alarm stands on in the next boot, for as long as the picture is bad, and is not raised anew."""
    watcher = Watcher(broker.port)
    for course in (Course(clean=12, faulty=12, after=0, blind_after_s=3), Course(0, 20, 0, 3)):
        run_faults(tmp_path, {"blur": FAULTS["blur"]}, course=course, port=broker.port, detector=centerface)
        monkeypatch.setattr(clock, "boot_id", lambda: str(uuid4()))
    told = sorted((one for one in watcher.events() if one.get("alarm")), key=lambda one: int(one["seq"]))
    watcher.close()
    first = next(n for n, one in enumerate(told) if one["reason"] == "blurred")
    said = [(one["kind"], one.get("reason")) for one in told[first:]]
    assert [("camera_blind", "blurred")] == said
