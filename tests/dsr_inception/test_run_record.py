"""A folder holds one run: it is neither written over nor gone on with by other photos."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dsr_inception import cli
from dsr_inception.cli import train
from dsr_inception.errors import TrainingError
from dsr_inception.run_record import CHECKPOINT, RECORD, RunRecord, alone_in, names_hash, record_of, tidy

if TYPE_CHECKING:
    from pathlib import Path


def test_record_is_read_again_and_its_absence_is_no_fault(tmp_path: Path) -> None:
    """Runs from before there were records go on as they did; a damaged one is named."""
    (tmp_path / CHECKPOINT).write_bytes(b"")
    assert RunRecord() == record_of(tmp_path, resume=True)
    told = RunRecord(photos=200, minutes=0.5, names=names_hash(["a/1", "a/2"]))
    told.save(tmp_path)
    assert told == record_of(tmp_path, resume=True)
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(TrainingError, match=r"run.json cannot be used"):
        record_of(tmp_path, resume=True)


def test_folder_is_one_processes(tmp_path: Path) -> None:
    """Whoever is not the first is told; who was killed no longer holds it."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from dsr_inception.run_record import alone_in\n"
        "with alone_in(Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert "held\n" == other.stdout.readline()
        with pytest.raises(TrainingError, match="a run is going on in"), alone_in(tmp_path):
            pass
        other.communicate("\n", timeout=20)
    with alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        pass


def test_log_ends_where_the_checkpoint_is(tmp_path: Path) -> None:
    """Rows of later steps go, and one that was cut short; without a log there is nothing to do."""
    tidy(tmp_path, 3)
    log = tmp_path / "log.csv"
    log.write_text("seconds,step,loss\n20,2,1.5\n40,3,1.4\n60,4,1.3\n80,")
    tidy(tmp_path, 3)
    assert "seconds,step,loss\n20,2,1.5\n40,3,1.4\n" == log.read_text()
    tidy(tmp_path, 0)
    assert not log.exists(), "a head without rows cannot be drawn"
    for cut_short in ("", "seconds,st"):
        log.write_text(cut_short)
        tidy(tmp_path, 3)
        assert not log.exists()


def test_second_run_in_a_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`pretrain` leaves a checkpoint alone; `resume` without one says how to begin; both at once."""
    words = ["--out", str(tmp_path), "--dlib", "none", "--recipe", "none.yaml"]
    assert 2 == cli.main(["resume", *words])
    assert "begin with `pretrain`" in capsys.readouterr().err
    (tmp_path / CHECKPOINT).write_bytes(b"")
    assert 2 == cli.main(["pretrain", *words])
    assert "holds a run already: go on with `resume`" in capsys.readouterr().err


def test_other_photos_are_refused_by_a_run_and_computed_anew_without_one(tmp_path: Path) -> None:
    """What was computed of other photos is not taken for these; a run that has begun keeps its own."""
    before, now = RunRecord(photos=2, names="those"), RunRecord(photos=2, names="these")
    (tmp_path / train.TEACHER).write_bytes(b"theirs")
    train._keep_record(tmp_path, RunRecord(), before)
    assert (tmp_path / train.TEACHER).is_file()
    train._keep_record(tmp_path, before, now)
    assert not (tmp_path / train.TEACHER).exists()
    assert now == record_of(tmp_path, resume=False)
    (tmp_path / CHECKPOINT).write_bytes(b"")
    with pytest.raises(TrainingError, match=r"not the photos that the run .* began with \(--photos 2\)"):
        train._keep_record(tmp_path, now, before)
