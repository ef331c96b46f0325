"""What stands around a recogniser: its mirror image, its cache, its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsr_inception.embedders import (
    DLIB_WEIGHTS,
    DlibEmbedder,
    Kept,
    Mirrored,
    OnnxEmbedder,
    Single,
    kept,
    unit,
)
from dsr_inception.errors import DataError
from edge_app.embedding.recogniser import Recogniser
from edge_app.engines.golden import golden_pictures

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "dsr_inception.json"


def test_evaluation_embeds_as_the_box_does() -> None:
    """For the same crops evaluation and the box give the same vectors: of the face and its mirror image."""
    box = Recogniser.open(SHIPPED)
    crops = golden_pictures()
    crops[:, :, :60] //= 3
    single = OnnxEmbedder(box.manifest.path, name="ours")
    found = Mirrored(single).embed(crops)
    np.testing.assert_allclose(np.stack([e.vector for e in box.embed(crops)]), found, atol=1e-5)
    assert ((found * single.embed(crops)).sum(axis=1) < 0.9999).all()


class _Left:
    """Gives the left half's mean colour and counts how often it is asked."""

    name = "left"

    def __init__(self) -> None:
        self.asked = 0

    def embed(self, crops: Any) -> Any:
        self.asked += 1
        return unit(crops[:, :, : crops.shape[2] // 2].mean(axis=(1, 2)) + 1)


def _crops() -> Any:
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


def test_mirrored_is_the_unit_mean_of_both_views() -> None:
    """Mirrored pictures give the same vector; its length is one."""
    crops, embedder = _crops(), Mirrored(_Left())
    found = embedder.embed(crops)
    np.testing.assert_allclose(found, embedder.embed(crops[:, :, ::-1]), atol=1e-6)
    np.testing.assert_allclose([1, 1, 1], np.linalg.norm(found, axis=1), atol=1e-6)
    plain = [_Left().embed(c) for c in (crops, crops[:, :, ::-1])]
    np.testing.assert_allclose(unit(plain[0] + plain[1]), found, atol=1e-6)


def test_missing_files_are_named(tmp_path: Path) -> None:
    """A recogniser that is not there or is none, and a folder without the teacher, are no tracebacks."""
    with pytest.raises(DataError, match=r"none.onnx is no recogniser that ONNX Runtime can open"):
        OnnxEmbedder(tmp_path / "none.onnx", name="ours")
    (tmp_path / DLIB_WEIGHTS).write_bytes(b"")
    with pytest.raises(DataError, match=r"holds no shape_predictor_5_face_landmarks.dat: give --dlib"):
        DlibEmbedder(tmp_path)


def test_single_says_that_it_sees_one_crop() -> None:
    """The name is what tables show."""
    assert "left, single crop" == Single(_Left()).name


def test_kept_vectors_are_computed_once_for_weights_and_pictures(tmp_path: Path) -> None:
    """Another picture or other weights are computed, the same are read."""
    weights = tmp_path / "weights"
    weights.write_bytes(b"one")
    inner = _Left()
    crops = _crops()
    first = Kept(inner, weights, tmp_path / "cache").embed(crops)
    np.testing.assert_array_equal(first, Kept(inner, weights, tmp_path / "cache").embed(crops))
    assert 1 == inner.asked
    Kept(inner, weights, tmp_path / "cache").embed(crops[:2])
    weights.write_bytes(b"two")
    Kept(inner, weights, tmp_path / "cache").embed(crops)
    assert 3 == inner.asked


def test_without_a_folder_nothing_is_kept() -> None:
    """The value is made every time."""
    made = iter([np.zeros(1), np.ones(1)])
    assert [0.0, 1.0] == [float(kept(None, "key", lambda: next(made))[0]) for _ in range(2)]
