"""All embeddings of the register by one model, as they stood at one version: a value, not a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class GallerySnapshot:
    """`vectors` (N, D) float32 of unit length; row i belongs to ``refs[owners[i]]``.

    `owners` (N,) is sorted and names every one of the P people in `refs` at least once.
    """

    gallery_id: str
    version: int
    refs: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    owners: npt.NDArray[np.intp]
    model_sha256: str
    preprocess_sha256: str

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        rows, people = len(self.vectors), len(self.refs)
        if self.vectors.ndim != 2 or self.owners.shape != (rows,):  # noqa: PLR2004
            msg = f"need (N, D) vectors and (N,) owners; received {self.vectors.shape}, {self.owners.shape}"
            raise ValueError(msg)
        if not np.array_equal(np.unique(self.owners), np.arange(people)) or np.any(np.diff(self.owners) < 0):
            msg = f"owners must be sorted and name each of {people} people; received {self.owners[:8]}..."
            raise ValueError(msg)
        norms = np.linalg.norm(self.vectors, axis=1)
        if not np.all(np.abs(norms - 1.0) < 1e-3):  # noqa: PLR2004
            msg = "vectors must have length 1"
            raise ValueError(msg)

    @classmethod
    def empty(cls, *, model_sha256: str, preprocess_sha256: str) -> GallerySnapshot:
        """Return the snapshot of a register that does not exist yet: nobody, version 0."""
        nothing = np.zeros((0, 0), np.float32)
        owners = np.zeros(0, np.intp)
        return cls("", 0, (), nothing, owners, model_sha256, preprocess_sha256)
