"""``dsr-edge config``: a first file that works, and never over somebody's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_app.cli.main import main
from edge_app.config import Config, load_config

ROOT = Path(__file__).resolve().parents[2]


def test_new_writes_a_file_that_loads_and_finds_the_models(tmp_path: Path, centerface: Path) -> None:
    """In a checkout the example points at the models that set-up prepared."""
    out = tmp_path / "box.yaml"
    assert main(["config", "new", "--out", str(out)]) == 0
    config = load_config(out)
    assert ROOT / "models" / "dsr_inception.json" == config.recogniser.model
    assert config.detector.model.is_file()


def test_new_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A box's configuration is not lost by a slip of the hand."""
    out = tmp_path / "box.yaml"
    out.write_text("mine", encoding="utf-8")
    assert main(["config", "new", "--out", str(out)]) == 2
    assert out.read_text(encoding="utf-8") == "mine"
    assert "give another --out" in capsys.readouterr().err


def test_schema_is_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """Every section of the file stands in it."""
    assert main(["config", "schema"]) == 0
    assert set(Config.model_fields) == set(json.loads(capsys.readouterr().out)["properties"])


def test_check_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Well-formed, but a recording is not there: exit status 2, and the key."""
    out = tmp_path / "box.yaml"
    out.write_text(
        "box: {site: m, node: b}\ncameras: [{name: c, zone: z, source: {kind: file, path: no.mp4}}]\n"
        "delivery: {brokers: [{host: h}]}\n",
        encoding="utf-8",
    )
    assert main(["config", "check", "--config", str(out)]) == 2
    assert "cameras[0].source.path: cannot read" in capsys.readouterr().err


@pytest.mark.parametrize("show", ["seen.txt", "none/seen.mp4"])
def test_run_refuses_a_video_it_cannot_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], show: str
) -> None:
    """Before anything is opened, not at the first frame."""
    out = tmp_path / "box.yaml"
    main(["config", "new", "--out", str(out)])
    assert main(["run", "--config", str(out), "--show", str(tmp_path / show)]) == 2
    assert "cannot write the video" in capsys.readouterr().err
