"""`make weights`: the chain as a whole, its programs replaced by ones that write down what they are told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GIVEN = ("DLIB=dlib", "MF=mf.tar", "SPLITS=splits.json", "CONSENT=consent.json")
#: Does as `dsr-train` does; stops once at the recipe that the file `stop` names.
PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >> told
while [ $# -gt 1 ]; do [ "$1" = --out ] && out=$2; shift; done
case $out in */cpu*)
    touch "$out/checkpoint.npz"
    printf 'seconds,step\\n20,%s\\n' "$(basename "$out")" > "$out/log.csv"
    if [ "$(basename "$out")" = "$(cat stop 2>/dev/null)" ]; then rm stop; exit 143; fi
    echo "$out" > "$out/recogniser.keras"
    echo "{}" > "$out/recogniser.keras.json"
esac
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the Makefile, shipped models, and programs that note their arguments."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "dsr_inception.json").write_text("{}")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "dsr-train", "dsr-engine"):
        (programs / name).write_text(PROGRAM)
        (programs / name).chmod(0o755)
    return tmp_path


def _make(folder: Path, *words: str) -> tuple[int, list[str]]:
    """Return make's exit status and what the programs were told since the last call."""
    (folder / "told").unlink(missing_ok=True)
    done = subprocess.run(
        ["make", "weights", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    told = folder / "told"
    return done.returncode, told.read_text().splitlines() if told.is_file() else [done.stderr]


def test_chain_hands_each_runs_weights_to_the_next_and_fills_models(folder: Path) -> None:
    """Four runs, the threshold of the network that is exported, its files; log and weights go along."""
    status, told = _make(folder, *GIVEN)
    assert 0 == status
    recipes = ["cpu", "cpu_continue", "cpu_further", "cpu_quantised"]
    before = ""
    for name, line in zip(recipes, told, strict=False):
        recipe = f"--recipe dsr_inception/recipes/{name}.yaml --out runs/{name} --dlib dlib"
        assert f"dsr-train pretrain {recipe}{before}" == line.rstrip()
        before = f" --init runs/{name}/recogniser.keras"
    export = "python -m build_engine.export --weights runs/cpu_quantised/recogniser.keras --out models"
    assert [
        export,
        "dsr-train threshold --model models/dsr_inception.onnx --out runs/threshold.json",
        f"{export} --threshold runs/threshold.json",
    ] == told[4:-1]
    words = "mf.tar --model models/dsr_inception.json --splits splits.json --consent consent.json"
    assert f"dsr-engine release {words} --work runs/release" == told[-1]
    assert "runs/cpu_quantised\n" == (folder / "models" / "dsr_inception.keras").read_text()
    rows = [f"{name},20,{name}" for name in recipes]
    assert ["recipe,seconds,step", *rows] == (folder / "models" / "training_log.csv").read_text().split()


def test_stopped_chain_stops_and_goes_on(folder: Path) -> None:
    """A run that a signal stopped is not built upon; called again, begun runs go on, others begin."""
    (folder / "stop").write_text("cpu_continue")
    status, told = _make(folder, *GIVEN)
    assert 0 != status
    assert 2 == len(told)
    status, told = _make(folder, *GIVEN)
    assert 0 == status
    assert ["resume", "resume", "pretrain", "pretrain"] == [line.split()[1] for line in told[:4]]
    assert "dsr-train resume --out runs/cpu_continue --dlib dlib" == told[1].rstrip()


def test_first_look_leaves_models_alone(folder: Path) -> None:
    """So many minutes and photos for every recipe, in a folder of their own."""
    status, told = _make(folder, *GIVEN, "MINUTES=1", "PHOTOS=600")
    assert 0 == status
    assert all("--minutes 1 --photos 600" in line for line in told[:4])
    assert ["dsr_inception.json"] == [path.name for path in (folder / "models").iterdir()]
    assert "{}" == (folder / "models" / "dsr_inception.json").read_text()
    made = folder / "runs" / "first-look" / "models"
    kept = {"dsr_inception.json", "dsr_inception.keras", "dsr_inception.keras.json", "training_log.csv"}
    assert kept == {p.name for p in made.iterdir()}


def test_what_is_not_given_is_asked_for(folder: Path) -> None:
    """Before anything runs."""
    status, told = _make(folder, *GIVEN[:3])
    assert 0 != status
    assert "give DLIB=, MF=, SPLITS= and CONSENT=" in told[0]
