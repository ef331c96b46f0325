"""Each loss against numbers worked out by hand and against numerical gradients, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from dsr_inception import losses

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = np.random.default_rng(11)
LABELS = np.array([0, 2, 1, 2])
LOGITS = RNG.normal(0, 1, (4, 3))
FEATURES = RNG.normal(0, 1, (4, 5))
CENTRES = RNG.normal(0, 1, (3, 5))
UNIT = FEATURES / np.linalg.norm(FEATURES, axis=1, keepdims=True)
PROTOTYPES = CENTRES / np.linalg.norm(CENTRES, axis=1, keepdims=True)
TEACHER = UNIT[::-1].copy()

LOSSES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "softmax": (lambda x: losses.softmax_loss(x, LABELS), LOGITS),
    "centre": (lambda x: losses.centre_loss(x, LABELS, tf.constant(CENTRES)), FEATURES),
    "joint": (lambda x: losses.joint_loss(x[:, :3], x, LABELS, tf.constant(CENTRES), 0.3), FEATURES),
    "margin": (lambda x: losses.margin_loss(x, tf.constant(PROTOTYPES), LABELS, margin=0.2), UNIT),
    "distillation": (lambda x: losses.distillation_loss(x, tf.constant(TEACHER)), UNIT),
    "soft prototypes": (
        lambda x: losses.soft_prototype_loss(x, tf.constant(TEACHER), tf.constant(PROTOTYPES), LABELS),
        UNIT,
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_the_numerical_one(name: str) -> None:
    """Central differences of every input element agree with the gradient to 1e-6."""
    loss, start = LOSSES[name]
    x = tf.Variable(start, dtype=tf.float64)
    with tf.GradientTape() as tape:
        value = loss(x)
    gradient = tape.gradient(value, x).numpy()
    numerical = np.zeros_like(start)
    for at in np.ndindex(start.shape):
        step = np.zeros_like(start)
        step[at] = 1e-5
        higher, lower = (float(loss(tf.constant(start + s * step))) for s in (1, -1))
        numerical[at] = (higher - lower) / 2e-5
    np.testing.assert_allclose(numerical, gradient, atol=1e-6)
    assert 0 < np.abs(gradient).max()


def test_softmax_loss_by_hand() -> None:
    """Equal logits of three classes cost log 3."""
    assert np.log(3) == pytest.approx(float(losses.softmax_loss(np.zeros((4, 3)), LABELS)))


def test_joint_loss_is_the_sum() -> None:
    """Eq. 21 with the paper's lambda."""
    joint = losses.joint_loss(LOGITS, FEATURES, LABELS, tf.constant(CENTRES))
    apart = losses.softmax_loss(LOGITS, LABELS) + 0.01 * losses.centre_loss(
        FEATURES, LABELS, tf.constant(CENTRES)
    )
    assert float(apart) == pytest.approx(float(joint))


def test_centres_move_as_published() -> None:
    """Two features of class 2 pull its centre by alpha * sum(c - x) / 3; class without pictures stays."""
    labels = np.array([2, 2])
    features = np.array([[1.0, 0.0], [3.0, 2.0]])
    centres = np.array([[5.0, 5.0], [7.0, 7.0], [0.0, 0.0]])
    moved = np.asarray(
        losses.moved_centres(tf.constant(features), tf.constant(labels), tf.constant(centres), 0.5)
    )
    np.testing.assert_allclose([[5, 5], [7, 7], [0.5 * 4 / 3, 0.5 * 2 / 3]], moved)


def test_margin_lowers_only_the_own_class() -> None:
    """CosFace: the own logit falls by scale times margin, the others stay."""
    plain, lowered = (
        np.asarray(
            losses.cosine_logits(tf.constant(UNIT), tf.constant(PROTOTYPES), LABELS, scale=10.0, margin=m)
        )
        for m in (0.0, 0.3)
    )
    difference = plain - lowered
    np.testing.assert_allclose(3.0 * np.eye(3)[LABELS], difference, atol=1e-9)


def test_teacher_and_prototypes_get_no_gradient() -> None:
    """Distillation must not move what it is taught by."""
    teacher, prototypes = tf.Variable(TEACHER), tf.Variable(PROTOTYPES)
    with tf.GradientTape() as tape:
        loss = losses.soft_prototype_loss(tf.constant(UNIT), teacher, prototypes, LABELS)
    assert [None, None] == tape.gradient(loss, [teacher, prototypes])
