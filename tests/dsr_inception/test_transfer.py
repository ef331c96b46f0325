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
    """Return a recogniser behind the 2x2 averaging, its weights moved off their start."""
    keras.utils.set_random_seed(1)
    return network.recogniser(224, reduce=2)


@pytest.mark.parametrize(("scheme", "stages"), [("b", 1), ("c", 2), ("d", 3), ("e", 4), ("f", 5)])
def test_scheme_trains_what_stands_above_its_stages(recogniser: Any, scheme: str, stages: int) -> None:
    """Exactly the stages after the frozen ones are there to train; the classifier always is."""
    assert stages == transfer.frozen_stages(scheme)
    model = transfer.upper(recogniser, stages, 3)
    trained = {v.path.split("/")[0].split("_")[0] for v in model.trainable_variables}
    assert {"logits"} | {f"s{i}" for i in range(stages + 1, 6)} == trained


def test_unknown_scheme_and_a_single_class_are_refused(recogniser: Any) -> None:
    """G does not exist; one person is no closed set."""
    with pytest.raises(TrainingError, match="received 'g'"):
        transfer.frozen_stages("g")
    with pytest.raises(TrainingError, match="at least two people; received 1"):
        transfer.upper(recogniser, 5, 1)


@pytest.mark.parametrize("frozen", [1, 4, 5])
def test_lower_and_upper_are_the_recognisers_trunk(recogniser: Any, frozen: int) -> None:
    """Cut anywhere and put together again, the features are the recogniser's before its embedding."""
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 224, 224, 3)).astype(np.float32)
    features = keras.Model(recogniser.input, recogniser.get_layer("gap").output)
    found = transfer.upper(recogniser, frozen, 3)(transfer.lower(recogniser, frozen)(picture))
    np.testing.assert_allclose(features(picture), found["feature"], atol=1e-5)
    assert (1, 3) == found["logits"].shape


def test_label_gap_is_named() -> None:
    """A class without a picture would have no centre: its number is said."""
    with pytest.raises(TrainingError, match=r"without a gap; nobody has \[1\]"):
        transfer.class_means(np.zeros((2, 3), np.float32), np.array([0, 2]))


def test_logits_start_as_the_nearest_mean_in_the_embedding() -> None:
    """The embedding looks at the second axis alone, so the start decides by it, whatever the first says."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    rows = np.stack([rng.normal(0, 3, 400), np.where(labels, 1.0, -1.0) + rng.normal(0, 0.2, 400)], 1)
    rows = rows.astype(np.float32)
    inputs = keras.Input((2,))
    model = keras.Model(inputs, {"feature": inputs, "logits": keras.layers.Dense(2, name="logits")(inputs)})
    head = (np.array([[0, 0], [1, 0.5]], np.float32), np.array([0, 0.1], np.float32))
    transfer.start_at_means(model, head, rows, labels, sharpness=10.0)
    logits = np.asarray(model(rows)["logits"])
    assert 1.0 == (logits.argmax(axis=1) == labels).mean()
    assert 10 == pytest.approx(np.abs(logits).max(axis=1).mean(), rel=0.1), "ten times a cosine near one"


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


def test_nearest_mean_by_hand() -> None:
    """Directions decide, not lengths."""
    train = np.array([[1, 0], [3, 0.1], [0, 1]], np.float32)
    found = transfer.nearest_mean(train, np.array([0, 0, 1]), np.array([[0.1, 5], [9, 1]], np.float32))
    assert [1, 0] == found.argmax(axis=1).tolist()
