"""`dsr-train`: help without heavy imports, one-line errors, the contact sheet."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from dsr_inception import cli

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = (
    "pretrain",
    "resume",
    "finetune",
    "threshold",
    "evaluate",
    "report",
    "detector",
    "detect",
    "sheet",
)


def test_help_needs_no_heavy_import() -> None:
    """`--help` names every command and imports neither TensorFlow, Keras nor ONNX Runtime."""
    script = (
        "import sys\n"
        "from dsr_inception import cli\n"
        "try:\n    cli.main(['--help'])\n"
        "except SystemExit as leave:\n    assert leave.code == 0\n"
        "heavy = {'tensorflow', 'keras', 'onnxruntime', 'onnx', 'dlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    assert all(command in done.stdout for command in COMMANDS)


def test_missing_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing data folder is exit status 2 and says what to put where."""
    assert 2 == cli.main(["--data", str(tmp_path / "none"), "threshold"])
    error = capsys.readouterr().err
    assert error.startswith("dsr-train: the folder of face sets is missing")
    assert 1 == error.count("\n")


ARGUMENTS = {
    "pretrain": ["--recipe", "none.yaml", "--out", "none", "--dlib", "none"],
    "resume": ["--recipe", "none.yaml", "--out", "none", "--dlib", "none"],
    "report": ["--evaluation", "none.json"],
    "detector": ["--out", "none"],
    "sheet": ["none.png", "none.jpg"],
}


def test_every_command_is_wired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each sub-command of the parser, given nothing to work on, fails with its own one line."""
    known = next(a.choices for a in cli.build_parser()._actions if isinstance(a.choices, dict))
    assert set(COMMANDS) == set(known)
    for command in known:
        data = ["--data", str(tmp_path / "none")]
        assert 2 == cli.main([*data, command, *ARGUMENTS.get(command, [])]), command
        assert capsys.readouterr().err.startswith("dsr-train: "), command


def test_wrong_recipe_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong key in a recipe is exit status 2 and names it, before any data is read."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text("minutes: 1\nepochs: 150\n")
    arguments = ["pretrain", "--recipe", str(recipe), "--out", str(tmp_path / "run"), "--dlib", str(tmp_path)]
    assert 2 == cli.main(["--data", str(tmp_path / "none"), *arguments])
    assert "unknown key epochs" in capsys.readouterr().err


class _Stopped:
    """Stands for a trainer that a signal stops."""

    stopped = 15

    def __init__(self, *, folder: Path, **_: object) -> None:
        self.folder = folder

    def restore(self) -> None:
        """Find the checkpoint good."""

    def run(self) -> Path:
        """Leave a checkpoint."""
        (self.folder / "checkpoint.npz").write_bytes(b"")
        return self.folder / "recogniser.keras"


def test_interrupted_run_is_no_success_and_goes_on_without_the_teacher(
    small_set: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its status says that the weights are not done; `--dlib` is asked for where it is needed."""
    monkeypatch.setattr("dsr_inception.training.Trainer", _Stopped)
    run = small_set / "run"
    run.mkdir()
    teacher = np.random.default_rng(0).normal(0, 1, (12, 128)).astype(np.float32)
    np.save(run / "teacher.npy", teacher)
    words = ["--data", str(small_set)]
    begin = ["pretrain", "--recipe", str(cli.QUICK.parents[1] / "smoke.yaml"), "--out", str(run)]
    assert 128 + 15 == cli.main([*words, *begin, "--dlib", "none"])
    assert 128 + 15 == cli.main([*words, "resume", "--out", str(run)])
    other = small_set / "other.yaml"
    other.write_text((run / "recipe.yaml").read_text().replace("whiten: 0.5", "whiten: 0.0"))
    kept = (run / "recipe.yaml").read_bytes()
    assert 2 == cli.main([*words, "resume", "--out", str(run), "--recipe", str(other)])
    assert "loss.whiten must stay 0.5, with which the run in" in capsys.readouterr().err
    assert kept == (run / "recipe.yaml").read_bytes()
    (run / "teacher.npy").write_bytes(b"\x93NUMPY cut sh")
    capsys.readouterr()
    assert 2 == cli.main([*words, "resume", "--out", str(run)])
    assert (
        f"{run / 'teacher.npy'} is missing, damaged or of other photos: give --dlib"
        in capsys.readouterr().err
    )


def test_wrong_folders_and_weights_are_said_before_anything_is_computed(
    small_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file as --out, weights that are not there: one line, and no photo decoded."""
    smoke = str(cli.QUICK.parents[1] / "smoke.yaml")
    words = ["--data", str(small_set), "pretrain", "--recipe", smoke, "--dlib", "none", "--out"]
    assert 2 == cli.main([*words, str(small_set / "splits.json")])
    assert "splits.json is no folder; give --out one" in capsys.readouterr().err
    assert 2 == cli.main([*words, str(small_set / "run"), "--init", str(small_set / "none.keras")])
    assert "none.keras; give --init a recogniser" in capsys.readouterr().err
    assert not (small_set / "run").exists()


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (
            NotADirectoryError(20, "Not a directory", "a/b"),
            2,
            "a/b cannot be used: Not a directory",
        ),
    ],
)
def test_what_the_system_refuses_is_one_line_and_ctrl_c_is_none(
    raised: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No traceback."""

    def refuse(_: object) -> int:
        raise raised

    monkeypatch.setattr("dsr_inception.cli.training.finetune", refuse)
    assert status == cli.main(["finetune"])
    assert said in capsys.readouterr().err


def test_missing_detector_is_named(small_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Measuring on unaligned photos without the detector says how to get it."""
    arguments = ["threshold", "--detector", str(small_set / "none.json")]
    assert 2 == cli.main(["--data", str(small_set), *arguments])
    assert "put mf_photos.tar" in capsys.readouterr().err
    (small_set / "mf_photos").mkdir()
    (small_set / "mf_photos" / "a.png").write_bytes(b"no picture: nothing has looked at it")
    assert 2 == cli.main(["--data", str(small_set), *arguments])
    assert "none.json; run `python3 run.py setup`, or give --detector" in capsys.readouterr().err


def test_sheet_is_written(tmp_path: Path) -> None:
    """The contact sheet of a picture is a picture."""
    cv2.imwrite(str(tmp_path / "face.png"), np.full((64, 64, 3), 128, np.uint8))
    assert 0 == cli.main(["sheet", str(tmp_path / "face.png"), str(tmp_path / "sheet.jpg")])
    assert cv2.imread(str(tmp_path / "sheet.jpg")) is not None
