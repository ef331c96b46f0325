"""Well-formed is not enough: what a configuration names must be there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_app.config import Config, load_config, missing_files

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
box: {site: mine-1, node: box-01}
cameras:
  - name: portal
    zone: main
    source: {kind: file, path: clip.mp4}
delivery:
  brokers: [{host: 127.0.0.1, username: box, password_file: password}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a configuration none of whose files exist."""
    file = tmp_path / "box.yaml"
    file.write_text(TEXT, encoding="utf-8")
    return load_config(file)


def lay_down(folder: Path) -> None:
    """Write every file that the configuration needs."""
    (folder / "models").mkdir()
    for name in ("clip.mp4", "password", "models/net.onnx"):
        (folder / name).write_bytes(b"x")
    for name in ("models/centerface.json", "models/dsr_inception.json"):
        (folder / name).write_text(json.dumps({"file": "net.onnx"}), encoding="utf-8")


def keys(config: Config) -> list[str]:
    """Return the keys whose files are missing."""
    return [problem.key for problem in missing_files(config)]


def test_everything_that_is_missing_is_named_by_its_key(config: Config) -> None:
    """Models, recordings and secrets, all at once."""
    expected = [
        "detector.model",
        "recogniser.model",
        "cameras[0].source.path",
        "delivery.brokers[0].password_file",
    ]
    assert expected == keys(config)


def test_nothing_is_missing_once_the_files_are_there(config: Config, tmp_path: Path) -> None:
    """The same configuration passes when they exist."""
    lay_down(tmp_path)
    assert [] == keys(config)


def test_a_manifest_is_followed_to_its_model(config: Config, tmp_path: Path) -> None:
    """A manifest without its model is no model."""
    lay_down(tmp_path)
    (tmp_path / "models" / "net.onnx").unlink()
    assert ["detector.model", "recogniser.model"] == keys(config)
    assert "net.onnx as a file" in str(missing_files(config)[0])


def test_a_folder_is_no_file(config: Config, tmp_path: Path) -> None:
    """A folder where a recording should be is told apart."""
    lay_down(tmp_path)
    (tmp_path / "clip.mp4").unlink()
    (tmp_path / "clip.mp4").mkdir()
    assert ["cameras[0].source.path"] == keys(config)


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b"\xff", b'{"file": 3}'])
def test_a_broken_manifest_is_left_to_whoever_opens_it(
    config: Config, tmp_path: Path, manifest: bytes
) -> None:
    """This check does not crash on one; `dsr-edge doctor` and the daemon say what is wrong with it."""
    lay_down(tmp_path)
    (tmp_path / "models" / "centerface.json").write_bytes(manifest)
    assert [] == keys(config)
