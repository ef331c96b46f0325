from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge_app.faces.assign import FORBIDDEN, assign


def best_total(cost: np.ndarray) -> float:  # type: ignore[type-arg]
    """Try every assignment of the smaller side; the reference."""
    if cost.shape[0] > cost.shape[1]:
        cost = cost.T
    rows = range(cost.shape[0])
    return min(
        sum(cost[row, column] for row, column in zip(rows, columns, strict=True))
        for columns in itertools.permutations(range(cost.shape[1]), cost.shape[0])
    )


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 5), (5, 2), (6, 6), (4, 6)])
@pytest.mark.parametrize("seed", range(5))
def test_total_is_the_least_there_is(shape: tuple[int, int], seed: int) -> None:
    """Against trying everything, on random costs with ties."""
    cost = np.random.default_rng(seed).integers(0, 9, shape).astype(float)
    pairs = assign(cost)
    assert min(shape) == len(pairs) == len({row for row, _ in pairs}) == len({column for _, column in pairs})
    assert pytest.approx(best_total(cost)) == sum(cost[pair] for pair in pairs)


def test_best_pair_may_have_to_wait() -> None:
    """The greedy choice (0, 0) would cost 1 + 9; together 2 + 2 is less."""
    assert [(0, 1), (1, 0)] == assign(np.array([[1.0, 2.0], [2.0, 9.0]]))


def test_forbidden_pairs_are_not_made() -> None:
    """A pair that must not be made is left out, and does not spoil the others."""
    cost = np.array([[0.5, FORBIDDEN], [FORBIDDEN, FORBIDDEN]])
    assert [(0, 0)] == assign(cost)
    assert [(0, 1), (1, 0)] == assign(np.array([[0.1, 0.9], [0.2, FORBIDDEN]]))  # as many pairs as possible


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_assign(shape: tuple[int, int]) -> None:
    """An empty frame, or no tracks yet."""
    assert [] == assign(np.zeros(shape))
