from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_app.engines.manifest import DETECTOR, RECOGNISER, load_manifest
from edge_app.errors import ModelError, PreprocessMismatch
from edge_app.faces.preprocess import PREPROCESS_ID, PREPROCESS_SHA256
from tests.tiny_models import DIM, recogniser

if TYPE_CHECKING:
    from pathlib import Path

MISSING = object()


def test_manifest_tells_everything(tmp_path: Path) -> None:
    """Every key arrives under its name, a dynamic axis as None."""
    manifest = load_manifest(recogniser(tmp_path))
    assert ("tiny", RECOGNISER) == (manifest.name, manifest.kind)
    assert tmp_path / "tiny.onnx" == manifest.path
    assert (None, 3, 224, 224) == manifest.input.shape
    assert ("embedding", DIM) == (manifest.output_name, manifest.output_dim)
    assert (PREPROCESS_ID, PREPROCESS_SHA256) == (manifest.preprocess_id, manifest.preprocess_sha256)
    assert (0.41, "worked out by hand") == (manifest.threshold, manifest.threshold_source)


def test_intact_file_is_accepted(tmp_path: Path) -> None:
    """The model that the manifest describes is the one that is loaded."""
    assert tmp_path / "tiny.onnx" == load_manifest(recogniser(tmp_path)).verify()


def test_one_changed_bit_is_refused(tmp_path: Path) -> None:
    """Same size, other content: both hashes are told."""
    manifest = load_manifest(recogniser(tmp_path))
    content = bytearray(manifest.path.read_bytes())
    content[len(content) // 2] ^= 1
    manifest.path.write_bytes(content)
    with pytest.raises(
        ModelError, match=f"expected sha256 {manifest.sha256}, received [0-9a-f]{{64}}"
    ) as caught:
        manifest.verify()
    assert "altered" in caught.value.fix


def test_model_cut_short_is_refused(tmp_path: Path) -> None:
    """A bad copy is told by its size, before anything is hashed."""
    manifest = load_manifest(recogniser(tmp_path))
    manifest.path.write_bytes(manifest.path.read_bytes()[:100])
    with pytest.raises(ModelError, match=f"has 100 bytes; its manifest says {manifest.size}"):
        manifest.verify()


def test_missing_model_is_refused(tmp_path: Path) -> None:
    """A manifest without its model says which file it wants."""
    manifest = load_manifest(recogniser(tmp_path))
    manifest.path.unlink()
    with pytest.raises(ModelError, match=r"tiny\.onnx cannot be read: No such file"):
        manifest.verify()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("name", "", "name must be a text"),
        ("kind", "oracle", "kind must be recogniser or detector; received 'oracle'"),
        ("file", "../other.onnx", "file must be a file name without a folder"),
        ("file", "/etc/passwd", "file must be a file name without a folder"),
        ("sha256", "abc", "sha256 must be 64 hexadecimal digits"),
        ("bytes", True, "bytes must be a whole number above 0; received True"),
        ("bytes", MISSING, "bytes must be a whole number above 0; received None"),
        ("input", [], "input must be an object"),
        ("input", {"name": "x", "dtype": "float32", "shape": []}, r"input\.shape must be a list"),
        ("threshold", "0.4", "threshold must be a number; received '0.4'"),
        ("threshold", 1.5, "threshold must be a cosine similarity"),
        ("threshold", MISSING, "threshold must be a number"),
        ("output", {"name": "embedding"}, r"output\.dim must be a whole number"),
        ("preprocess", {"id": "x"}, r"preprocess\.sha256 must be a text"),
    ],
)
def test_wrong_key_is_named(tmp_path: Path, key: str, value: Any, told: str) -> None:
    """A wrong or missing key is named with what it must be and what it is."""
    path = recogniser(tmp_path)
    content = json.loads(path.read_text())
    content[key] = value
    if value is MISSING:
        del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=told):
        load_manifest(path)


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "is not JSON"), (b"[1]", "not a JSON object"), (b"\xff\xfe", "JSON")]
)
def test_garbage_is_no_manifest(tmp_path: Path, content: bytes, told: str) -> None:
    """An empty, binary or list-shaped file is refused with its path."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=told):
        load_manifest(path)


def test_missing_manifest_is_told(tmp_path: Path) -> None:
    """A path that is not there says so."""
    with pytest.raises(ModelError, match=r"nowhere\.json cannot be read: No such file"):
        load_manifest(tmp_path / "nowhere.json")


def test_more_keys_are_allowed(tmp_path: Path) -> None:
    """Training may write more than the box reads."""
    assert "tiny" == load_manifest(recogniser(tmp_path, accuracy={"lfw": 88.8})).name


def test_other_preprocessing_is_refused(tmp_path: Path) -> None:
    """The mismatch has an error of its own and shows both hashes."""
    path = recogniser(tmp_path, preprocess={"id": "old", "sha256": "0" * 64})
    with pytest.raises(PreprocessMismatch, match=f"'old'.*{'0' * 64}.*{PREPROCESS_SHA256}"):
        load_manifest(path).require_preprocess(preprocess_id=PREPROCESS_ID, sha256=PREPROCESS_SHA256)


def test_detector_is_no_recogniser(tmp_path: Path, centerface: Path) -> None:
    """The real detector's manifest holds, needs no threshold, and is not taken for a recogniser."""
    manifest = load_manifest(centerface)
    manifest.verify()
    manifest.require_kind(DETECTOR)
    assert manifest.threshold is None
    with pytest.raises(ModelError, match="a recogniser is needed here; received the detector 'centerface'"):
        manifest.require_kind(RECOGNISER)
