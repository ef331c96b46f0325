"""``dsr-edge people cohort`` and ``calibrate``: thresholds from the mine's own people, by the real model."""

from __future__ import annotations

import json
import shutil
import stat
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_app.cli.main import main
from edge_app.engines.manifest import load_manifest
from edge_app.faces.preprocess import PREPROCESS_SHA256
from edge_app.identity import cohort
from field_test.assets import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MODEL = ROOT / "models" / "dsr_inception.json"
CONFIG = """\
box: {{site: mine-1, node: box-01}}
cameras: [{{name: portal, zone: portal, source: {{kind: folder, path: pictures}}}}]
detector: {{model: {detector}}}
recogniser: {{model: {model}, threshold: {threshold}}}
delivery: {{brokers: [{{host: 127.0.0.1}}]}}
"""


@pytest.fixture
def config(tmp_path: Path, centerface: Path, demo_photos: Mapping[str, Path]) -> Path:
    """Return a box on which two people are registered."""
    path = write(tmp_path, centerface)
    for ref, name in (("C-1", "obama"), ("C-2", "astronaut")):
        words = ["people", "add", "--ref", ref, "--name", ref, str(demo_photos[name])]
        assert 0 == main([*words, "--config", str(path)])
    return path


def write(folder: Path, detector: Path, threshold: str = "null") -> Path:
    """Write a configuration with the shipped recogniser."""
    path = folder / "box.yaml"
    path.write_text(CONFIG.format(detector=detector, model=MODEL, threshold=threshold), encoding="utf-8")
    return path


def strangers(path: Path, *, model: str) -> Path:
    """Write a cohort of 400 people who look like nobody."""
    vectors = np.random.default_rng(5).normal(size=(400, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cohort.save(path, cohort.Cohort(vectors, model, PREPROCESS_SHA256))
    return path


def test_a_cohort_is_made_from_photos_and_is_private(
    config: Path, tmp_path: Path, demo_photos: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """One stranger a photo; a photo without a face is counted, not fatal; the file is its owner's alone."""
    folder, out = tmp_path / "strangers", tmp_path / "cohort.npz"
    folder.mkdir()
    shutil.copy(demo_photos["biden"], folder)
    (folder / "empty.jpg").touch()
    capsys.readouterr()
    words = ["people", "cohort", "--photos", str(folder), "--out", str(out), "--config", str(config)]
    assert 0 == main([*words, "--json"])
    said = json.loads(capsys.readouterr().out)
    model = load_manifest(MODEL).sha256
    assert {"strangers": 1, "without_face": 1, "model_sha256": model} == said
    assert 0o600 == stat.S_IMODE(out.stat().st_mode)
    assert (1, 128) == cohort.load(out, model_sha256=model).vectors.shape


def test_calibrating_never_goes_below_the_model_s_threshold_unasked(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Easy strangers alone must not open the door: the model's threshold was measured in dust."""
    manifest = load_manifest(MODEL)
    path = strangers(tmp_path / "cohort.npz", model=manifest.sha256)
    words = ["people", "calibrate", "--cohort", str(path), "--far", "0.05", "--config", str(config), "--json"]
    capsys.readouterr()
    assert 0 == main(words)
    said = json.loads(capsys.readouterr().out)
    assert {"C-1", "C-2"} == set(said["people"])
    assert manifest.threshold == pytest.approx(said["model_threshold"])
    assert said["model_threshold"] <= min(said["people"].values())

    assert 0 == main([*words, "--may-lower"])
    assert said["threshold"] > json.loads(capsys.readouterr().out)["threshold"]


def test_registered_people_in_the_cohort_are_told(
    config: Path, tmp_path: Path, demo_photos: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of the mine's own pictures has them; and what the thresholds cost is told, too."""
    words = ["people", "add", "--ref", "C-1", "--name", "C-1", str(demo_photos["obama2"])]
    assert 0 == main([*words, "--config", str(config)])
    model, own, path = load_manifest(MODEL).sha256, tmp_path / "own.npz", tmp_path / "cohort.npz"
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(demo_photos["obama"], folder)
    assert 0 == main(
        ["people", "cohort", "--photos", str(folder), "--out", str(own), "--config", str(config)]
    )
    strangers(path, model=model)
    vectors = [cohort.load(one, model_sha256=model).vectors for one in (path, own)]
    cohort.save(path, cohort.Cohort(np.concatenate(vectors), model, PREPROCESS_SHA256))
    capsys.readouterr()
    words = ["people", "calibrate", "--cohort", str(path), "--far", "0.01", "--config", str(config)]
    assert 0 == main(words)
    said = capsys.readouterr().out
    assert "left out 1 of the cohort, as alike to registered people as their own photos: C-1 (0." in said
    assert "1 of 1 people would be named by their own photos\n" in said
    assert "1 people have one photo" in said
    assert 0 == main([*words, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (["C-1"], 400, 1) == (
        [one["person_ref"] for one in told["left_out"]],
        told["strangers"],
        told["single_photo"],
    )


def test_a_cohort_of_another_model_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its similarities mean something else."""
    path = strangers(tmp_path / "cohort.npz", model="0" * 64)
    assert 5 == main(["people", "calibrate", "--cohort", str(path), "--config", str(config)])
    assert "\n  fix: " in capsys.readouterr().err


def test_a_threshold_in_the_configuration_is_told_to_stand_in_the_way(
    config: Path, tmp_path: Path, centerface: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Calibrated, and not in use: nobody would find that out by themselves."""
    path = strangers(tmp_path / "cohort.npz", model=load_manifest(MODEL).sha256)
    write(tmp_path, centerface, threshold="0.6")
    words = ["people", "calibrate", "--cohort", str(path), "--far", "0.05", "--config", str(config)]
    assert 0 == main(words)
    assert "not in use: recogniser.threshold is set" in capsys.readouterr().out


def test_without_a_register_there_is_nothing_to_calibrate(
    tmp_path: Path, centerface: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said, with what comes first."""
    config = write(tmp_path, centerface)
    assert 5 == main(["people", "calibrate", "--cohort", "x.npz", "--config", str(config)])
    assert "register people first" in capsys.readouterr().err
