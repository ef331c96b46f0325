"""Whom an embedding is most like: half the similarity to a person's mean photo, half that to the best one.

One matrix-vector product gives the similarity to everybody's template, the mean of their photos. Of the
`SHORTLIST` nearest the most similar photo counts as much: a template is less noisy than any photo, and a
photo may show just the side, the light and the year that the tunnel shows. Measured on development people:
docs/people.md. The nearest is not yet the identity: the threshold, the margin over the second best *other*
person and the vote over a track decide that (`vote`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.errors import GalleryError
from edge_app.records import Match

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy.typing as npt

    from edge_app.identity.snapshot import GallerySnapshot
    from edge_app.records import Embedding

#: How much more lead people need who look like somebody else in the register.
STRICT_LEAD: Final = 2.0
#: Of so many people, the nearest by their template, the photos are compared one by one.
SHORTLIST: Final = 32


class Matcher:
    """Compares embeddings with one snapshot of the register. Immutable; any thread may use it.

    Args:
        snapshot: the register's embeddings.
        threshold: similarity from which a person may be named, -1..1; carried into every `Match`.
        bars: people's own thresholds, where they were calibrated.
        strict: people who look like somebody else in the register: they need `STRICT_LEAD` times the lead.
    """

    def __init__(
        self,
        *,
        snapshot: GallerySnapshot,
        threshold: float,
        bars: Mapping[str, float] | None = None,
        strict: Collection[str] = (),
    ) -> None:
        self.snapshot = snapshot
        self.threshold = threshold
        self._bars = dict(bars or {})
        self._strict = frozenset(strict)
        people = len(snapshot.refs)
        self._starts = np.searchsorted(snapshot.owners, np.arange(people + 1))
        #: Each person's mean embedding, (P, D) of unit length.
        self.templates = np.ascontiguousarray(templates_of(snapshot) if people else snapshot.vectors)

    @property
    def refs(self) -> tuple[str, ...]:
        """The P people, in the order of `scores`."""
        return self.snapshot.refs

    @property
    def version(self) -> int:
        """The register's version."""
        return self.snapshot.version

    def bar_of(self, person_ref: str | None) -> float:
        """Return the similarity from which this person may be named; the common one for nobody."""
        return self.threshold if person_ref is None else self._bars.get(person_ref, self.threshold)

    def lead_of(self, person_ref: str | None) -> float:
        """Return by how much the lead that this person needs is multiplied."""
        return STRICT_LEAD if person_ref in self._strict else 1.0

    def check(self, embedding: Embedding) -> None:
        """Refuse what cannot be compared with the register.

        Raises:
            GalleryError: another model or preprocessing made the embedding.
        """
        snapshot = self.snapshot
        if (embedding.model_sha256, embedding.preprocess_sha256) != (
            snapshot.model_sha256,
            snapshot.preprocess_sha256,
        ):
            raise GalleryError(
                f"face and register cannot be compared: the face was embedded by model"
                f" {embedding.model_sha256[:12]} with preprocessing {embedding.preprocess_sha256[:12]}, the"
                f" register by {snapshot.model_sha256[:12]} with {snapshot.preprocess_sha256[:12]}",
                fix="run `dsr-edge people reembed`",
            )

    def scores(self, embedding: Embedding) -> npt.NDArray[np.float32]:
        """Return the similarity to every person, (P,) float32, -1..1; see `scores_of`.

        Raises:
            GalleryError: another model or preprocessing made the embedding.
        """
        self.check(embedding)
        return self.scores_of(embedding.vector)

    def scores_of(self, vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the similarity of a unit vector, (D,), to every person, (P,) float32, -1..1.

        Beyond the `SHORTLIST` the template alone counts, and nobody there is nearer than those who are on it.
        """
        if not self.refs:
            return np.zeros(0, np.float32)
        found: npt.NDArray[np.float32] = self.templates @ vector
        if len(found) == len(self.snapshot.owners):  # one photo each: it is the template
            return found
        near = np.arange(len(found))
        if len(found) > SHORTLIST:
            near = np.argpartition(found, -SHORTLIST)[-SHORTLIST:]
        both = [
            (found[who] + (self.snapshot.vectors[self._starts[who] : self._starts[who + 1]] @ vector).max())
            / 2
            for who in near
        ]
        np.minimum(found, min(both), out=found)
        found[near] = both
        return found

    def match(self, embedding: Embedding) -> Match:
        """Return the nearest person and the nearest other one.

        Raises:
            GalleryError: another model or preprocessing made the embedding.
        """
        best, second = two_best(scores := self.scores(embedding))
        return Match(
            person_ref=None if best is None else self.refs[best],
            score=-1.0 if best is None else float(scores[best]),
            second_ref=None if second is None else self.refs[second],
            second_score=-1.0 if second is None else float(scores[second]),
            threshold=self.bar_of(None if best is None else self.refs[best]),
            gallery_version=self.version,
        )


def two_best(scores: npt.NDArray[np.floating]) -> tuple[int | None, int | None]:
    """Return the indices of the highest and the second highest of `scores`, None where there is none."""
    if len(scores) == 0:
        return None, None
    best = int(scores.argmax())
    if len(scores) == 1:
        return best, None
    # Two scans of the rest are cheaper than a partition and need no copy.
    before, after = scores[:best], scores[best + 1 :]
    left = int(before.argmax()) if best > 0 else None
    right = best + 1 + int(after.argmax()) if len(after) else None
    if left is None or (right is not None and scores[right] > scores[left]):
        return best, right
    return best, left


def templates_of(snapshot: GallerySnapshot) -> npt.NDArray[np.float32]:
    """Return the mean embedding of every person of `snapshot`, (P, D) float32 of unit length."""
    starts = np.searchsorted(snapshot.owners, np.arange(len(snapshot.refs)))
    sums = np.add.reduceat(snapshot.vectors, starts, axis=0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    # Photos that cancel each other out have no direction: similar to nobody, rather than to anybody.
    norms[norms < 1e-6] = np.inf  # noqa: PLR2004
    return np.asarray(sums / norms, dtype=np.float32)
