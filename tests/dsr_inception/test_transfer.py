"""Freezing by scheme, the joint loss in training, and the closed set's figures by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from dsr_inception import network, transfer
from dsr_inception.errors import TrainingError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def recogniser() -> Any:
    """Return an untrained recogniser behind the 2x2 averaging."""
    return network.recogniser(224, reduce=2)


@pytest.mark.parametrize(("scheme", "stages"), [("b", 1), ("c", 2), ("d", 3), ("e", 4), ("f", 5)])
def test_scheme_freezes_its_stages(recogniser: Any, scheme: str, stages: int) -> None:
    """Exactly the first stages' layers stay as they are; the classifier is always trained."""
    model = transfer.classifier_from(recogniser, 3)
    transfer.freeze(model, scheme)
    trained = {v.path.split("/")[0].split("_")[0] for v in model.trainable_variables}
    assert {"logits"} | {f"s{i}" for i in range(stages + 1, 6)} == trained


@pytest.mark.parametrize("scheme", ["a", "g"])
def test_scheme_that_trains_nothing_is_refused(recogniser: Any, scheme: str) -> None:
    """Scheme a is not trained, g does not exist."""
    with pytest.raises(TrainingError, match=f"received '{scheme}'"):
        transfer.freeze(transfer.classifier_from(recogniser, 3), scheme)


def test_trunk_is_taken_over(recogniser: Any) -> None:
    """The classifier's features are the recogniser's, before its embedding."""
    model = transfer.classifier_from(recogniser, 3)
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 224, 224, 3)).astype(np.float32)
    features = keras.Model(recogniser.input, recogniser.get_layer("gap").output)
    np.testing.assert_allclose(features(picture), model(picture)["feature"], atol=1e-5)


def _small() -> Any:
    inputs = keras.Input((4,))
    feature = keras.layers.Dense(3, name="f")(inputs)
    return keras.Model(inputs, {"feature": feature, "logits": keras.layers.Dense(2, name="logits")(feature)})


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_joint_training_learns_and_moves_only_used_centres(weight: float) -> None:
    """A separable set is learnt; centres move with the centre term and stay zero without."""
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    rows = (rng.normal(0, 0.3, (64, 4)) + np.where(labels[:, None], 1.0, -1.0)).astype(np.float32)
    keras.utils.set_random_seed(0)
    model = transfer.JointModel(_small(), weight=weight)
    model.compile(keras.optimizers.SGD(0.1))
    model.fit(rows, labels, epochs=5, batch_size=16, verbose=0)
    logits = np.asarray(model(rows)["logits"])
    assert 1.0 == (logits.argmax(axis=1) == labels).mean()
    moved = np.abs(np.asarray(model.centres)).max(axis=1)
    assert [bool(weight)] * 2 == [bool(v > 0.01) for v in moved]
    assert "centres" not in {v.name for v in model.trainable_variables}


def test_figures_by_hand() -> None:
    """Three classes: one right, one half right, one never said."""
    found = transfer.closed_set_figures(np.array([0, 0, 1, 0, 1, 1]), np.array([0, 0, 1, 1, 2, 2]))
    assert 0.5 == found.accuracy
    assert pytest.approx((2 / 3 + 1 / 3 + 0) / 3) == found.precision
    assert pytest.approx((1 + 0.5 + 0) / 3) == found.recall
    assert pytest.approx((0.8 + 0.4 + 0) / 3) == found.f1
    assert (6, 3) == (found.pictures, found.identities)


def test_nearest_mean_by_hand() -> None:
    """Directions decide, not lengths."""
    train = np.array([[1, 0], [3, 0.1], [0, 1]], np.float32)
    found = transfer.nearest_mean(train, np.array([4, 4, 9]), np.array([[0.1, 5], [9, 1]], np.float32))
    assert [9, 4] == found.tolist()
