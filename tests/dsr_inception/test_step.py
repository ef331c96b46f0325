"""The step in keras.ops against the faster one, and the optimiser by hand.

TensorFlow is the backend of the test run; ``KERAS_BACKEND=jax`` or ``torch``, where installed, run all of it
but the comparison with TensorFlow's own forward pass (docs/training.md).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from dsr_inception import network
from dsr_inception import recipe as rc
from dsr_inception.blocks import MIN_GAMMA
from dsr_inception.errors import TrainingError
from dsr_inception.optimiser import ADAM_BETAS, MuonAdam, orthogonalised
from dsr_inception.step import FIGURES, Learner

# Keras converts tensors in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMOKE = Path(rc.__file__).parent / "recipes" / "smoke.yaml"
TORCH = keras.backend.backend() == "torch"
DIM = 16


def _learner(*, plain: bool, precision: str = "float32") -> Learner:
    keras.utils.set_random_seed(5)
    prototypes = np.eye(4, DIM, dtype=np.float32)
    recipe = dataclasses.replace(rc.load_recipe(SMOKE), precision=precision)
    return Learner(network.recogniser(None, dim=DIM), prototypes, recipe, plain=plain)


def _batch() -> tuple[Any, Any, Any]:
    grid = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3), dtype=np.uint8)
    pictures = np.repeat(np.repeat(grid, 8, axis=1), 8, axis=2)
    return pictures, np.eye(4, DIM, dtype=np.float32), np.arange(4)


def _learnt(learner: Learner, step: int) -> np.ndarray:
    figures = keras.ops.convert_to_numpy(learner.learn(*_batch(), [3e-3, step, 0.5, 0.1]))
    learner.settle()
    return np.asarray(figures)


def _values(variables: list[Any]) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(v)) for v in variables]


@dataclasses.dataclass
class Learned:
    """A learner in keras.ops after twelve steps on one batch, their figures, and the averages after two."""

    learner: Learner
    figures: list[np.ndarray]
    early: list[np.ndarray]


@pytest.fixture(scope="module")
def learned() -> Learned:
    """Return the learner; tracing its step takes seconds."""
    learner = _learner(plain=True)
    found = [_learnt(learner, step) for step in (1, 2)]
    early = [value.copy() for value in _values(learner.average)]
    found += [_learnt(learner, step) for step in range(3, 13)]
    return Learned(learner, found, early)


def test_keras_step_learns_on_any_backend(learned: Learned) -> None:
    """The loss halves, every picture is right, averages follow the weights."""
    learner, found = learned.learner, learned.figures
    assert len(FIGURES) == len(found[0])
    assert found[-1][0] < found[0][0] / 2
    assert 1.0 == found[-1][2]
    far = [
        np.abs(a - w).max() for a, w in zip(_values(learner.average), _values(learner.weights), strict=True)
    ]
    assert 0 < max(far) < 1


def test_keras_step_moves_the_statistics(learned: Learned) -> None:
    """Running means leave zero, variances stay positive: the model that leaves normalises by them."""
    statistics = {v.path: v for v in learned.learner.model.non_trainable_variables}
    for path, variable in statistics.items():
        value = keras.ops.convert_to_numpy(variable)
        assert (value > 0).all() if "variance" in path else np.abs(value).max() > 0, path


@pytest.mark.skipif(TORCH, reason="torch takes Keras' own forward pass")
def test_keras_step_is_the_fast_step(learned: Learned) -> None:
    """Two steps from the same start: figures and averages agree to what float32 gives."""
    fast = _learner(plain=False)
    assert (False, True) == (learned.learner.fast, fast.fast)
    for step, wanted in zip((1, 2), learned.figures, strict=False):
        np.testing.assert_allclose(wanted, _learnt(fast, step), rtol=0.02)
    for variable, a, b in zip(fast.weights, learned.early, _values(fast.average), strict=True):
        # Variances: TensorFlow's fused one is unbiased, and at 32 pixels the last stage has four values.
        allowed = 0.2 * np.abs(a).max() + 5e-3 if "moving" in variable.path else 5e-3
        assert allowed > np.abs(a - b).max(), variable.path


def test_rounding_needs_a_forward_pass_of_ours() -> None:
    """A quantised phase on Keras' own layers says what to do."""
    with pytest.raises(TrainingError, match=r"quantised: 1.*KERAS_BACKEND=tensorflow"):
        _learner(plain=True).learn(*_batch(), [1e-3, 1, 0.5, 0.0], quantised=True)


def test_unknown_backend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO is a backend of Keras that cannot train."""
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    with pytest.raises(TrainingError, match="'openvino', which cannot train; set KERAS_BACKEND"):
        Learner(keras.Sequential(), np.eye(2, dtype=np.float32), rc.load_recipe(SMOKE))


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_orthogonalised_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    """Newton-Schulz of the Muon paper: between .6 and 1.3, directions kept."""
    matrix = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
    found = keras.ops.convert_to_numpy(orthogonalised(keras.ops.convert_to_tensor(matrix)))
    values = np.linalg.svd(found, compute_uv=False)
    assert (values > 0.6).all()
    assert (values < 1.3).all()
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    assert (np.diag(left.T @ found @ right.T) > 0.6).all()


class _Named:
    """What the optimiser asks of a variable."""

    def __init__(self, path: str, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, shape


def test_first_adam_step_is_the_rate_against_the_sign() -> None:
    """Moments corrected for their start make the first step the rate, whatever the gradient's size."""
    optimiser = MuonAdam([_Named("x/bias", (2,)), _Named("x/gamma", (2,))], weight_decay=0.5)
    value = keras.ops.convert_to_tensor(np.array([1.0, 2e-3], np.float32))
    gradient = keras.ops.convert_to_tensor(np.array([1e-2, 3.0], np.float32))
    zero = [keras.ops.zeros((2,))] * 2
    moved, first, _, norm = optimiser.moved([value] * 2, (zero, zero), [gradient] * 2, 0.1, 1.0)
    bias, gamma = (keras.ops.convert_to_numpy(v) for v in moved)
    np.testing.assert_allclose([0.9, 2e-3 - 0.1], bias, atol=1e-5)
    np.testing.assert_allclose([0.9, MIN_GAMMA], gamma, atol=1e-5, err_msg="a scale stays positive")
    np.testing.assert_allclose((1 - ADAM_BETAS[0]) * np.array([1e-2, 3.0]), first[0], rtol=1e-4)
    assert pytest.approx(np.sqrt(2 * (1e-4 + 9)), rel=1e-4) == float(norm)


def test_kernels_decay_and_go_by_muon_and_depthwise_by_adam() -> None:
    """With a zero gradient a kernel only decays; a depthwise kernel needs the second moment."""
    names = ["x/kernel", "x/depthwise_kernel"]
    optimiser = MuonAdam([_Named(name, (2, 2)) for name in names], weight_decay=0.5)
    value, zero = keras.ops.ones((2, 2)), [keras.ops.zeros((2, 2))] * 2
    still, *_ = optimiser.moved([value] * 2, (zero, zero), zero, 0.1, 1.0)
    for found in still:
        np.testing.assert_allclose(np.full((2, 2), 0.95), keras.ops.convert_to_numpy(found), atol=1e-6)
    gradient = [keras.ops.ones((2, 2))] * 2
    _, _, second, _ = optimiser.moved([value] * 2, (zero, zero), gradient, 0.1, 1.0)
    assert [0.0, True] == [float(keras.ops.max(second[0])), bool(keras.ops.max(second[1]) > 0)]
