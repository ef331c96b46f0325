"""An engine as evaluation wants it, that keeps what it said: to the face alone, and as the box uses it.

The box looks at a face and at its mirror image and takes the mean of both vectors
(`edge_app.embedding.recogniser`), so that is what the gate judges. What the engine said to the face alone
is kept beside it: rounding noise that the mean takes away would otherwise never be seen.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from build_engine.trt_api import PAIR
from edge_app.errors import ModelError
from edge_app.faces.preprocess import normalise

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.engines.engine import Engine

    Crops = npt.NDArray[np.uint8]
    Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Taken:
    """Unit vectors of the same faces, (N, D): of the face and its mirror image, and of the face alone."""

    used: Vectors
    single: Vectors


class Recorded:
    """An engine as an embedder that keeps every vector it gave; with `cache`, between runs as well.

    Args:
        engine: (1 or, where its batch is free, 2, 3, 224, 224) float32 -> (1 or 2, D).
        name: how tables call it.
        sha256: of the engine's file: the key of the cache.
        cache: a folder, or None.
    """

    def __init__(self, engine: Engine, *, name: str, sha256: str, cache: Path | None = None) -> None:
        self.name = name
        self._engine, self._sha256, self._cache = engine, sha256, cache
        self._used: list[Vectors] = []
        self._single: list[Vectors] = []

    def embed(self, crops: Crops) -> Vectors:
        """Return the unit vectors that the box would use, (N, D), for (N, 224, 224, 3) uint8 RGB."""
        single = self._vectors(crops)
        used = unit(single + self._vectors(np.ascontiguousarray(crops[:, :, ::-1])))
        self._single.append(single)
        self._used.append(used)
        return used

    def _vectors(self, crops: Crops) -> Vectors:
        path = self._path(crops)
        if path is not None and path.is_file():
            return np.asarray(np.load(path, allow_pickle=False), np.float32)
        vectors = self._run(crops)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, vectors)
        return vectors

    def _path(self, crops: Crops) -> Path | None:
        if self._cache is None:
            return None
        digest = hashlib.sha256(self._sha256.encode() + self._engine.backend.encode())
        digest.update(np.ascontiguousarray(crops).tobytes())
        return self._cache / f"{digest.hexdigest()[:32]}.npy"

    def _run(self, crops: Crops) -> Vectors:
        step = PAIR if self._engine.inputs[0].shape[0] is None else 1
        rows = []
        for start in range(0, len(crops), step):
            batch = np.ascontiguousarray(normalise(crops[start : start + step]).transpose(0, 3, 1, 2))
            rows.append(self._engine.run(batch)[0].reshape(len(batch), -1))
        vectors = np.concatenate(rows).astype(np.float32)
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{self.name} gives values that are not finite", fix="build or quantise it again"
            )
        return unit(vectors)

    def taken(self) -> Taken:
        """Return all vectors given since the last call, and forget them."""
        found = Taken(np.concatenate(self._used), np.concatenate(self._single))
        self._used.clear()
        self._single.clear()
        return found


def unit(vectors: Vectors) -> Vectors:
    """Return (N, D) `vectors` with length 1 each; zero stays zero."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)
