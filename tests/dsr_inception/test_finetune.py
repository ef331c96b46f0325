"""Training above the frozen stages: it learns, logs, and stops on what cannot be learnt from."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from dsr_inception import finetune, network, tables, transfer
from dsr_inception import recipe as rc
from dsr_inception.closed import MICRO
from dsr_inception.crops import LEVELS
from dsr_inception.errors import TrainingError
from dsr_inception.report import Report
from edge_app.faces.preprocess import normalise

# Keras converts tensors in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CLOSED = Path(rc.__file__).parent / "recipes" / "closed"
PEOPLE = 3


@pytest.fixture(scope="module")
def recogniser() -> Any:
    """Return an untrained recogniser behind the 2x2 averaging, its statistics those of the crops."""
    keras.utils.set_random_seed(3)
    model = network.recogniser(224, reduce=2)
    normalised = [layer for layer in model.layers if "_bn" in layer.name]
    for layer in normalised:
        layer.momentum = 0.0
    model(normalise(_crops(2)[0]), training=True)
    for layer in normalised:
        layer.momentum = 0.99
    return model


@pytest.fixture(scope="module")
def recipe() -> rc.ClosedRecipe:
    """Return the quick recipe, shortened."""
    return dataclasses.replace(
        rc.load_closed_recipe(CLOSED / "quick.yaml"), epochs=3, batch=8, learning_rate=1e-3
    )


def _crops(each: int) -> tuple[np.ndarray, np.ndarray]:
    """Return crops of three people, a colour each with noise, and their labels."""
    rng = np.random.default_rng(0)
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]])
    labels = np.arange(PEOPLE * each) % PEOPLE
    noise = rng.normal(0, 12, (len(labels), 224, 224, 3))
    return np.clip(colours[labels][:, None, None] + noise, 0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def values(recogniser: Any) -> tuple[Any, np.ndarray]:
    """Return the values of all five stages for twelve crops, and their labels."""
    crops, labels = _crops(4)
    return finetune.Lower(recogniser, 5).of_crops(crops), labels


def test_lower_has_the_picture_and_its_mirror_image(recogniser: Any, tmp_path: Path) -> None:
    """The second half is what the first would be of mirrored crops; kept values are read again."""
    crops, _ = _crops(1)
    crops[:, :, :60] = 0
    lower = finetune.Lower(recogniser, 4, key="0123456789abcdef", cache=tmp_path)
    found = lower.of_crops(crops)
    assert (2, 3, 7 // 2 * 2 + 1, 7, 512) == found.shape
    mirrored = finetune.Lower(recogniser, 4).of_crops(np.ascontiguousarray(crops[:, :, ::-1]))
    np.testing.assert_allclose(found[1], mirrored[0], atol=2e-2)
    assert ["lower4-0123456789ab"] == [p.name for p in tmp_path.iterdir()]
    np.testing.assert_array_equal(found, lower.of_crops(crops))


def test_every_trained_scheme_learns_the_people(recogniser: Any, recipe: rc.ClosedRecipe) -> None:
    """Three colours are told apart by scheme e, which trains the last stage, and f, which does not."""
    crops, labels = _crops(4)
    for scheme in "ef":
        own = dataclasses.replace(recipe, scheme=scheme)
        seen = finetune.Lower(recogniser, transfer.SCHEMES[scheme]).of_crops(crops)
        epochs: list[finetune.Epoch] = []
        trained = finetune.train_upper(recogniser, seen, labels, own, test=(seen, labels), each=epochs.append)
        assert labels.tolist() == trained.scores(seen).argmax(axis=1).tolist()
        assert [1, 2, 3] == [row.epoch for row in trained.log] == [row.epoch for row in epochs]
        assert 1.0 == trained.log[-1].test_accuracy


def test_frozen_stages_are_not_touched(recogniser: Any, recipe: rc.ClosedRecipe) -> None:
    """After training the recogniser is what it was."""
    before = [w.copy() for w in recogniser.get_weights()]
    crops, labels = _crops(2)
    seen = finetune.Lower(recogniser, 4).of_crops(crops)
    finetune.train_upper(recogniser, seen, labels, dataclasses.replace(recipe, scheme="e", epochs=1))
    for one, two in zip(before, recogniser.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_scheme_a_is_not_trained(recogniser: Any, values: Any, recipe: rc.ClosedRecipe) -> None:
    """It says so."""
    with pytest.raises(TrainingError, match="scheme a trains nothing"):
        finetune.train_upper(recogniser, *values, dataclasses.replace(recipe, scheme="a"))


def test_label_gap_is_refused_before_training(recogniser: Any, values: Any, recipe: rc.ClosedRecipe) -> None:
    """Labels 0, 1, 3: nobody has 2."""
    labels = np.where(values[1] == 2, 3, values[1])
    with pytest.raises(TrainingError, match=r"without a gap; nobody has \[2\]"):
        finetune.train_upper(recogniser, values[0], labels, recipe)


def test_nan_loss_stops_with_the_pictures_names(
    recogniser: Any, values: Any, recipe: rc.ClosedRecipe
) -> None:
    """A value that is no number ends the run at its batch; its picture is named, and all of the batch."""
    broken = values[0].copy()
    broken[:, 4, 0] = np.nan
    names = [f"{'abc'[i % 3]}/{i}.png" for i in range(len(values[1]))]
    own = dataclasses.replace(recipe, sharpness=0.0, centre=0.0, dropout=0.0, batch=2)
    with pytest.raises(TrainingError) as stopped:
        finetune.train_upper(recogniser, broken, values[1], own, names=names)
    said = re.fullmatch(
        r"the loss is nan in epoch 1, batch ([1-6]) of 6, rate 1.00e-03; 1 pictures give no numbers, look at "
        r"them: b/4.png\. The batch: (\S+), (\S+)",
        str(stopped.value),
    )
    assert said, stopped.value
    assert "b/4.png" in said.groups()[1:]


def test_diverging_loss_stops_within_the_epoch(recogniser: Any, values: Any, recipe: rc.ClosedRecipe) -> None:
    """Far too high a rate: no epoch is finished, and the message says what to lower."""
    own = dataclasses.replace(recipe, learning_rate=1e38, batch=2)
    epochs: list[finetune.Epoch] = []
    with pytest.raises(TrainingError, match=r"lower learning_rate or centre\. The batch: number \d+, number"):
        finetune.train_upper(recogniser, *values, own, each=epochs.append)
    assert [] == epochs


def test_batches_of_an_epoch_are_those_that_are_told(values: Any) -> None:
    """Every picture once an epoch, the batches in another order than they were drawn, as said."""
    halves = np.arange(10)[None, :, None].repeat(2, axis=0).astype(np.float16)
    batches = finetune.Drawn(halves, np.arange(10), batch=4, seed=0)
    orders = set()
    for _ in range(8):
        batches.on_epoch_begin()
        rows = [batches.rows(i).tolist() for i in range(len(batches))]
        assert [batches[i][1].tolist() for i in range(len(batches))] == rows
        assert list(range(10)) == sorted(row for batch in rows for row in batch)
        orders.add(tuple(len(r) for r in rows))
        batches.on_epoch_end()
    assert {(4, 4, 2), (4, 2, 4), (2, 4, 4)} >= orders
    assert 1 < len(orders)


def test_log_is_written(tmp_path: Path) -> None:
    """One row an epoch with named columns, and the same figures in an event file."""
    import tensorflow as tf

    from dsr_inception.events import rows_of

    path = finetune.write_log(tmp_path, (finetune.Epoch(1, 0.5, 0.75, 0.25, 2.0),))
    assert ["epoch,loss,accuracy,test_accuracy,seconds", "1,0.5,0.75,0.25,2.0"] == path.read_text().split()
    assert {1: {"loss": 0.5, "accuracy": 0.75, "test_accuracy": 0.25, "seconds": 2.0}} == rows_of(
        path, step="epoch"
    )
    (events,) = tmp_path.glob("events.out.tfevents.*")
    records = [tf.compat.v1.Event.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(events))]
    found = {
        value.tag: (event.step, value.simple_value) for event in records for value in event.summary.value
    }
    assert {"loss": (1, 0.5), "accuracy": (1, 0.75), "test_accuracy": (1, 0.25)} == found


@pytest.mark.parametrize("path", sorted(CLOSED.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_recipes_load(path: Path) -> None:
    """Every recipe of the closed set passes its own checks; the paper's is what the paper says."""
    found = rc.load_closed_recipe(path)
    if path.stem == "paper":
        said = (found.batch, found.learning_rate, found.decay, found.epochs, found.centre)
        assert (64, 0.01, 0.05, 150, 0.01) == said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("scheme: g", "scheme must be one of a, b, c, d, e, f; received 'g'"),
        ("scheme: 3", "scheme must be a word; received 3"),
        ("epochs: 0", "epochs must be above 0"),
        ("dropout: 1", "dropout must be a share"),
        ("centre: -1", "centre must be 0 or more"),
        ("alpha: 0", "alpha must be a share"),
        ("lambda: 1", "unknown key lambda"),
    ],
)
def test_wrong_recipe_is_named(tmp_path: Path, change: str, message: str) -> None:
    """Key, value and what is allowed."""
    key = change.split(":", maxsplit=1)[0]
    lines = [
        line for line in (CLOSED / "quick.yaml").read_text().split("\n") if not line.startswith(f"{key}:")
    ]
    (tmp_path / "r.yaml").write_text("\n".join([*lines, change]))
    with pytest.raises(rc.RecipeError, match=message):
        rc.load_closed_recipe(tmp_path / "r.yaml")


