"""Every figure on numbers small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dsr_inception import metrics


def test_threshold_lets_exactly_the_share_through() -> None:
    """Of 1,000 impostors one may reach the threshold, and one does."""
    scores = np.random.default_rng(0).permutation(1000) / 1000
    at = metrics.threshold_at(scores, 1e-3)
    assert 1 == int((scores >= at).sum())
    at = metrics.threshold_at(scores, 1e-2)
    assert 10 == int((scores >= at).sum())


def test_threshold_counts_ties_against_itself() -> None:
    """Where allowing one would let five equal scores in, none comes in."""
    scores = np.array([0.1] * 995 + [0.9] * 5)
    assert 0 == int((scores >= metrics.threshold_at(scores, 1e-3)).sum())


def test_too_few_impostors_are_refused() -> None:
    """999 scores cannot show one in a thousand."""
    with pytest.raises(ValueError, match="999 impostor scores cannot show"):
        metrics.threshold_at(np.zeros(999), 1e-3)


def test_best_threshold_by_hand() -> None:
    """Between the different pair at .4 and the same pair at .5."""
    scores = np.array([0.9, 0.1, 0.5, 0.4])
    assert 0.5 == metrics.best_threshold(scores, np.array([True, False, True, False]))


def test_best_threshold_may_accept_nobody() -> None:
    """Where nobody is the same, it lies above every score."""
    scores = np.array([0.2, 0.8])
    assert metrics.best_threshold(scores, np.array([False, False])) > 0.8


def test_fold_accuracy_uses_other_folds_thresholds() -> None:
    """Each fold is separable, but not at the other's threshold: half of it is wrong."""
    scores = np.array([0.9, 0.8, 0.5, 0.4])
    same = np.array([True, False, True, False])
    share = metrics.fold_accuracy(scores, same, 2)
    assert (0.5, 4) == (share.value, share.cases)
    assert 1.0 == metrics.fold_accuracy(np.array([0.9, 0.1, 0.9, 0.1]), same, 2).value


def test_uneven_folds_are_refused() -> None:
    """Five pairs are not two folds."""
    with pytest.raises(ValueError, match="5 pairs in 2 folds"):
        metrics.fold_accuracy(np.zeros(5), np.zeros(5, bool), 2)


def test_true_accepts_by_hand() -> None:
    """Two of three same pairs lie above the one impostor of a hundred that is let in."""
    impostors = np.arange(100) / 1000
    scores = np.concatenate([impostors, [0.5, 0.6, 0.01]])
    same = np.array([False] * 100 + [True] * 3)
    assert 2 / 3 == pytest.approx(metrics.true_accepts(scores, same, 0.01).value)


def test_wilson_is_the_published_interval() -> None:
    """81 of 263: .308 with .255 to .366 (Newcombe 1998, method 3)."""
    share = metrics.wilson(81, 263)
    assert (0.308, 0.2553, 0.3662) == tuple(round(v, d) for v, d in
                                           ((share.value, 3), (share.low, 4), (share.high, 4)))  # fmt: skip


def test_interval_by_people_is_wider_than_by_pictures() -> None:
    """Ten people of a hundred pictures each, five all right, five all wrong: ten cases, not a thousand."""
    hits = np.repeat([True] * 5 + [False] * 5, 100)
    people = np.repeat([f"p{i}" for i in range(10)], 100)
    share = metrics.by_people(hits, people)
    by_picture = metrics.wilson(500, 1000)
    assert 0.5 == share.value
    assert 5 * (by_picture.high - by_picture.low) < share.high - share.low


def test_person_score_is_the_best_photo() -> None:
    """Each person's score is their most similar photo's."""
    gallery = np.eye(3)
    probes = np.array([[0.1, 0.9, 0.3], [0.8, 0.0, 0.2]])
    found = metrics.person_scores(probes, gallery, np.array([0, 0, 1]))
    np.testing.assert_allclose([[0.9, 0.3], [0.8, 0.2]], found)


def test_all_pairs_counts_each_pair_once() -> None:
    """Three pictures of two people: one same pair, two different ones."""
    scores, same = metrics.all_pairs(np.eye(3), np.array(["a", "a", "b"]))
    assert ([True, False, False], 3) == (same.tolist(), len(scores))


def test_template_scores_compare_with_the_mean_of_a_persons_vectors() -> None:
    """Two vectors of one person on either side of a probe are, together, exactly like it."""
    probes = np.array([[1.0, 0.0]])
    gallery = np.array([[0.6, 0.8], [0.6, -0.8], [0.0, 1.0]])
    np.testing.assert_allclose([[1.0, 0.0]], metrics.template_scores(probes, gallery, np.array([0, 0, 1])))
