"""A recogniser that needs no model: the face as a small grey picture. Poor, real, and deterministic."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.faces.preprocess import PREPROCESS_SHA256
from edge_app.records import Embedding


class ThumbnailRecogniser:
    """Cosine of two of its vectors is the correlation of two 24x24 pictures of the face."""

    def __init__(self, *, model_sha256: str = "d" * 64, threshold: float = 0.93) -> None:
        self.model_sha256 = model_sha256
        self.threshold = threshold
        self.embedded = 0

    def embed(self, crops: npt.NDArray[np.uint8]) -> list[Embedding]:
        """Return one embedding for each of (N, 224, 224, 3) uint8 RGB crops."""
        self.embedded += len(crops)
        return [Embedding(self._vector(crop), self.model_sha256, PREPROCESS_SHA256) for crop in crops]

    def close(self) -> None:
        """Nothing is held."""

    @staticmethod
    def _vector(crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[40:200, 30:194]
        small = cv2.resize(grey, (24, 24), interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
        small -= small.mean()
        return (small / np.linalg.norm(small)).astype(np.float32)
