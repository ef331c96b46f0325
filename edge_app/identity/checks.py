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
from edge_app.identity.match import Matcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from edge_app.identity.snapshot import GallerySnapshot
    from edge_app.records import Embedding

#: Two photos of one moment are this alike only if one is a copy of the other.
COPY: Final = 0.999
#: "Unlike" the person's own photos: less similar than this share of the threshold. Measured on 14 people
#: whose three photos agreed: 0.8 % of strangers' photos pass, and none of the person's own is refused.
UNLIKE_SHARE: Final = 0.75
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
        batch: the embeddings of the command's photos.
    """

    def __init__(self, *, ref: str, snapshot: GallerySnapshot, batch: Sequence[Embedding]) -> None:
        self.ref = ref
        self._snapshot = snapshot
        self._matcher = Matcher(snapshot=snapshot, threshold=1.0)
        self._embeddings = batch
        self._batch = (
            np.stack([embedding.vector for embedding in batch]) if batch else np.zeros((0, 0), np.float32)
        )
        own = [snapshot.refs[owner] == ref for owner in snapshot.owners]
        self._own = snapshot.vectors[np.array(own, bool)]
        self._refused: set[int] = set()

    def refuse(self, index: int) -> None:
        """Leave photo `index` out of the person's photos from now on."""
        self._refused.add(index)

    def nearest_other(self, index: int) -> tuple[str, float] | None:
        """Return the other person whom the box takes photo `index` for first, and the similarity."""
        scores = self._matcher.scores(self._embeddings[index])
        others = [number for number, ref in enumerate(self._snapshot.refs) if ref != self.ref]
        if not others:
            return None
        best = max(others, key=lambda number: float(scores[number]))
        return self._snapshot.refs[best], float(scores[best])

    def copy_of(self, index: int) -> str | None:
        """Return whose photo the same picture is: registered, or earlier in the command."""
        if len(self._snapshot.vectors):
            scores = self._snapshot.vectors @ self._batch[index]
            best = int(scores.argmax())
            if scores[best] > COPY:
                return str(self._snapshot.refs[self._snapshot.owners[best]])
        earlier = [self._batch[i] for i in range(index) if i not in self._refused]
        if earlier and float((np.stack(earlier) @ self._batch[index]).max()) > COPY:
            return self.ref
        return None

    def own(self, index: int) -> npt.NDArray[np.float32]:
        """Return the similarity to each other photo of the person, registered ones first."""
        scores: npt.NDArray[np.float32] = self._own_vectors(index) @ self._batch[index]
        return scores

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
        parts = [part for part in (self._own, np.array(batch)) if len(part)]
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
        refused = self._copy(index, name) or self._lookalike(name, other, warnings)
        refused = refused or self._outlier(index, name, other, own_score, warnings)
        if refused is not None:
            self._near.refuse(index)
        ref, score = other or (None, None)
        return Finding(refused, ref, score, own_score, tuple(warnings))

    def _copy(self, index: int, name: str) -> PhotoError | None:
        owner = self._near.copy_of(index)
        if owner is None:
            return None
        if owner == self._near.ref:
            return PhotoError(f"{name} is a copy of another photo of this person", fix="leave it out")
        return PhotoError(
            f"{name} is a copy of a photo that is registered for {owner}",
            fix="check whose photo it is; remove the other person first if it was theirs by mistake",
        )

    def _lookalike(self, name: str, other: _Near, warnings: list[str]) -> PhotoError | None:
        if other is None or other[1] < self._threshold:
            return None
        what = f"looks like {other[0]} to the box ({other[1]:.2f}, named from {self._threshold:.2f})"
        if self._allow_lookalike:
            warnings.append(f"{what}: both need twice the usual lead over each other to be named")
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
        unlike = UNLIKE_SHARE * self._threshold
        if other is not None and other[1] > own:
            what = f"is more like {other[0]} ({other[1]:.2f}) than like this person's photos ({own:.2f})"
        elif own < unlike and self._near.others_agree(index, self._threshold):
            what = f"is unlike all of this person's other photos (similarity {own:.2f})"
        else:
            warnings.append(f"is little like this person's others (similarity {own:.2f}): add more photos")
            return None
        if self._allow_unlike:
            warnings.append(what)
            return None
        return PhotoError(f"{name} {what}", fix="check who is in it; if it is right, add --allow-unlike")
