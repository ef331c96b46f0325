"""Confidence intervals against known values and against what they must be."""

from __future__ import annotations

import pytest

from field_test.intervals import over_groups, wilson


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (0, 0, 0.0, 1.0),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (3, 600, 0.0017, 0.0146),
    ],
)
def test_wilson_gives_the_textbooks_intervals(hits: int, trials: int, low: float, high: float) -> None:
    """Wilson 1927, to four places."""
    assert (low, high) == pytest.approx(wilson(hits, trials), abs=1e-4)


def test_faces_of_one_passage_count_as_one_trial_when_they_agree() -> None:
    """Thirty passages of ten faces that are all missed or all found are no three hundred trials."""
    low, high = over_groups([(10, 10)] * 3 + [(0, 10)] * 27)
    narrow = wilson(30, 300)

    assert low < narrow[0]
    assert high > narrow[1]
    assert low < 0.1 < high


def test_the_same_groups_give_the_same_interval() -> None:
    """The bootstrap is seeded."""
    groups = [(number % 7, 7) for number in range(40)]
    assert over_groups(groups) == over_groups(groups)


def test_all_and_none_are_not_called_certain() -> None:
    """Twenty passages without a miss do not prove that there is none."""
    assert 0.0 == over_groups([(0, 20)] * 20)[0]
    assert 0.1 < over_groups([(0, 20)] * 20)[1] < 0.2
    assert (0.0, 1.0) == over_groups([])
    assert (0.0, 1.0) == over_groups([(0, 0)])
