"""`dsr-edge doctor` as a process: what a person reads, what a script reads, and never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from field_test import assets

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.config import Config

    Box = Callable[..., tuple[Path, Config]]

ROOT = Path(__file__).resolve().parents[2]


def doctor(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "edge_app.cli.main", "doctor", "--config", str(config), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, object]:
    """A camera that is a folder with one picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    noise = np.random.default_rng(1).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "a.png"), noise)
    return {"name": "in", "zone": "portal", "source": {"kind": "folder", "path": str(folder)}}


def test_a_box_is_looked_at_from_end_to_end(
    box: Box, tiny_recogniser: Path, centerface: Path, pictures: dict[str, object]
) -> None:
    """Real detector, real runtime, a recogniser, a picture; nothing listens where the broker should be."""
    path, _ = box(cameras=[pictures], detector=assets.detector_section(centerface))
    said = doctor(path, "--json")
    report = json.loads(said.stdout)
    states = {(finding["name"], finding["state"]) for finding in report["findings"]}
    assert (2, 2) == (said.returncode, report["exit_status"])
    assert {("detector", "ok"), ("recogniser", "ok"), ("camera in", "ok"), ("disk", "ok")} <= states
    assert {("broker", "fail"), ("people", "warn")} <= states
    assert ["broker"] == [finding["name"] for finding in report["findings"] if finding["state"] == "fail"]
    assert all(finding["fix"] for finding in report["findings"] if finding["state"] != "ok")


def test_a_person_reads_lines_with_what_to_do(box: Box, pictures: dict[str, object]) -> None:
    """State, name, what; an arrow before what to do; a count at the end; no traceback, no library's noise."""
    path, _ = box(cameras=[pictures])
    said = doctor(path)
    assert said.stdout.startswith("ok    config ")
    assert "\nFAIL  detector " in said.stdout
    assert " -> " in said.stdout
    assert " to mend, " in said.stdout.splitlines()[-1]
    assert ("", False) == (said.stderr, "Traceback" in said.stdout)


def test_a_configuration_that_cannot_be_used_is_one_finding_of_many(tmp_path: Path) -> None:
    """The clock is looked at all the same."""
    path = tmp_path / "box.yaml"
    path.write_text("box: {site: m, nod: b}\n", encoding="utf-8")
    said = doctor(path)
    assert 2 == said.returncode
    assert "[DSR-100]" in said.stdout
    assert "box.nod (line 1): no such key; did you mean node?" in " ".join(said.stdout.split())
    assert " clock " in said.stdout
    assert "" == said.stderr


def test_a_configuration_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With what to do."""
    said = doctor(tmp_path / "absent.yaml")
    assert 2 == said.returncode
    assert "write one with `dsr-edge config new`" in " ".join(said.stdout.split())
