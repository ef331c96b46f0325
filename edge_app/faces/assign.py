"""The assignment problem: which pairs cost the least together.

Shortest augmenting paths with potentials (Jonker and Volgenant 1987), in the short form of
Kuhn's Hungarian method, O(n^2 m). A frame has a handful of faces, so a hundred lines of our own
replace a numerical library of 40 MB on the box; the tests compare it with trying everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

#: The cost of a pair that must not be made; far above any real cost, far below losing float precision.
FORBIDDEN: Final = 1e6


def assign(cost: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return the (row, column) pairs of least total cost, by row; forbidden pairs are left out.

    As many pairs as possible are made, and among those ways the cheapest is taken.

    Args:
        cost: (rows, columns), finite; `FORBIDDEN` or more marks a pair that must not be made.
    """
    rows, columns = cost.shape
    if rows == 0 or columns == 0:
        return []
    pairs = [(row, column) for column, row in _solve(cost.T)] if rows > columns else _solve(cost)
    return sorted((row, column) for row, column in pairs if cost[row, column] < FORBIDDEN)


def _solve(cost: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Give every row a column; there are at least as many columns as rows."""
    rows, columns = cost.shape
    u, v = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.zeros(columns + 1, dtype=np.intp)  # the row (from 1) that has this column; 0: nobody
    for row in range(1, rows + 1):
        owner[0] = row
        _augment(cost, u, v, owner)
    return [(int(owner[column]) - 1, column - 1) for column in range(1, columns + 1) if owner[column]]


def _augment(
    cost: npt.NDArray[np.float64],
    u: npt.NDArray[np.float64],
    v: npt.NDArray[np.float64],
    owner: npt.NDArray[np.intp],
) -> None:
    """Find the cheapest way to give row `owner[0]` a column, moving others aside; updates u, v and owner."""
    columns = cost.shape[1]
    least = np.full(columns + 1, np.inf)
    way = np.zeros(columns + 1, dtype=np.intp)
    used = np.zeros(columns + 1, dtype=bool)
    column = 0
    while owner[column]:
        used[column] = True
        row = owner[column]
        reduced = cost[row - 1] - u[row] - v[1:]
        better = ~used[1:] & (reduced < least[1:])
        least[1:][better] = reduced[better]
        way[1:][better] = column
        following = int(np.argmin(np.where(used[1:], np.inf, least[1:]))) + 1
        step = least[following]
        u[owner[used]] += step
        v[used] -= step
        least[~used] -= step
        column = following
    while column:
        owner[column] = owner[way[column]]
        column = int(way[column])
