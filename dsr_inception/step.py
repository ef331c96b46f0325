"""One training step, on the backend that Keras runs on: TensorFlow, torch or jax.

What a step is stands once, in ``keras.ops`` (`Learner.objective`, `Learner.after`); the backends differ in
how a gradient is asked for. On TensorFlow the forward pass is the faster one of `fast`, which in float32 can
also round as an INT8 engine does; elsewhere it is the Keras model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
from keras import ops

from dsr_inception import losses
from dsr_inception.errors import TrainingError
from dsr_inception.optimiser import MuonAdam

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from dsr_inception.recipe import Recipe

#: Figures that a step gives, in order.
FIGURES: Final = ("loss", "cosine", "accuracy", "norm")


class Learner:
    """A recogniser with what learning needs: optimiser, moving averages, and the step itself.

    Args:
        model: `network.recogniser`.
        prototypes: one unit vector a person, (C, D).
        recipe: of the run.
        plain: take the Keras model's own forward pass where there is a faster one too.
    """

    def __init__(
        self, model: Any, prototypes: npt.NDArray[np.float32], recipe: Recipe, *, plain: bool = False
    ) -> None:
        self.model, self._recipe = model, recipe
        self.weights = [v for v in model.variables if "seed" not in v.path]
        self.average = [
            keras.Variable(ops.convert_to_numpy(v), trainable=False, dtype="float32") for v in self.weights
        ]
        self.optimiser = MuonAdam(model.trainable_variables, weight_decay=recipe.weight_decay)
        self._prototypes = ops.convert_to_tensor(prototypes)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = recipe.bn_momentum
        backend = keras.backend.backend()
        makers: dict[str, Callable[[Learner, bool], Any]] = {
            "tensorflow": _tensorflow_step,
            "torch": _torch_step,
            "jax": _jax_step,
        }
        if backend not in makers:
            raise TrainingError(
                f"Keras runs on {backend!r}, which cannot train; set KERAS_BACKEND to {', '.join(makers)}"
            )
        self.fast = backend == "tensorflow" and not plain
        self._step = makers[backend](self, self.fast)

    def learn(
        self, pictures: Any, teacher: Any, labels: Any, clock: Sequence[float], *, quantised: bool = False
    ) -> npt.NDArray[np.float32]:
        """Take one step and return `FIGURES`.

        Args:
            pictures: (B, side, side, 3) uint8 RGB.
            teacher: unit vectors, (B, D).
            labels: (B,).
            clock: learning rate, number of the step from 1, share that averages keep, margin.
            quantised: round as an INT8 engine does.

        Raises:
            TrainingError: rounding is asked for where it cannot be done.
        """
        if quantised and not (self.fast and self._recipe.precision == "float32"):
            raise TrainingError(
                "a phase with `quantised: 1` needs TensorFlow as Keras' backend and float32; take that phase "
                "out of the recipe, or train it with KERAS_BACKEND=tensorflow"
            )
        x = (ops.cast(ops.convert_to_tensor(pictures), "float32") - 127.5) / 127.5
        rest = (ops.convert_to_tensor(teacher), ops.convert_to_tensor(labels))
        found = self._step(x, *rest, ops.convert_to_tensor(np.asarray(clock, np.float32)), quantised)
        return np.asarray(ops.convert_to_numpy(found), np.float32)

    def objective(self, embedding: Any, teacher: Any, labels: Any, margin: Any) -> tuple[Any, Any]:
        """Return the loss, and with it cosine to the teacher and accuracy among the prototypes."""
        weights, embedding = self._recipe.loss, ops.cast(embedding, "float32")
        cosine = losses.distillation_loss(embedding, teacher)
        loss = weights.cosine * cosine + losses.soft_prototype_loss(
            embedding, teacher, self._prototypes, labels,
            scale=weights.scale, margin=margin, soft=weights.soft,
        )  # fmt: skip
        nearest = ops.argmax(ops.matmul(embedding, ops.transpose(self._prototypes)), axis=-1)
        right = ops.mean(ops.cast(ops.equal(nearest, ops.cast(labels, nearest.dtype)), "float32"))
        return loss, (1 - cosine, right)

    def after(self, state: State, gradients: Sequence[Any], clock: Any) -> tuple[State, Any]:
        """Return the state after a step against `gradients`, and their norm."""
        moments = (state[2], state[3])
        trained, first, second, norm = self.optimiser.moved(state[0], moments, gradients, clock[0], clock[1])
        now = dict(zip((v.path for v in self.model.trainable_variables), trained, strict=True))
        now |= dict(zip((v.path for v in self.model.non_trainable_variables), state[1], strict=True))
        keep = clock[2]
        average = [
            keep * old + (1 - keep) * now[v.path] for old, v in zip(state[4], self.weights, strict=True)
        ]
        return (trained, list(state[1]), first, second, average), norm

    def variables(self) -> tuple[list[Any], ...]:
        """Return what a state is of: trained, untrained, both moments, averages."""
        optimiser, model = self.optimiser, self.model
        return (
            list(model.trainable_variables),
            list(model.non_trainable_variables),
            optimiser.first,
            optimiser.second,
            self.average,
        )

    def state(self) -> State:
        """Return the variables' tensors."""
        return tuple([v.value for v in part] for part in self.variables())

    def assign(self, state: State) -> None:
        """Give the variables new tensors; what no step computes (`untrained`) may be as it was."""
        for variables, values in zip(self.variables(), state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                if variable.value is not value:
                    variable.assign(value)


State = tuple[list[Any], ...]


def _tensorflow_step(learner: Learner, is_fast: bool) -> Any:  # noqa: FBT001 -- one of a table of makers
    import tensorflow as tf

    from dsr_inception import fast

    recipe = learner._recipe  # noqa: SLF001 -- this module's own class
    head = learner.model.get_layer("embedding_linear")

    def forward(x: Any, quantised: bool) -> Any:  # noqa: FBT001 -- fixed when the step is traced
        if not is_fast:
            return learner.model(x, training=True)
        features = fast.train_forward(
            learner.model, x, recipe.bn_momentum, quantised=quantised, precision=recipe.precision
        )
        return tf.math.l2_normalize(tf.matmul(features, head.kernel.value) + head.bias.value, -1)

    @tf.function  # type: ignore[untyped-decorator]
    def step(x: Any, teacher: Any, labels: Any, clock: Any, quantised: bool) -> Any:  # noqa: FBT001
        trained = [v.value for v in learner.model.trainable_variables]
        with tf.GradientTape() as tape:
            loss, figures = learner.objective(forward(x, quantised), teacher, labels, clock[3])
        state, norm = learner.after(learner.state(), tape.gradient(loss, trained), clock)
        learner.assign(state)
        return tf.stack([loss, *figures, norm])

    return step


def _torch_step(learner: Learner, _: bool) -> Any:  # noqa: FBT001 -- one of a table of makers
    import torch  # type: ignore[import-not-found]  # not in the lock

    def step(x: Any, teacher: Any, labels: Any, clock: Any, _: bool) -> Any:  # noqa: FBT001
        trained = [v.value for v in learner.model.trainable_variables]
        embedding = learner.model(x, training=True)
        loss, figures = learner.objective(embedding, teacher, labels, clock[3])
        gradients = torch.autograd.grad(loss, trained)
        with torch.no_grad():
            state, norm = learner.after(learner.state(), gradients, clock)
            learner.assign(state)
        return torch.stack([loss.detach(), *(f.detach() for f in figures), norm])

    return step


def _jax_step(learner: Learner, _: bool) -> Any:  # noqa: FBT001 -- one of a table of makers
    import jax  # type: ignore[import-not-found]  # not in the lock

    def loss_of(trained: Any, untrained: Any, x: Any, taught: tuple[Any, Any], clock: Any) -> Any:
        teacher, labels = taught
        embedding, moved = learner.model.stateless_call(trained, untrained, x, training=True)
        loss, figures = learner.objective(embedding, teacher, labels, clock[3])
        return loss, (figures, moved)

    @jax.jit  # type: ignore[untyped-decorator]
    def pure(state: Any, x: Any, teacher: Any, labels: Any, clock: Any) -> Any:
        found, gradients = jax.value_and_grad(loss_of, has_aux=True)(
            state[0], state[1], x, (teacher, labels), clock
        )
        loss, (figures, untrained) = found
        after, norm = learner.after((state[0], untrained, *state[2:]), gradients, clock)
        return after, ops.stack([loss, *figures, norm])

    def step(x: Any, teacher: Any, labels: Any, clock: Any, _: bool) -> Any:  # noqa: FBT001
        state, figures = pure(learner.state(), x, teacher, labels, clock)
        learner.assign(state)
        return figures

    return step
