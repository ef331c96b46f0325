"""Who in the register looks like somebody else in it: as similar as a name needs.

They are warned about at registration, and need more lead over the second best than others do. That must not
wait for a calibration, so it is worked out whenever the register is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

#: Rows at a time: 10,000 people take 20 MB instead of 400.
_ROWS: Final = 512
Pair = tuple[str, str, float]


def look_alikes(
    refs: Sequence[str], templates: npt.NDArray[np.float32], bars: npt.NDArray[np.floating]
) -> tuple[Pair, ...]:
    """Return the pairs of people who look alike, with their similarity, the most similar first.

    Args:
        refs: the P people.
        templates: (P, D) of unit length.
        bars: (P,) the similarity from which each of them may be named; the lower one of a pair counts.
    """
    found: list[Pair] = []
    for start in range(0, len(refs), _ROWS):
        scores = templates[start : start + _ROWS] @ templates[start:].T
        low = np.minimum(bars[start : start + _ROWS, None], bars[None, start:])
        for row, column in np.argwhere(scores >= low):
            if column > row:
                pair = refs[start + row], refs[start + column]
                found.append((*pair, round(float(scores[row, column]), 4)))
    return tuple(sorted(found, key=lambda pair: -pair[2]))
