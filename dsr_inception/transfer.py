"""The closed set: the paper's classifier on a trained trunk, by the transfer schemes of its Table 3.

Scheme a trains nothing: a picture goes to the class whose mean feature is nearest by cosine. Schemes b to
e freeze the first one to four stages ("Conv1" and so on) and train the rest; f freezes all five and trains
the classifier alone. A frozen stage keeps its BatchNormalization statistics as well, so what it gives for
a picture never changes: it is computed once (`lower`), and what is trained (`upper`) starts from there. The
loss is the paper's joint loss, softmax + lambda * centre, with the centres moved after every batch as
published, or softmax alone (lambda 0): its Appendix 7 asks what the second term is worth.

Everything runs on any Keras backend: the loss is a ``compute_loss`` in ``keras.ops``, the centres are a
variable that no gradient reaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from dsr_inception import blocks, losses, network
from dsr_inception.errors import TrainingError

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Labels = npt.NDArray[np.integer]

#: How many stages each scheme freezes; a trains nothing at all.
SCHEMES: Final[dict[str, int]] = {"a": 5, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5}
STAGES: Final = len(network.STAGE_NAMES)


class JointModel(keras.Model):  # type: ignore[misc]
    """A classifier that is trained with the joint loss.

    Args:
        classifier: `upper`, `network.classifier` or one of ``baselines.BASELINES``: features and logits.
        weight: lambda of eq. 21; 0 is softmax alone.
        alpha: how far centres move (Wen et al. 2016).
        start: where the centres begin, (C, D); at zero without.
    """

    def __init__(
        self,
        classifier: Any,
        *,
        weight: float = losses.CENTRE_LAMBDA,
        alpha: float = losses.CENTRE_ALPHA,
        start: Floats | None = None,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.centre_weight, self.alpha = weight, alpha
        shape = (classifier.output["logits"].shape[-1], classifier.output["feature"].shape[-1])
        self.centres = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="centres")
        if start is not None:
            self.centres.assign(start)

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001 -- Keras' signature
        """Return ``{"feature", "logits"}`` of what the classifier takes."""
        return self.classifier(inputs, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: FBT001, FBT002 -- Keras' signature
    ) -> Any:
        """Return the joint loss of a batch; in training, move the centres towards it."""
        del x, sample_weight
        feature, logits = y_pred["feature"], y_pred["logits"]
        if not self.centre_weight:
            return losses.softmax_loss(logits, y)
        loss = losses.joint_loss(logits, feature, y, self.centres, self.centre_weight)
        if training:
            self.centres.assign(losses.moved_centres(feature, y, self.centres, self.alpha))
        return loss


def without_compiler(model: Any) -> Any:
    """Return `model`, told not to go through TensorFlow's XLA, which is several times slower on a CPU."""
    if keras.backend.backend() == "tensorflow":
        model.jit_compile = False
    return model


def frozen_stages(scheme: str) -> int:
    """Return how many stages `scheme` freezes.

    Raises:
        TrainingError: there is no such scheme.
    """
    if scheme not in SCHEMES:
        raise TrainingError(f"scheme must be one of {', '.join(SCHEMES)}; received {scheme!r}")
    return SCHEMES[scheme]


def _cut(recogniser: Any, frozen: int) -> Any:
    name = "gap" if frozen == STAGES else f"{network.STAGE_NAMES[frozen - 1]}_down"
    return recogniser.get_layer(name).output


def lower(recogniser: Any, frozen: int) -> Any:
    """Return the first `frozen` stages, 1 to 5, of a `network.recogniser`; after the fifth, averaged."""
    return without_compiler(keras.Model(recogniser.input, _cut(recogniser, frozen), name=f"lower_{frozen}"))


def upper(recogniser: Any, frozen: int, identities: int, *, dropout: float = 0.5) -> Any:
    """Return what stands above the first `frozen` stages, with the paper's classifier: features and logits.

    The stages are the recogniser's own weights, the classifier begins at zero.

    Raises:
        TrainingError: fewer than two identities.
    """
    if identities < 2:  # noqa: PLR2004 -- one class is no choice
        raise TrainingError(f"a closed set needs at least two people; received {identities}")
    inputs = x = keras.Input(_cut(recogniser, frozen).shape[1:], name="lower")
    for name, filters in zip(network.STAGE_NAMES[frozen:], network.STAGE_FILTERS[frozen:], strict=True):
        x = blocks.stage(x, filters, name=name)
    pool = keras.layers.Identity if frozen == STAGES else keras.layers.GlobalAveragePooling2D
    feature = pool(name="feature")(x)
    dense = keras.layers.Dense(identities, kernel_initializer="zeros", name="logits")
    logits = dense(keras.layers.Dropout(dropout, name="dropout")(feature))
    model = keras.Model(inputs, {"feature": feature, "logits": logits}, name=f"upper_{frozen}")
    for layer in model.layers:
        if layer.weights and layer.name != "logits":
            layer.set_weights(recogniser.get_layer(layer.name).get_weights())
    return without_compiler(model)


def class_means(features: Floats, labels: Labels) -> Floats:
    """Return the mean of each class' rows, (C, D), classes 0..C-1.

    Raises:
        TrainingError: a class without a row.
    """
    count = np.bincount(labels)
    empty = np.flatnonzero(count == 0)
    if len(empty):
        raise TrainingError(f"labels must be 0..C-1 without a gap; nobody has {empty[:10].tolist()}")
    sums = np.zeros((len(count), features.shape[1]), np.float64)
    np.add.at(sums, labels, features)
    return np.asarray(sums / count[:, None], np.float32)


def start_at_means(
    classifier: Any, head: tuple[Floats, Floats], features: Floats, labels: Labels, *, sharpness: float
) -> None:
    """Let the logits begin as the nearest class mean in the embedding, which is linear in the features.

    ``sharpness * cos(embedding, mean embedding of class c)``, up to the length of each picture's embedding,
    which changes no ranking. From zero the paper's SGD does not get far in the epochs that a CPU allows.

    Args:
        classifier: of `upper`.
        head: kernel (D, E) and bias (E,) of the open-set head on the same features.
        features: of the training pictures, (N, D).
        labels: theirs, (N,).
        sharpness: of the logits.
    """
    kernel, bias = head
    vectors = features @ kernel + bias
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    means = class_means(vectors / lengths, labels)
    means *= sharpness / lengths.mean() / np.linalg.norm(means, axis=1, keepdims=True)
    classifier.get_layer("logits").set_weights([kernel @ means.T, bias @ means.T])


def nearest_mean(train: Floats, labels: Labels, test: Floats) -> Floats:
    """Return scheme a's scores of each `test` row, (M, C): the cosine to each class' mean of `train`."""
    unit = train / np.maximum(np.linalg.norm(train, axis=1, keepdims=True), 1e-12)
    means = class_means(unit, labels)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(test / np.maximum(np.linalg.norm(test, axis=1, keepdims=True), 1e-12) @ means.T)
