"""How alike somebody's own photos are, and who among a cohort of strangers is as alike to somebody.

A photo is compared with the mean of the person's other photos: the nearest that a register alone comes to
what a passage gives. A threshold above it is of no use; and somebody in a cohort who is as alike is likely to
be registered: a mine's own cameras see those who are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_app.identity.snapshot import GallerySnapshot

#: How alike one person's photos are taken to be where nobody has more than one.
SAME: Final = 0.85
#: The part of a cohort that its tail is fitted to.
TAIL: Final = 0.1
#: A stranger is beyond the tail where so few of the whole cohort would be expected.
_CHANCE: Final = 0.05
_NO_DIRECTION: Final = 1e-6


def own_likeness(snapshot: GallerySnapshot) -> npt.NDArray[np.float64]:
    """Return the median likeness of each person's photos to the person's others, (P,); NaN of one photo."""
    vectors, owners = snapshot.vectors.astype(np.float64), snapshot.owners
    people = len(snapshot.refs)
    sums = np.zeros((people, vectors.shape[1]))
    np.add.at(sums, owners, vectors)
    others = sums[owners] - vectors
    norms = np.linalg.norm(others, axis=1)
    alike = np.divide(
        (others * vectors).sum(axis=1), norms, out=np.full(len(vectors), np.nan), where=norms > _NO_DIRECTION
    )
    rows = np.split(alike, np.searchsorted(owners, np.arange(1, people)))
    return np.array([np.median(row) if len(row) > 1 else np.nan for row in rows])


def filled(likeness: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return `likeness` with the usual one for people of a single photo."""
    known = likeness[~np.isnan(likeness)]
    return np.where(np.isnan(likeness), np.median(known) if len(known) else SAME, likeness)


def members(scores: npt.NDArray[np.floating], likeness: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which rows of a cohort are registered people rather than strangers, (M,).

    They are as alike to a person as that person's photos are, and as people's usually are; and more so than
    the other strangers' tail gives: in a large register a stranger may be as alike to one of many.

    Args:
        scores: (M, P) similarity of each of the cohort to each registered person.
        likeness: (P,) from `own_likeness`.
    """
    own = filled(likeness)
    suspect = (scores >= np.maximum(own, np.median(own))).any(axis=1)
    best = scores.max(axis=1)
    others = best[~suspect]
    if not len(others):
        return np.asarray(suspect)
    start, scale = tail_of(others)
    limit = start + scale * float(np.log(max(1.0, TAIL * len(best) / _CHANCE)))
    return np.asarray(suspect & (best > limit))


def tail_of(best: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Return where the upper tail of `best` begins, and its mean excess over that."""
    start = float(np.quantile(best, 1.0 - TAIL))
    above = best[best > start] - start
    return start, float(above.mean()) if len(above) else 0.0
