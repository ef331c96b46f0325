"""Does a photo fit the person it is registered for, and nobody else?

All by similarity of embeddings: to the other photos of the person (registered, or of the same
command), and to everybody else in the register. What is decided, in this order:

1. almost the same vector as a known photo: a copy, refused;
2. as similar to another person as the box needs to name them: a look-alike, refused unless allowed
   (they would be mixed up every day; better to know it at the desk);
3. less similar to the person's own photos than to somebody else: an outlier, refused unless allowed;
4. unlike all of the person's other photos, while those are like each other: an outlier, too;
5. less similar to the person's own photos than the threshold: a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.errors import PhotoError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from edge_app.identity.snapshot import GallerySnapshot

#: Two photos of one moment are this alike only if one is a copy of the other.
COPY: Final = 0.999
#: "Unlike" the person's own photos: less than this share of the threshold.
UNLIKE_SHARE: Final = 0.5
_ENOUGH_TO_AGREE: Final = 2
_Near = tuple[str, float] | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What the checks say about one photo; similarities are cosines, None where there is nobody."""

    refused: PhotoError | None
    nearest_ref: str | None
    nearest_score: float | None
    own_score: float | None
    warnings: tuple[str, ...]


class Neighbours:
    """Similarities of the photos of one command to everything that is known.

    Args:
        ref: whose photos they are.
        snapshot: the register.
        batch: (D,) float32 vectors of the command's photos.
    """

    def __init__(
        self, *, ref: str, snapshot: GallerySnapshot, batch: Sequence[npt.NDArray[np.float32]]
    ) -> None:
        self._snapshot = snapshot
        refs = np.array([snapshot.refs[owner] for owner in snapshot.owners], dtype=object)
        self._own = snapshot.vectors[refs == ref] if len(refs) else None
        self._others = snapshot.vectors[refs != ref] if len(refs) else None
        self._other_refs = [str(other) for other in refs[refs != ref]] if len(refs) else []
        self._batch = np.stack(batch) if batch else np.zeros((0, 0), np.float32)
        self._refused: set[int] = set()

    def refuse(self, index: int) -> None:
        """Leave photo `index` out of the person's photos from now on."""
        self._refused.add(index)

    def nearest_other(self, index: int) -> tuple[str, float] | None:
        """Return the nearest other person and the similarity to them."""
        if self._others is None or len(self._others) == 0:
            return None
        scores = self._others @ self._batch[index]
        best = int(scores.argmax())
        return self._other_refs[best], float(scores[best])

    def own(self, index: int) -> npt.NDArray[np.float32]:
        """Return the similarity to each other photo of the person, registered ones first."""
        scores: npt.NDArray[np.float32] = self._own_vectors(index) @ self._batch[index]
        return scores

    def copies(self, index: int) -> bool:
        """Return whether a registered photo of the person, or an earlier one of the command, is the same."""
        vectors = [] if self._own is None else list(self._own)
        vectors += [self._batch[i] for i in range(index) if i not in self._refused]
        return bool(len(vectors)) and float((np.stack(vectors) @ self._batch[index]).max()) > COPY

    def others_agree(self, index: int, threshold: float) -> bool:
        """Return whether the person's other photos, at least two, are each like another one of them."""
        vectors = self._own_vectors(index)
        if len(vectors) < _ENOUGH_TO_AGREE:
            return False
        scores = vectors @ vectors.T
        np.fill_diagonal(scores, -1.0)
        return bool((scores.max(axis=1) >= threshold).all())

    def _own_vectors(self, index: int) -> npt.NDArray[np.float32]:
        batch = [v for i, v in enumerate(self._batch) if i != index and i not in self._refused]
        parts = [part for part in (self._own, np.array(batch)) if part is not None and len(part)]
        width = self._batch.shape[1]
        return np.concatenate(parts).astype(np.float32) if parts else np.zeros((0, width), np.float32)


class Checks:
    """The rules above, for the photos of one command.

    Args:
        neighbours: the similarities.
        threshold: from where on two faces are taken for one person.
        allow_lookalike: rule 2 only warns.
        allow_unlike: rules 3 and 4 only warn.
    """

    def __init__(
        self, *, neighbours: Neighbours, threshold: float, allow_lookalike: bool, allow_unlike: bool
    ) -> None:
        self._near = neighbours
        self._threshold = threshold
        self._allow_lookalike = allow_lookalike
        self._allow_unlike = allow_unlike

    def photo(self, index: int, name: str) -> Finding:
        """Judge photo `index` of the command, called `name`; in order, each once."""
        other, own = self._near.nearest_other(index), self._near.own(index)
        own_score = float(own.max()) if len(own) else None
        warnings: list[str] = []
        refused = self._copy(index, name, other) or self._lookalike(name, other, warnings)
        refused = refused or self._outlier(index, name, other, own_score, warnings)
        if refused is not None:
            self._near.refuse(index)
        ref, score = other or (None, None)
        return Finding(refused, ref, score, own_score, tuple(warnings))

    def _copy(self, index: int, name: str, other: _Near) -> PhotoError | None:
        if other is not None and other[1] > COPY:
            return PhotoError(
                f"{name} is a copy of a photo that is registered for {other[0]}",
                fix="check whose photo it is; remove the other person first if it was theirs by mistake",
            )
        if self._near.copies(index):
            return PhotoError(f"{name} is a copy of another photo of this person", fix="leave it out")
        return None

    def _lookalike(self, name: str, other: _Near, warnings: list[str]) -> PhotoError | None:
        if other is None or other[1] < self._threshold:
            return None
        what = f"looks like {other[0]} to the box ({other[1]:.2f}, named from {self._threshold:.2f})"
        if self._allow_lookalike:
            warnings.append(f"{what}: the two may be mixed up")
            return None
        return PhotoError(
            f"{name} {what}",
            fix=f"check that this is not {other[0]}; if they are two people, add --allow-lookalike",
        )

    def _outlier(
        self,
        index: int,
        name: str,
        other: _Near,
        own: float | None,
        warnings: list[str],
    ) -> PhotoError | None:
        if own is None or own >= self._threshold:
            return None
        if other is not None and other[1] > own:
            what = f"is more like {other[0]} ({other[1]:.2f}) than like this person's photos ({own:.2f})"
        elif own < UNLIKE_SHARE * self._threshold and self._near.others_agree(index, self._threshold):
            what = f"is unlike all of this person's other photos (similarity {own:.2f})"
        else:
            warnings.append(f"little like this person's other photos (similarity {own:.2f}): add more photos")
            return None
        if self._allow_unlike:
            warnings.append(what)
            return None
        return PhotoError(f"{name} {what}", fix="check who is in it; if it is right, add --allow-unlike")