# -- the tables that stand on it


@pytest.fixture(scope="module")
def miners() -> tables.MinerClosed:
    """Return three people in three poses under the three levels."""
    crops, labels = _crops(3)
    order = np.argsort(labels, kind="stable")
    poses = np.tile(["front", "up_15", "down_15"], PEOPLE)
    return tables.MinerClosed(
        np.concatenate([crops[order]] * 3),
        np.tile(labels[order], 3),
        np.tile(poses, 3),
        np.repeat(LEVELS, len(poses)),
    )


def test_group_tests_two_poses_of_each_person_at_all_levels(miners: tables.MinerClosed) -> None:
    """No tested photo is trained on under other ash; another group tests others."""
    held = miners.tested(0)
    assert PEOPLE * 2 * 3 == held.sum()
    cells = {(int(p), str(q)) for p, q in zip(miners.labels[held], miners.poses[held], strict=True)}
    rest = {(int(p), str(q)) for p, q in zip(miners.labels[~held], miners.poses[~held], strict=True)}
    assert set() == cells & rest
    assert (held == miners.tested(0)).all()
    assert any((held != miners.tested(group)).any() for group in range(1, 4))


def test_table_3_has_a_column_a_scheme_and_says_which_is_best(
    recogniser: Any, recipe: rc.ClosedRecipe, miners: tables.MinerClosed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here all are right, so the cheapest is said to be best: the one that trains nothing."""
    monkeypatch.setattr(transfer, "SCHEMES", {k: transfer.SCHEMES[k] for k in "af"})
    report = Report()
    trunk = tables.Trunk(recogniser, "key")
    best = tables.evaluate_schemes(report, "table 3", trunk, miners, recipe, groups=1)
    assert ["a", "f"] == list(report.figures["table 3"])
    assert "a" == best == report.notes["table 3"]["best"]
    assert 1.0 == report.figures["table 3"]["f"]["accuracy, heavy"].value
    assert [[6.0, 0.0, 0.0], [0.0, 6.0, 0.0], [0.0, 0.0, 6.0]] == report.curves["table 3"]["confusion"]


def test_joint_loss_is_compared_group_by_group(
    recogniser: Any,
    recipe: rc.ClosedRecipe,
    miners: tables.MinerClosed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both columns over the same groups, the gain with its interval; what is kept is not trained again."""
    report, again = Report(), Report()
    own = dataclasses.replace(recipe, scheme="f", epochs=1)
    trunk = tables.Trunk(recogniser, "", tmp_path)
    tables.evaluate_joint(report, "appendix 7", trunk, miners, own, groups=2)
    monkeypatch.setattr(tables, "train_upper", None)
    tables.evaluate_joint(again, "appendix 7", trunk, miners, own, groups=2)
    assert report.as_json() == again.as_json()
    columns = report.figures["appendix 7"]
    assert ["softmax alone", "joint, lambda 0.01", "gain"] == list(columns)
    gain = columns["joint, lambda 0.01"][MICRO].value - columns["softmax alone"][MICRO].value
    assert pytest.approx(gain) == columns["gain"][MICRO].value
    assert 2 == columns["gain"][MICRO].cases
