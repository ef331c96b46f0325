"""All steps of INT8 in one command: the lines that it runs are those of the other commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from build_engine import cli
from build_engine.commands import release

if TYPE_CHECKING:
    import argparse

    import pytest


def parsed(*words: str) -> argparse.Namespace:
    """Return the arguments of ``dsr-engine release``."""
    return cli.build_parser().parse_args(["release", "MF", *words])


def test_every_step_is_a_command_that_the_parsers_take() -> None:
    """No option is misspelt, and files fit from step to step."""
    from calibration.cli import build_parser as calibrate

    args = parsed("--splits", "splits.json", "--consent", "consent.json", "--data", "faces")
    made = release.steps(args)
    found = [
        (calibrate() if program == "dsr-calibrate" else cli.build_parser()).parse_args(words)
        for program, words in made
    ]
    assert ["manifest", "collect", "quantize", "verify", "verify"] == [one.command for one in found]
    chosen, collected, quantised, *judged = found
    assert chosen.out == collected.manifest == quantised.manifest
    assert collected.out == quantised.scales
    assert collected.model == quantised.model == Path("models/dsr_inception.plain.json")
    assert ["dsr_inception.qdq-fp32", "dsr_inception.qdq-fp16"] == [one.candidate.stem for one in judged]
    assert all(one.record and one.reference == args.model for one in judged)
    assert ("development", Path("splits.json")) == (chosen.people, chosen.splits)


def test_first_refusal_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], centerface: Path) -> None:
    """Three pictures calibrate nothing: what was run is shown, and no later step was."""
    import cv2
    import numpy as np

    for who in "abc":
        (tmp_path / "MF" / who / "clean").mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "MF" / who / "clean" / "front.jpg"), np.full((64, 64, 3), 90, np.uint8))
    assert centerface.is_file()
    words = ["release", str(tmp_path / "MF"), "--work", str(tmp_path / "work")]
    assert 2 == cli.main(words)
    said = capsys.readouterr().out
    assert said.startswith(f"$ dsr-calibrate manifest {tmp_path / 'MF'} --out ")
    assert "REFUSED [too-few]" in said
    assert "exit status 2" in said
    assert "collect" not in said


def test_both_verdicts_are_recorded_though_the_first_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file's manifest tells its own verdict; the exit status is that of the refusal."""
    ran: list[str] = []

    def step(words: list[str]) -> int:
        ran.append(words[0])
        return 4 if words[0] == "verify" and "qdq-fp32" in words[1] else 0

    monkeypatch.setattr("calibration.cli.main", step)
    monkeypatch.setattr(cli, "main", step)
    assert 4 == release.run(parsed("--work", str(tmp_path)))
    assert ["manifest", "collect", "quantize", "verify", "verify"] == ran
