"""DSR-Inception: five DS-Inception stages, global average pooling, and one of two heads.

The trunk takes 224x224x3 (RGB in -1..1, see ``edge_app.faces.preprocess``) through five stages of
K = 16, 32, 64, 128, 256 filters a branch to 7x7x1024 and averages it. On it sit

- the **closed-set** head of the paper: dropout and a classifier whose logits are trained with softmax
  cross-entropy; the sigmoid the paper names is the reported per-class score and changes no ranking;
- the **open-set** head a mine needs: a linear 128-d embedding of unit length, compared by cosine.

The trunk is fully convolutional before the pooling, so the same weights can be trained at smaller
sides and finished at 224. The weights do not carry over between sides by themselves (measured: trained
at 96, used at 112, the true-accept rate at 1e-2 fell from .73 to .56), so a model is used at the side it
was last trained at; `reduce` puts that side behind a 224 input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import keras

from dsr_inception import blocks
from dsr_inception.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

STAGE_FILTERS: Final = (16, 32, 64, 128, 256)
INPUT_SIDE: Final = 224
EMBEDDING_DIM: Final = 128
STAGE_NAMES: Final = tuple(f"s{i}" for i in range(1, len(STAGE_FILTERS) + 1))


@keras.saving.register_keras_serializable(package="dsr_inception")
class UnitLength(keras.layers.Layer):  # type: ignore[misc]
    """Divide each row by its Euclidean length: (B, D) -> (B, D) on the unit sphere."""

    def call(self, x: Any) -> Any:
        """Return `x` scaled to unit length along the last axis."""
        squared = keras.ops.sum(keras.ops.square(x), axis=-1, keepdims=True)
        return x * keras.ops.rsqrt(keras.ops.maximum(squared, 1e-12))


def trunk(side: int | None = INPUT_SIDE, *, reduce: int = 1) -> keras.Model:
    """Return the five stages and the average pooling: (B, side, side, 3) float32 -> (B, 1024).

    With `side` None the model takes any side of at least 32. With `reduce` 2 the picture is averaged over
    2x2 pixels first and the stages see half the side: a quarter of the work, for weights that were trained
    at half the side because the compute did not reach further.
    """
    inputs = keras.Input((side, side, 3), name="face")
    x = inputs
    if reduce > 1:
        x = keras.layers.AveragePooling2D(reduce, name="reduce")(x)
    for name, filters in zip(STAGE_NAMES, STAGE_FILTERS, strict=True):
        x = blocks.stage(x, filters, name=name)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="gap")(x), name="dsr_trunk")


def recogniser(
    side: int | None = INPUT_SIDE, *, dim: int = EMBEDDING_DIM, dropout: float = 0.0, reduce: int = 1
) -> keras.Model:
    """Return trunk and open-set head: (B, side, side, 3) float32 -> (B, `dim`) of unit length.

    `reduce` is `trunk`'s.
    """
    body = trunk(side, reduce=reduce)
    x = body.output
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.Dense(dim, name="embedding_linear")(x)
    return keras.Model(body.input, UnitLength(name="embedding")(x), name="dsr_recogniser")


def load_recogniser(path: Path) -> keras.Model:
    """Return the `recogniser` that a .keras file holds.

    Raises:
        TrainingError: there is none in it.
    """
    try:
        model = keras.saving.load_model(path)
        model.get_layer("embedding_linear")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, BadZipFile) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrainingError(f"{path} is no recogniser, .keras, as `pretrain` writes one: {said}") from error
    return model


def classifier(
    identities: int, side: int | None = INPUT_SIDE, *, dropout: float = 0.5, reduce: int = 1
) -> keras.Model:
    """Return the paper's closed-set network with two outputs, ``{"feature": (B, 1024), "logits": (B, C)}``.

    The features are what the centre loss pulls together; `sigmoid` of the logits is the paper's score.

    Raises:
        ValueError: fewer than two identities.
    """
    if identities < 2:  # noqa: PLR2004 -- one class is no choice
        msg = f"a classifier needs at least two identities; received {identities}"
        raise ValueError(msg)
    body = trunk(side, reduce=reduce)
    x = keras.layers.Dropout(dropout, name="dropout")(body.output)
    logits = keras.layers.Dense(identities, name="logits")(x)
    return keras.Model(body.input, {"feature": body.output, "logits": logits}, name="dsr_classifier")
