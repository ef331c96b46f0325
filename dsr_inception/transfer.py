"""The closed set: the paper's classifier on a trained trunk, by the transfer schemes of its Table 3.

Scheme a trains nothing: a picture goes to the class whose mean feature is nearest by cosine. Schemes b to
e freeze the first one to four stages ("Conv1" and so on) and train the rest; f freezes all five and trains
the classifier alone. A frozen stage keeps its BatchNormalization statistics as well. The loss is the
paper's joint loss, softmax + lambda * centre, with the centres moved after every batch as published, or
softmax alone (lambda 0): its Appendix 7 asks what the second term is worth.

Everything runs on any Keras backend: the loss is a ``compute_loss`` in ``keras.ops``, the centres are a
variable that no gradient reaches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from dsr_inception import losses, network
from dsr_inception.errors import TrainingError

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Labels = npt.NDArray[np.integer]

#: How many stages each scheme freezes; None trains nothing at all.
SCHEMES: Final[dict[str, int | None]] = {"a": None, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5}


class JointModel(keras.Model):  # type: ignore[misc]
    """A classifier that is trained with the joint loss.

    Args:
        classifier: `network.classifier` or one of ``baselines.BASELINES``: features and logits.
        weight: lambda of eq. 21; 0 is softmax alone.
        alpha: how far centres move (Wen et al. 2016).
    """

    def __init__(
        self, classifier: Any, *, weight: float = losses.CENTRE_LAMBDA, alpha: float = losses.CENTRE_ALPHA
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.centre_weight, self.alpha = weight, alpha
        shape = (classifier.output["logits"].shape[-1], classifier.output["feature"].shape[-1])
        self.centres = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="centres")

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001 -- Keras' signature
        """Return ``{"feature", "logits"}`` of pictures, (B, 224, 224, 3)."""
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
        loss = losses.softmax_loss(logits, y)
        if self.centre_weight:
            loss += self.centre_weight * losses.centre_loss(feature, y, self.centres)
            if training:
                self.centres.assign(losses.moved_centres(feature, y, self.centres, self.alpha))
        return loss


def classifier_from(recogniser: Any, identities: int, *, dropout: float = 0.5) -> Any:
    """Return the paper's classifier with the trunk of a trained `network.recogniser`."""
    reduced = any(layer.name == "reduce" for layer in recogniser.layers)
    model = network.classifier(identities, dropout=dropout, reduce=2 if reduced else 1)
    for layer in model.layers:
        if layer.weights and layer.name != "logits":
            layer.set_weights(recogniser.get_layer(layer.name).get_weights())
    return model


def freeze(classifier: Any, scheme: str) -> list[str]:
    """Freeze what `scheme` says and return the frozen layers' names.

    Raises:
        TrainingError: there is no such scheme, or it trains nothing.
    """
    if scheme not in SCHEMES or SCHEMES[scheme] is None:
        raise TrainingError(f"scheme must be one of b, c, d, e, f to train; received {scheme!r}")
    stages = network.STAGE_NAMES[: SCHEMES[scheme]]
    frozen = []
    for layer in classifier.layers:
        layer.trainable = layer.name.split("_")[0] not in stages
        if not layer.trainable:
            frozen.append(layer.name)
    return frozen


@dataclass(frozen=True, slots=True)
class ClosedSet:
    """Accuracy (which is micro F1), and precision, recall and F1 as macro averages over identities."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    pictures: int
    identities: int


def closed_set_figures(predicted: Labels, labels: Labels) -> ClosedSet:
    """Return the figures of `predicted` (N,) against `labels` (N,).

    A class that was never predicted has precision 0; classes without a test picture do not count.
    """
    classes = np.unique(labels)
    hit = np.array([((predicted == c) & (labels == c)).sum() for c in classes], float)
    said = np.array([(predicted == c).sum() for c in classes], float)
    there = np.array([(labels == c).sum() for c in classes], float)
    precision, recall = hit / np.maximum(said, 1), hit / there
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return ClosedSet(
        float((predicted == labels).mean()),
        float(precision.mean()),
        float(recall.mean()),
        float(f1.mean()),
        len(labels),
        len(classes),
    )


def nearest_mean(train: Floats, labels: Labels, test: Floats) -> Labels:
    """Return scheme a's class of each `test` row (M, D): the nearest mean of `train` (N, D) by cosine."""
    classes = np.unique(labels)
    means = np.stack([train[labels == c].mean(axis=0) for c in classes])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(classes[(test @ means.T).argmax(axis=1)])
