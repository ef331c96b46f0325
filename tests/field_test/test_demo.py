"""The demo itself: the real daemon, register, broker and subscriber, from end to end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import pytest

from edge_app.config import load_config
from field_test import demo, tunnel
from field_test.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = Path(__file__).resolve().parents[2]


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo as `run.py` does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "field_test.demo", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180
    )


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, centerface: Path, demo_clip: tuple[Path, tunnel.Truth]
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Return the folder and the outcome of one whole demo."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    return folder, run_demo("--out", str(folder))


@pytest.mark.slow
def test_the_demo_names_the_registered_calls_the_stranger_unknown_and_names_nobody_else(
    finished: tuple[Path, subprocess.CompletedProcess[str]], demo_clip: tuple[Path, tunnel.Truth]
) -> None:
    """The exit status is 0, and the events that arrived say the same again."""
    folder, done = finished
    refs = {one.who: one.ref for one in demo.PEOPLE}
    checks = judge(demo.read_events(folder / "events.jsonl"), demo_clip[1], refs)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert [True, True, True] == [check.passed for check in checks], checks
    assert 3 == done.stdout.count("  yes  ")


@pytest.mark.slow
def test_no_name_is_on_the_wire(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """The events carry references; names come from the roster, which the operator exported."""
    folder, done = finished
    wire = (folder / "events.jsonl").read_text(encoding="utf-8")

    assert "C-1001" in wire
    assert "Obama" not in wire
    assert "Barack Obama (C-1001)" in done.stdout


@pytest.mark.slow
def test_the_demo_leaves_a_contact_sheet_and_an_annotated_clip(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """The sheet has two rows of four pictures, and the clip is as long as what was shown."""
    folder, _ = finished
    sheet = cv2.imread(str(folder / "contact-sheet.png"))
    clip = cv2.VideoCapture(str(folder / "show.mp4"))

    assert sheet is not None
    assert sheet.shape[1] == 4 * 480
    assert 20.0 == pytest.approx(clip.get(cv2.CAP_PROP_FRAME_COUNT) / clip.get(cv2.CAP_PROP_FPS), abs=2)


def test_nobody_is_registered_from_a_photo_that_is_in_the_clip() -> None:
    """The passage photos are others than the registered ones, and one passer-by is a stranger."""
    in_clip = {walker.photo for walker in tunnel.DEMO.walkers}
    registered = {photo for person in demo.PEOPLE for photo in person.photos}

    assert set() == in_clip & registered
    assert 2 == len(demo.PEOPLE)
    assert {"biden"} == {walker.who for walker in tunnel.DEMO.walkers} - {one.who for one in demo.PEOPLE}


def test_the_configuration_is_the_model_s_own_threshold_in_real_time(
    tmp_path: Path, centerface: Path
) -> None:
    """Nothing is tuned to the clip: the threshold is the manifest's, and late frames are dropped."""
    clip = tmp_path / "clip.mp4"
    clip.touch()
    config = load_config(demo.write_config(tmp_path, clip=clip, detector=centerface, port=18830))

    assert config.recogniser.threshold is None
    assert "realtime" == config.cameras[0].source.pace
    assert (ROOT / "models" / "dsr_inception.json") == config.recogniser.model


def test_a_folder_of_somebody_else_s_is_left_alone(tmp_path: Path) -> None:
    """Only what an earlier demo made is removed."""
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run_demo("--out", str(tmp_path))

    assert 1 == done.returncode
    assert "files in it that the demo did not make" in done.stderr
    assert ["thesis.txt"] == [path.name for path in tmp_path.iterdir()]


def test_a_daemon_that_fails_is_reported_with_the_end_of_its_log(
    tmp_path: Path, centerface: Path, demo_photos: Mapping[str, Path]
) -> None:
    """A configuration that the daemon refuses ends the demo with the daemon's own words."""
    config = demo.write_config(tmp_path, clip=tmp_path / "missing.mp4", detector=centerface, port=18830)
    broken = json.loads(config.read_text()) | {"recogniser": {"model": str(tmp_path / "no-model.json")}}
    config.write_text(json.dumps(broken))

    with pytest.raises(demo.DemoError, match=r"(?s)ended with status 4.*no-model\.json"):
        demo._run_daemon(tmp_path, config, seconds=1.0)


def test_the_folder_is_made_anew(tmp_path: Path) -> None:
    """What an earlier demo left is gone, and the next may remove it again."""
    folder = tmp_path / "out"
    demo._fresh(folder)
    (folder / "events.jsonl").touch()
    demo._fresh(folder)

    assert not (folder / "events.jsonl").exists()
    demo._fresh(folder)
    shutil.rmtree(folder)
