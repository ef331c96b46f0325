from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_app.embedding.recogniser import Recogniser
from edge_app.engines.engine import TensorSpec
from edge_app.engines.manifest import load_manifest
from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.errors import ModelError, PreprocessMismatch
from edge_app.faces.preprocess import PREPROCESS_SHA256
from tests.tiny_models import DIM, WEIGHTS, mean_colour_network, recogniser

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


def flat(*colour: int) -> npt.NDArray[np.uint8]:
    """Return a crop of one RGB colour."""
    return np.full((224, 224, 3), colour, np.uint8)


def expected(*colour: int) -> npt.NDArray[np.float32]:
    """Return what the tiny network must say about a crop of one RGB colour."""
    vector = (np.array(colour, np.float32) - 127.5) / 127.5 @ WEIGHTS
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 255), (10, 200, 90)])
def test_embedding_is_the_unit_vector_of_the_rgb_crop(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    """Channels go in as RGB, scaled as the preprocessing says, and come out with length one."""
    (embedding,) = Recogniser.open(recogniser(tmp_path)).embed(flat(*colour)[None])
    np.testing.assert_allclose(expected(*colour), embedding.vector, atol=2e-4)


@pytest.mark.parametrize("max_batch", [1, 4])
def test_order_holds_beyond_one_batch(tmp_path: Path, max_batch: int) -> None:
    """More crops than fit one run come back in their order, and nothing is left over in the buffer."""
    manifest = load_manifest(recogniser(tmp_path))
    tiny = Recogniser(manifest=manifest, engine=OnnxEngine(manifest.verify()), max_batch=max_batch)
    colours = [(20 * i, 250 - 20 * i, 7 * i) for i in range(7)]
    got = tiny.embed(np.stack([flat(*colour) for colour in colours]))
    np.testing.assert_allclose(
        np.stack([expected(*colour) for colour in colours]), np.stack([e.vector for e in got]), atol=2e-4
    )
    (again,) = tiny.embed(flat(*colours[0])[None])
    np.testing.assert_allclose(got[0].vector, again.vector, atol=2e-6)


@pytest.mark.parametrize("batch", [1, 2])
def test_model_of_fixed_batch(tmp_path: Path, batch: int) -> None:
    """A network that takes exactly so many at once works for any number of faces."""
    network = mean_colour_network(tmp_path / "tiny.onnx", batch=batch)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    got = Recogniser.open(recogniser(tmp_path, network=network)).embed(np.stack([flat(*c) for c in colours]))
    np.testing.assert_allclose(
        np.stack([expected(*c) for c in colours]), np.stack([e.vector for e in got]), atol=2e-4
    )


def test_no_faces_no_embeddings(tmp_path: Path) -> None:
    """An empty batch is a normal frame of an empty tunnel."""
    assert [] == Recogniser.open(recogniser(tmp_path)).embed(np.zeros((0, 224, 224, 3), np.uint8))


def test_embedding_carries_what_made_it(tmp_path: Path) -> None:
    """Model and preprocessing hashes, threshold, dimension and backend are told."""
    tiny = Recogniser.open(recogniser(tmp_path))
    (embedding,) = tiny.embed(flat(1, 2, 3)[None])
    assert (tiny.model_sha256, PREPROCESS_SHA256) == (embedding.model_sha256, embedding.preprocess_sha256)
    assert (0.41, DIM, "onnxruntime-cpu") == (tiny.threshold, tiny.dim, tiny.backend)


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((1, 112, 112, 3), np.uint8),
        np.zeros((224, 224, 3), np.uint8),
        np.zeros((1, 224, 224, 3), np.float32),
    ],
)
def test_wrong_crops_are_refused(tmp_path: Path, crops: npt.NDArray[Any]) -> None:
    """Another size, shape or dtype is a mistake in the program."""
    with pytest.raises(ValueError, match=r"crops must be \(N, 224, 224, 3\) uint8 RGB; received"):
        Recogniser.open(recogniser(tmp_path)).embed(crops)


def test_other_preprocessing_is_never_loaded(tmp_path: Path) -> None:
    """A model made another way is an error before its file is even looked at."""
    path = recogniser(tmp_path, preprocess={"id": "old", "sha256": "0" * 64}, sha256="1" * 64)
    with pytest.raises(PreprocessMismatch):
        Recogniser.open(path)


def test_altered_model_is_never_loaded(tmp_path: Path) -> None:
    """The hash is checked before the network is opened."""
    with pytest.raises(ModelError, match="not the one its manifest describes"):
        Recogniser.open(recogniser(tmp_path, sha256="1" * 64))


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ({"name": "logits", "dim": DIM}, "no output 'logits'; it has"),
        ({"name": "embedding", "dim": 5}, "manifest says"),
    ],
)
def test_manifest_of_another_model_is_refused(tmp_path: Path, output: dict[str, object], told: str) -> None:
    """Output name and dimension must be the network's."""
    with pytest.raises(ModelError, match=told):
        Recogniser.open(recogniser(tmp_path, output=output)).embed(flat(1, 2, 3)[None])


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_vector_without_direction_is_an_error(tmp_path: Path, value: float) -> None:
    """Damaged weights give no embedding rather than a bad one."""
    network = mean_colour_network(tmp_path / "tiny.onnx", weights=np.full((3, DIM), value, np.float32))
    with pytest.raises(ModelError, match=r"gave a vector of length (0\.0|nan) on onnxruntime-cpu"):
        Recogniser.open(recogniser(tmp_path, network=network)).embed(flat(1, 2, 3)[None])


def test_detector_is_refused(centerface: Path) -> None:
    """The detector's manifest in the recogniser's place is told as such."""
    with pytest.raises(ModelError, match="a recogniser is needed here; received the detector"):
        Recogniser.open(centerface)


def test_embedding_is_the_mean_of_face_and_mirror_image(tmp_path: Path) -> None:
    """A crop and its mirror image have one embedding: the mean of what the network says to each."""
    manifest = load_manifest(recogniser(tmp_path))
    engine = LeftHalf()
    tiny = Recogniser(manifest=manifest, engine=engine, max_batch=2)
    crop = flat(10, 20, 30)
    crop[:, 112:] = 255, 255, 255
    (one,), (other,) = tiny.embed(crop[None]), tiny.embed(np.ascontiguousarray(crop[None, :, ::-1]))
    np.testing.assert_allclose(one.vector, other.vector, atol=1e-6)
    wanted = expected(10, 20, 30) + expected(255, 255, 255)
    np.testing.assert_allclose(wanted / np.linalg.norm(wanted), one.vector, atol=1e-5)
    assert [2, 2] == engine.sizes


class LeftHalf:
    """An engine that looks at the left half of a picture only, and notes how many it was given."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.backend = "onnxruntime-cpu"
        self.inputs = (TensorSpec(name="face", shape=(None, 3, 224, 224), dtype="float32"),)
        self.outputs = (TensorSpec(name="embedding", shape=(None, DIM), dtype="float32"),)

    def run(self, batch: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Return the colour of the left half in the tiny network's terms."""
        self.sizes.append(len(batch))
        return [np.asarray(batch[:, :, :, :112].mean(axis=(2, 3)) @ WEIGHTS, dtype=np.float32)]

    def close(self) -> None:
        """Nothing to free."""
