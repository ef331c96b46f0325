"""The five stages' shapes, the model's size with CelebA's identities, and its multiplications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dsr_inception import baselines, network
from dsr_inception.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

CELEBA_IDENTITIES = 10_177


@pytest.fixture(scope="module")
def classifier() -> Any:
    """Return the paper's network with all CelebA identities."""
    return network.classifier(CELEBA_IDENTITIES)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras converts in a way that numpy 2 deprecates
def test_file_without_a_recogniser_is_refused(tmp_path: Path) -> None:
    """Another ending, no file at all inside, another network: a line that names the file."""
    network.classifier(2, 32).save(tmp_path / "classifier.keras")
    (tmp_path / "damaged.keras").write_bytes(b"no weights")
    (tmp_path / "weights.txt").write_bytes(b"no weights")
    for name in ("classifier.keras", "damaged.keras", "weights.txt"):
        with pytest.raises(
            TrainingError, match=f"{name} is no recogniser, .keras, as `pretrain` writes one: [^\n]+$"
        ):
            network.load_recogniser(tmp_path / name)
    network.recogniser(32).save(tmp_path / "r.keras")
    assert (None, 128) == network.load_recogniser(tmp_path / "r.keras").output_shape


def test_shapes_are_the_papers(classifier: Any) -> None:
    """224x224x64 out of the first block, 7x7x1024 after the fifth stage."""
    assert (None, 224, 224, 64) == classifier.get_layer("s1_add").output.shape
    assert (None, 7, 7, 1024) == classifier.get_layer("s5_down").output.shape


def test_size_is_the_papers(classifier: Any) -> None:
    """45.9 MiB of float32 weights; the paper says 46.56 M."""
    assert 45.9 == pytest.approx(classifier.count_params() * 4 / 2**20, abs=0.05)


def test_multiplications_are_counted(classifier: Any) -> None:
    """About 1.02 GMAC for the trunk at 224."""
    macs = baselines.multiplications(network.trunk())
    assert 1.02e9 == pytest.approx(macs, rel=0.01)
    assert macs + 1024 * CELEBA_IDENTITIES == baselines.multiplications(classifier)


def test_embedding_is_of_unit_length_at_any_side() -> None:
    """The same weights take 64 and 224; the embedding has length one."""
    model = network.recogniser(None)
    rng = np.random.default_rng(0)
    for side in (64, 96):
        out = np.asarray(model(rng.uniform(-1, 1, (2, side, side, 3)).astype(np.float32)))
        assert (2, 128) == out.shape
        np.testing.assert_allclose([1, 1], np.linalg.norm(out, axis=1), atol=1e-5)


def test_classifier_of_one_is_refused() -> None:
    """One identity is no choice."""
    with pytest.raises(ValueError, match="at least two identities; received 1"):
        network.classifier(1)


@pytest.mark.parametrize(
    ("name", "millions"), [("inception_v1", 5.98), ("vgg_16", 134.7), ("resnet_18", 11.2)]
)
def test_baselines_have_their_published_size(name: str, millions: float) -> None:
    """Each comparison network has its authors' parameter count up to the classifier's size."""
    model = baselines.BASELINES[name](100)
    assert millions == pytest.approx(model.count_params() / 1e6, rel=0.03)
    assert (None, 100) == model.output["logits"].shape
