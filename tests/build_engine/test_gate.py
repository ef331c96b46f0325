from __future__ import annotations

import numpy as np
import pytest

from build_engine.gate import Line, cosine_lines, cosines, loss_line, spread, table


def test_cosine_by_hand() -> None:
    """Length does not matter; a zero vector has a cosine of 0 and fails."""
    a = np.array([[1, 0], [3, 4], [1, 0]], np.float32)
    b = np.array([[0.5, 0], [4, 3], [0, 0]], np.float32)
    assert [1.0, 0.96, 0.0] == pytest.approx(cosines(a, b).tolist())


def test_shapes_that_differ_are_refused() -> None:
    """Nothing compared must not look like nothing lost."""
    for a, b in (((2, 3), (2, 4)), ((0, 3), (0, 3)), ((3,), (3,))):
        with pytest.raises(ValueError, match="two equal"):
            cosines(np.zeros(a, np.float32), np.zeros(b, np.float32))


@pytest.mark.parametrize(
    ("mean", "least", "passed"),
    [(0.9985, 0.991, [True, True]), (0.9975, 0.995, [False, True]), (0.999, 0.98, [True, False])],
)
def test_both_the_mean_and_the_worst_face_count(mean: float, least: float, passed: list[bool]) -> None:
    """A mean of .998 and a minimum of .99."""
    angles = np.arccos([least, *[(mean * 20 - least) / 19] * 19])
    reference = np.tile(np.array([[1.0, 0.0]], np.float32), (20, 1))
    candidate = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert passed == [line.passed for line in cosine_lines(reference, candidate, of="faces")]


@pytest.mark.parametrize(
    ("before", "after", "passed"), [(0.9, 0.8981, True), (0.9, 0.897, False), (0.9, 0.95, True)]
)
def test_losses_are_in_points_and_gains_pass(before: float, after: float, *, passed: bool) -> None:
    """0.2 points is from 90.0 to 89.8 percent."""
    line = loss_line("LFW accuracy", before, after, 0.2)
    assert passed is line.passed
    assert 100 * (before - after) == pytest.approx(line.value)


def test_what_is_not_a_number_fails() -> None:
    """On both sides."""
    for floor in (True, False):
        assert not Line("x", float("nan"), 0.5, floor=floor).passed


def test_table_says_what_failed() -> None:
    """One row a line, with its limit and its word."""
    lines = [Line("a", 0.5, 0.9, floor=True), Line("b", 0.1, 0.2, floor=False, detail="why")]
    rows = table(lines).splitlines()[2:]
    assert ["| a | 0.5000 | >= 0.9 | FAIL |  |", "| b | 0.1000 | <= 0.2 | pass | why |"] == rows


def test_spread_tells_the_worst_from_the_usual() -> None:
    """Ninety-nine equal vectors and one that is off."""
    reference = np.tile(np.array([[1.0, 0.0]], np.float32), (100, 1))
    candidate = reference.copy()
    candidate[7] = [0.6, 0.8]
    found = spread(reference, candidate)
    assert (0.996, 0.6) == pytest.approx((found["mean"], found["least"]))
    assert 0.6 < found["hundredth"] < 1.0
