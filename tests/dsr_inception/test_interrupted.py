"""An interrupted classifier goes on to the same figures and weights, and is not taken up by another."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from dsr_inception import finetune, network
from dsr_inception import recipe as rc
from dsr_inception.errors import TrainingError
from dsr_inception.interrupted import STATE, Interrupted

# Keras converts tensors in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

QUICK = Path(rc.__file__).parent / "recipes" / "closed" / "quick.yaml"
KEY = {"recipe": 1}


@pytest.fixture(scope="module")
def recogniser() -> Any:
    """Return an untrained recogniser."""
    keras.utils.set_random_seed(3)
    return network.recogniser(224, reduce=2)


def _trained(recogniser: Any, interrupted: Interrupted | None, *, stop_after: int = 9) -> finetune.Trained:
    """Train five classes in five epochs, or be killed after `stop_after`."""
    recipe = dataclasses.replace(rc.load_closed_recipe(QUICK), epochs=5, batch=8)
    values = np.random.default_rng(0).normal(0, 1, (2, 30, 1024)).astype(np.float16)

    def each(row: finetune.Epoch) -> None:
        if row.epoch == stop_after:
            raise KeyboardInterrupt

    return finetune.train_upper(
        recogniser, values, np.arange(30) % 5, recipe, each=each, interrupted=interrupted
    )


def test_interrupted_training_goes_on_to_the_same_end(recogniser: Any, tmp_path: Path) -> None:
    """Killed twice: losses and weights are those of a training that nobody killed; leftovers go."""
    wanted = _trained(recogniser, None)
    for stop in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            _trained(recogniser, Interrupted(tmp_path / "run", KEY), stop_after=stop)
        (tmp_path / "run" / "state.4711.npz").write_bytes(b"cut sh")
    state = Interrupted(tmp_path / "run", KEY)
    found = _trained(recogniser, state)
    assert [1, 2, 3, 4, 5] == [row.epoch for row in found.log]
    np.testing.assert_allclose([row.loss for row in wanted.log], [row.loss for row in found.log], rtol=1e-5)
    for one, two in zip(wanted.model.get_weights(), found.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    assert [STATE] == [path.name for path in (tmp_path / "run").iterdir()]
    state.done()
    assert [] == list((tmp_path / "run").iterdir())


def test_state_of_another_training_or_a_damaged_one_is_refused(recogniser: Any, tmp_path: Path) -> None:
    """What to do is said; nothing is written over."""
    with pytest.raises(KeyboardInterrupt):
        _trained(recogniser, Interrupted(tmp_path, KEY), stop_after=1)
    kept = (tmp_path / STATE).read_bytes()
    with pytest.raises(TrainingError, match=r"state.npz is of a training with another recipe.*or remove it"):
        _trained(recogniser, Interrupted(tmp_path, {"recipe": 2}))
    assert kept == (tmp_path / STATE).read_bytes()
    for damaged in (b"", kept[:1000]):
        (tmp_path / STATE).write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"state.npz cannot be gone on from: .*Remove it"):
            _trained(recogniser, Interrupted(tmp_path, KEY))
