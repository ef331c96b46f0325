"""From aligned faces to unit vectors, with the model's name on every one of them.

A `Recogniser` is a verified model file on some engine. It refuses a model that was trained with
another preprocessing, so every vector it gives was made the one way there is
(`edge_app.faces.preprocess`), and carries the hashes that the gallery is keyed by.

A face is looked at twice, as it is and in the mirror, and its embedding is the mean of the two unit
vectors, made unit again. It costs a second run and is worth it: what light, dust and an engine's rounding
do to one of them they do otherwise to the other (docs/training.md has the figures).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.engines.choose import open_engine
from edge_app.engines.manifest import RECOGNISER, ModelManifest, load_manifest
from edge_app.errors import ModelError
from edge_app.faces.preprocess import CROP_SIZE, PREPROCESS_ID, PREPROCESS_SHA256, normalise
from edge_app.records import Embedding

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.engines.engine import Engine

#: Pictures in one run of the network. On a CPU more gain nothing (21 ms each at 1, 2 and 8) and cost
#: memory: 195 MB of the process at 1, 258 at 2, 630 at 8 (ONNX Runtime 1.32, detector included).
MAX_BATCH: Final = 1
_INPUT: Final = (3, CROP_SIZE, CROP_SIZE)
_SMALLEST_NORM: Final = 1e-6


class Recogniser:
    """The recogniser: (N, 224, 224, 3) uint8 RGB in, N unit vectors of `dim` out.

    Not for several threads at once: its input buffer is reused.

    Args:
        manifest: the model's manifest, already verified.
        engine: the loaded network, input (N or 1, 3, 224, 224) float32.
        reason: why this backend was chosen, for the log.
        max_batch: at most this many pictures in one run, where the network leaves the number free; a face
            is two of them.

    Raises:
        ModelError: the network does not fit its manifest.
        PreprocessMismatch: it was trained with another preprocessing.
    """

    def __init__(
        self, *, manifest: ModelManifest, engine: Engine, reason: str = "", max_batch: int = MAX_BATCH
    ) -> None:
        manifest.require_kind(RECOGNISER)
        manifest.require_preprocess(preprocess_id=PREPROCESS_ID, sha256=PREPROCESS_SHA256)
        if manifest.threshold is None or manifest.output_dim is None:
            raise ModelError(
                f"the recogniser {manifest.name!r} has no threshold or no dimension in its manifest"
            )
        shape = engine.inputs[0].shape
        if shape[1:] != _INPUT:
            raise ModelError(
                f"the recogniser {manifest.name!r} takes {shape}; this program gives (N, 3, 224, 224)",
                fix="use a model and a program of the same release",
            )
        self.manifest = manifest
        self.reason = reason
        self._engine = engine
        self._output = _output_index(engine, manifest)
        self.dim: Final = manifest.output_dim
        self.threshold: Final = manifest.threshold
        self._batch = max_batch if shape[0] is None else shape[0]
        self._buffer = np.zeros((1, *_INPUT), dtype=np.float32)

    @classmethod
    def open(cls, manifest_path: Path, *, preferred: str | None = None, threads: int = 1) -> Recogniser:
        """Open the model whose manifest is `manifest_path`, after checking size, hash and preprocessing.

        Raises:
            ModelError: anything is missing, altered or does not fit; `PreprocessMismatch` for the last.
        """
        manifest = load_manifest(manifest_path)
        manifest.require_kind(RECOGNISER)
        manifest.require_preprocess(preprocess_id=PREPROCESS_ID, sha256=PREPROCESS_SHA256)
        opened = open_engine(manifest.verify(), preferred=preferred, threads=threads)
        return cls(manifest=manifest, engine=opened.engine, reason=opened.reason)

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the model file."""
        return self.manifest.sha256

    @property
    def backend(self) -> str:
        """The engine's backend, as it stands in every event."""
        return self._engine.backend

    def embed(self, crops: npt.NDArray[np.uint8]) -> list[Embedding]:
        """Return one embedding for each crop, in order.

        Args:
            crops: (N, 224, 224, 3) uint8 RGB, as `edge_app.faces.preprocess.align` makes them; N may be 0.

        Raises:
            ValueError: another shape or dtype.
            ModelError: the network failed, or gave a vector that has no direction.
        """
        if crops.dtype != np.uint8 or crops.shape[1:] != (CROP_SIZE, CROP_SIZE, 3):
            msg = f"crops must be (N, 224, 224, 3) uint8 RGB; received {crops.shape} {crops.dtype}"
            raise ValueError(msg)
        pictures = [(crop, mirrored) for crop in crops for mirrored in (False, True)]
        vectors: list[npt.NDArray[np.float32]] = []
        for start in range(0, len(pictures), self._batch):
            vectors.extend(self._run(pictures[start : start + self._batch]))
        return [self._embedding(*pair) for pair in zip(vectors[::2], vectors[1::2], strict=True)]

    def close(self) -> None:
        """Free the engine. Safe to call twice."""
        self._engine.close()

    def _run(self, pictures: list[tuple[npt.NDArray[np.uint8], bool]]) -> list[npt.NDArray[np.float32]]:
        """Return the unit vector of each crop or, where asked for, of its mirror image."""
        size = len(pictures) if self._engine.inputs[0].shape[0] is None else self._batch
        if len(self._buffer) < size:
            self._buffer = np.zeros((size, *_INPUT), dtype=np.float32)
        batch = self._buffer[:size]
        for slot, (crop, mirrored) in zip(batch, pictures, strict=False):
            slot[...] = normalise(crop[:, ::-1] if mirrored else crop).transpose(2, 0, 1)
        output = self._engine.run(batch)[self._output]
        if output.shape != (size, self.dim):
            raise ModelError(
                f"the recogniser {self.manifest.name!r} gave {output.shape}; "
                f"its manifest says ({size}, {self.dim})",
                fix="the manifest belongs to another model: restore both from the release",
            )
        return [self._unit(vector) for vector in output[: len(pictures)]]

    def _unit(self, vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or norm < _SMALLEST_NORM:
            raise ModelError(
                f"the recogniser {self.manifest.name!r} gave a vector of length {norm} on {self.backend}",
                fix="check the model with another backend: its weights or the engine are damaged",
            )
        return (vector / norm).astype(np.float32, copy=False)

    def _embedding(self, plain: npt.NDArray[np.float32], mirrored: npt.NDArray[np.float32]) -> Embedding:
        return Embedding(
            vector=self._unit(plain + mirrored),
            model_sha256=self.model_sha256,
            preprocess_sha256=PREPROCESS_SHA256,
        )


def _output_index(engine: Engine, manifest: ModelManifest) -> int:
    names = [spec.name for spec in engine.outputs]
    if manifest.output_name not in names:
        raise ModelError(
            f"the recogniser {manifest.name!r} has no output {manifest.output_name!r}; it has {names}",
            fix="the manifest belongs to another model: restore both from the release",
        )
    return names.index(manifest.output_name or "")
