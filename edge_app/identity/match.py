"""Whom an embedding is most like: cosine similarity to every registered photo, the best a person.

One matrix-vector product gives the similarity to every person (or to every photo, and a person's is
pooled from theirs: `Pooling`). The nearest is not yet the identity: the threshold, the margin over
the second best *other* person and the vote over a track decide that (`vote`).
"""

from __future__ import annotations

from enum import Enum
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


class Pooling(str, Enum):
    """How a person's photos become one similarity.

    `TEMPLATE` compares with the mean of the person's embeddings (normalised). Measured on the 16
    development people (1, 3 or 5 photos registered, 600 strangers, an embedder that is not ours): it
    names as many as the others or more, and above all a stranger's best similarity does not grow
    with the number of photos (the threshold for 1 % stays at .37 to .38; with `MAX` it moves from
    .38 to .42), so one measured threshold serves people with few and with many photos.
    """

    TEMPLATE = "template"
    MAX = "max"
    MEAN_TOP2 = "mean_top2"


class Matcher:
    """Compares embeddings with one snapshot of the register. Immutable; any thread may use it.

    Args:
        snapshot: the register's embeddings.
        threshold: similarity from which a person may be named, -1..1; carried into every `Match`.
        pooling: how a person's photos are pooled.
        bars: people's own thresholds, where they were calibrated.
        strict: people who look like somebody else in the register: they need `STRICT_LEAD` times the lead.
    """

    def __init__(
        self,
        *,
        snapshot: GallerySnapshot,
        threshold: float,
        pooling: Pooling = Pooling.TEMPLATE,
        bars: Mapping[str, float] | None = None,
        strict: Collection[str] = (),
    ) -> None:
        self.snapshot = snapshot
        self.threshold = threshold
        self._bars = dict(bars or {})
        self._strict = frozenset(strict)
        people = len(snapshot.refs)
        starts = np.searchsorted(snapshot.owners, np.arange(people))
        vectors = snapshot.vectors
        if pooling is Pooling.TEMPLATE and people:
            vectors = _templates(vectors, starts)
        self._vectors = np.ascontiguousarray(vectors)
        self._starts = starts if people != len(vectors) else None  # one row each: nothing to pool
        self._slots = None
        if pooling is Pooling.MEAN_TOP2 and self._starts is not None:
            self._slots = _slots(starts, len(snapshot.owners))

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

    def scores(self, embedding: Embedding) -> npt.NDArray[np.float32]:
        """Return the similarity to every person, (P,) float32, -1..1.

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
        if not snapshot.refs:
            return np.zeros(0, np.float32)
        photos: npt.NDArray[np.float32] = self._vectors @ embedding.vector
        if self._starts is None:
            return photos
        if self._slots is None:
            return np.maximum.reduceat(photos, self._starts)
        return _mean_of_two_best(photos, self._slots)

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
    return _templates(snapshot.vectors, np.searchsorted(snapshot.owners, np.arange(len(snapshot.refs))))


def _templates(vectors: npt.NDArray[np.float32], starts: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Return each person's mean embedding, (P, D), of unit length."""
    sums = np.add.reduceat(vectors, starts, axis=0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    # Photos that cancel each other out have no direction: similar to nobody, rather than to anybody.
    norms[norms < 1e-6] = np.inf  # noqa: PLR2004
    return np.asarray(sums / norms, dtype=np.float32)


def _slots(starts: npt.NDArray[np.intp], rows: int) -> npt.NDArray[np.intp]:
    """Return (P, K) row numbers of each person's photos, short rows filled with `rows`, K >= 2."""
    counts = np.diff(np.append(starts, rows))
    columns = np.arange(max(2, int(counts.max())))
    return np.where(columns < counts[:, None], starts[:, None] + columns, rows).astype(np.intp)


def _mean_of_two_best(
    photos: npt.NDArray[np.float32], slots: npt.NDArray[np.intp]
) -> npt.NDArray[np.float32]:
    padded = np.append(photos, np.float32(-np.inf))[slots]
    top = np.partition(padded, padded.shape[1] - 2, axis=1)[:, -2:]
    alone = np.isneginf(top[:, 0])
    return np.where(alone, top[:, 1], top.mean(axis=1)).astype(np.float32)
