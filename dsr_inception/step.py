"""One training step, on the backend that Keras runs on: TensorFlow, torch or jax.

What a step is stands once, in ``keras.ops`` (`Learner.objective`, `Learner.after`); the backends differ in
how a gradient is asked for, and TensorFlow and jax in what of the forward pass they do their own way
(`forward`), which can also round as an INT8 engine does. On torch it is the Keras model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
from keras import ops

from dsr_inception import losses
from dsr_inception.errors import TrainingError
from dsr_inception.forward import train_forward
from dsr_inception.optimiser import MuonAdam

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dsr_inception.forward import Primitives
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
        makers: dict[str, Callable[[Learner], Step]] = {
            "tensorflow": _tensorflow_step,
            "torch": _torch_step,
            "jax": _jax_step,
        }
        if backend not in makers:
            raise TrainingError(
                f"Keras runs on {backend!r}, which cannot train; set KERAS_BACKEND to {', '.join(makers)}"
            )
        self.fast = backend in ("tensorflow", "jax") and not plain
        self.held: State | None = None
        self._step = makers[backend](self)

    def learn(
        self, pictures: Any, teacher: Any, labels: Any, clock: Sequence[float], *, quantised: bool = False
    ) -> Any:
        """Take one step and return `FIGURES`, a tensor of the backend: on a GPU it may still be computing.

        Args:
            pictures: (B, side, side, 3) uint8 RGB.
            teacher: unit vectors, (B, D).
            labels: (B,).
            clock: learning rate, number of the step from 1, share that averages keep, margin.
            quantised: round as an INT8 engine does.

        Raises:
            TrainingError: rounding is asked for where it cannot be done.
        """
        if quantised and not self.fast:
            raise TrainingError(
                "a phase with `quantised: 1` needs TensorFlow or jax as Keras' backend; take that phase out "
                "of the recipe, or train it with KERAS_BACKEND=tensorflow"
            )
        tensors = [ops.convert_to_tensor(one) for one in (pictures, teacher, labels)]
        taught = (*tensors[1:], self._prototypes)
        return self._step(tensors[0], taught, ops.convert_to_tensor(np.asarray(clock, np.float32)), quantised)

    def settle(self) -> None:
        """Write into the variables what a backend keeps beside them between steps."""
        if self.held is not None:
            self.assign(self.held)
            self.held = None

    def embedded(self, x: Any, *, quantised: bool) -> Any:
        """Return the embeddings (B, D) of pictures (B, side, side, 3) uint8 in training mode."""
        x = (ops.cast(x, "float32") - 127.5) / 127.5
        if not self.fast:
            return self.model(x, training=True)
        recipe, head = self._recipe, self.model.get_layer("embedding_linear")
        features = train_forward(
            self.model, x, recipe.bn_momentum, _primitives(), quantised=quantised, precision=recipe.precision
        )
        return ops.normalize(ops.matmul(features, head.kernel.value) + head.bias.value, axis=-1)

    def objective(self, embedding: Any, taught: Taught, margin: Any) -> tuple[Any, Any]:
        """Return the loss, and with it cosine to the teacher and accuracy among the prototypes."""
        teacher, labels, prototypes = taught
        weights, embedding = self._recipe.loss, ops.cast(embedding, "float32")
        cosine = losses.distillation_loss(embedding, teacher)
        loss = weights.cosine * cosine + losses.soft_prototype_loss(
            embedding, teacher, prototypes, labels,
            scale=weights.scale, margin=margin, soft=weights.soft,
        )  # fmt: skip
        nearest = ops.argmax(ops.matmul(embedding, ops.transpose(prototypes)), axis=-1)
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
#: Teacher's vectors (B, D), labels (B,), prototypes (C, D).
Taught = tuple[Any, Any, Any]
#: Pictures, what is taught, clock, whether to round -> `FIGURES`.
Step = Callable[[Any, Taught, Any, bool], Any]


def _primitives() -> Primitives:
    if keras.backend.backend() == "jax":
        from dsr_inception.forward_jax import JaxPrimitives

        return JaxPrimitives()
    from dsr_inception.forward_tensorflow import TensorFlowPrimitives

    return TensorFlowPrimitives()


def _tensorflow_step(learner: Learner) -> Step:
    import tensorflow as tf

    def step(x: Any, taught: Taught, clock: Any, quantised: bool) -> Any:  # noqa: FBT001 -- static
        trained = [v.value for v in learner.model.trainable_variables]
        with tf.GradientTape() as tape:
            embedding = learner.embedded(x, quantised=quantised)
            loss, figures = learner.objective(embedding, taught, clock[3])
        state, norm = learner.after(learner.state(), tape.gradient(loss, trained), clock)
        learner.assign(state)
        return tf.stack([loss, *figures, norm])

    compiled: Step = tf.function(step)
    return compiled


def _torch_step(learner: Learner) -> Step:
    import torch  # type: ignore[import-not-found]  # not in the lock

    def step(x: Any, taught: Taught, clock: Any, quantised: bool) -> Any:  # noqa: FBT001 -- static
        trained = [v.value for v in learner.model.trainable_variables]
        embedding = learner.embedded(x, quantised=quantised)
        loss, figures = learner.objective(embedding, taught, clock[3])
        gradients = torch.autograd.grad(loss, trained)
        with torch.no_grad():
            state, norm = learner.after(learner.state(), gradients, clock)
            learner.assign(state)
        return torch.stack([loss.detach(), *(f.detach() for f in figures), norm])

    return step


def _jax_step(learner: Learner) -> Step:
    """The state stays on the device from step to step, each in the place of the one before it."""
    import jax  # type: ignore[import-not-found]  # not in the lock

    model = learner.model

    @functools.partial(jax.jit, static_argnums=4, donate_argnums=0)
    def pure(state: State, x: Any, taught: Taught, clock: Any, quantised: bool) -> Any:  # noqa: FBT001 -- static
        def loss_of(trained: list[Any]) -> Any:
            variables = (*model.trainable_variables, *model.non_trainable_variables)
            given = list(zip(variables, (*trained, *state[1]), strict=True))
            with keras.StatelessScope(given) as scope:
                embedding = learner.embedded(x, quantised=quantised)
            loss, figures = learner.objective(embedding, taught, clock[3])
            return loss, (figures, [scope.get_current_value(v) for v in model.non_trainable_variables])

        (loss, (figures, untrained)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state[0])
        after, norm = learner.after((state[0], untrained, *state[2:]), gradients, clock)
        return after, ops.stack([loss, *figures, norm])

    def step(x: Any, taught: Taught, clock: Any, quantised: bool) -> Any:  # noqa: FBT001 -- as above
        if learner.held is None:
            learner.held = jax.tree.map(jax.numpy.array, learner.state())  # a copy: the step takes it
        learner.held, figures = pure(learner.held, x, taught, clock, quantised)
        return figures

    return step
