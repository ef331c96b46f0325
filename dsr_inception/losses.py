"""What the network is trained with: the paper's joint loss, a margin loss, and distillation.

- Eq. 19, softmax loss: cross-entropy of the logits, mean over the batch.
- Eq. 20, centre loss: ``1/2 * mean ||x_i - c_{y_i}||^2``. Centres are not trained by the gradient; after
  each batch they move as published (Wen et al. 2016, eq. 4): class j by ``alpha`` times
  ``sum_{y_i = j}(c_j - x_i) / (1 + n_j)``.
- Eq. 21, joint loss: softmax + lambda * centre, lambda = 0.01.
- Margin loss: CosFace (Wang et al. 2018), ``s * (cos - m)`` for the own class.
- Distillation: one minus the cosine to a teacher's embedding of the clean picture, while the student
  sees the degraded one.

Everything is written in ``keras.ops`` and runs on any Keras backend. The published centre loss sums
over the batch; here the mean is taken, so that lambda does not depend on the batch size.
"""

from __future__ import annotations

from typing import Any, Final

import keras
from keras import ops

CENTRE_LAMBDA: Final = 0.01
CENTRE_ALPHA: Final = 0.5


def softmax_loss(logits: Any, labels: Any) -> Any:
    """Return eq. 19 as a scalar: `logits` (B, C) float, `labels` (B,) int."""
    return ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def centre_loss(features: Any, labels: Any, centres: Any) -> Any:
    """Return eq. 20 as a scalar: `features` (B, D), `labels` (B,), `centres` (C, D), centres fixed."""
    own = ops.stop_gradient(ops.take(centres, labels, axis=0))
    return 0.5 * ops.mean(ops.sum(ops.square(features - own), axis=-1))


def moved_centres(features: Any, labels: Any, centres: Any, alpha: float = CENTRE_ALPHA) -> Any:
    """Return the centres after one batch, (C, D); a class without a picture in it stays where it was."""
    classes = centres.shape[0]
    features = ops.stop_gradient(features)
    count = ops.segment_sum(ops.ones_like(features[:, 0]), labels, num_segments=classes)
    total = ops.segment_sum(features, labels, num_segments=classes)
    delta = (count[:, None] * centres - total) / (1.0 + count[:, None])
    return centres - alpha * delta


def joint_loss(logits: Any, features: Any, labels: Any, centres: Any, weight: float = CENTRE_LAMBDA) -> Any:
    """Return eq. 21, softmax loss + `weight` * centre loss, as a scalar."""
    return softmax_loss(logits, labels) + weight * centre_loss(features, labels, centres)


def cosine_logits(embeddings: Any, prototypes: Any, labels: Any, *, scale: float, margin: float) -> Any:
    """Return CosFace logits (B, C): `scale` times the cosine, the own class lowered by `margin`.

    `embeddings` (B, D) and `prototypes` (C, D) are of unit length.
    """
    cosine = ops.matmul(embeddings, ops.transpose(prototypes))
    own = ops.one_hot(labels, prototypes.shape[0], dtype=cosine.dtype)
    return scale * (cosine - margin * own)


def margin_loss(
    embeddings: Any, prototypes: Any, labels: Any, *, scale: float = 16.0, margin: float = 0.1
) -> Any:
    """Return the cross-entropy of `cosine_logits` as a scalar."""
    return softmax_loss(cosine_logits(embeddings, prototypes, labels, scale=scale, margin=margin), labels)


def distillation_loss(embeddings: Any, teacher: Any) -> Any:
    """Return ``1 - mean cos(student, teacher)``; both (B, D) of unit length."""
    return 1.0 - ops.mean(ops.sum(embeddings * ops.stop_gradient(teacher), axis=-1))


def soft_prototype_loss(
    embeddings: Any,
    teacher: Any,
    prototypes: Any,
    labels: Any,
    *,
    scale: float = 16.0,
    margin: float = 0.1,
    soft: float = 0.5,
    sharpen: float = 1.5,
) -> Any:
    """Return the cross-entropy against a mix of the label and the teacher's view of all identities.

    The target is ``(1 - soft) * onehot + soft * softmax(sharpen * scale * teacher . prototypes)``: the
    relation to every other person is taught together with the identity. All rows of unit length.
    """
    prototypes = ops.stop_gradient(prototypes)
    view = ops.softmax(sharpen * scale * ops.matmul(ops.stop_gradient(teacher), ops.transpose(prototypes)))
    own = ops.one_hot(labels, prototypes.shape[0], dtype=view.dtype)
    target = (1 - soft) * own + soft * view
    logits = cosine_logits(embeddings, prototypes, labels, scale=scale, margin=margin)
    return ops.mean(keras.losses.categorical_crossentropy(target, logits, from_logits=True))
