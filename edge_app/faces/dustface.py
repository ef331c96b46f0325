"""The dust detector: YuNet's network, trained on under simulated ash, dust and darkness, on any engine.

About a fifth of CenterFace's cost. The file is made by ``dsr-engine export --detector dustface.keras``
(`build_engine.dustface`); how it was trained and on whom its manifest says.

For each of the strides 8, 16 and 32 the network gives a map of fifteen values a cell: how sure it is of a
face, the box's middle from the cell's upper left corner and its size as a logarithm, and the five
landmarks from the same corner, all in units of the stride.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.engines.choose import open_engine
from edge_app.engines.manifest import DETECTOR, load_manifest
from edge_app.errors import ModelError
from edge_app.faces.detect import LONG_SIDE, NMS_IOU, faces_from, network_input, picture_size
from edge_app.faces.geometry import fit_picture, suppress

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.engines.engine import Engine
    from edge_app.records import Face

STRIDES: Final = (8, 16, 32)
CHANNELS: Final = 15
#: What a detection must score, unless configured: chosen on development people, see docs/sight.md.
DUSTFACE_SCORE: Final = 0.5
DUSTFACE_FOLLOW: Final = 0.25
#: exp(8) cells of the largest stride are 95,000 pixels: a broken network must not overflow.
_LARGEST_LOG_SIZE: Final = 8.0


class DustFace:
    """The dust detector on an `Engine`. Not for several threads at once: its input buffer is reused.

    Args:
        engine: (1, 3, H, W) BGR float32 0..255, sides multiples of 32, in; one map a stride out.
        score_threshold: a face must score at least this, 0..1.
        nms_iou: overlap from which on two boxes are the same face, 0..1.
        long_side: pixels of the network input's long side.

    Raises:
        ModelError: the network's inputs or outputs are others.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        score_threshold: float = DUSTFACE_SCORE,
        nms_iou: float = NMS_IOU,
        long_side: int = LONG_SIDE,
        reason: str = "",
    ) -> None:
        channels = [spec.shape[1] if len(spec.shape) > 1 else None for spec in engine.outputs]
        if channels != [CHANNELS] * len(STRIDES) or engine.inputs[0].shape[2:] != (None, None):
            raise ModelError(
                f"not a dust detector with dynamic size: input {engine.inputs[0].shape}, "
                f"output channels {channels}",
                fix="make it with `dsr-engine export --detector dustface.keras`",
            )
        self.reason = reason
        self._engine = engine
        self._threshold, self._iou, self._long_side = score_threshold, nms_iou, long_side
        self._buffer = np.zeros((1, 3, 0, 0), dtype=np.float32)

    @classmethod
    def open(
        cls,
        manifest_path: Path,
        *,
        score_threshold: float = DUSTFACE_SCORE,
        nms_iou: float = NMS_IOU,
        long_side: int = LONG_SIDE,
        preferred: str | None = None,
        threads: int = 1,
    ) -> DustFace:
        """Open the detector whose manifest is `manifest_path`, after checking size and hash.

        Raises:
            ModelError: anything is missing, altered or does not fit.
        """
        manifest = load_manifest(manifest_path)
        manifest.require_kind(DETECTOR)
        opened = open_engine(manifest.verify(), preferred=preferred, threads=threads)
        return cls(
            opened.engine,
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            long_side=long_side,
            reason=opened.reason,
        )

    @property
    def backend(self) -> str:
        """The engine's backend."""
        return self._engine.backend

    def detect(self, pixels: npt.NDArray[np.uint8]) -> tuple[Face, ...]:
        """Return the faces in `pixels`, (H, W, 3) uint8 BGR of any size, best score first.

        Raises:
            ValueError: another shape or dtype.
            ModelError: the network failed.
        """
        height, width = picture_size(pixels)
        fit = fit_picture(width, height, long_side=self._long_side)
        self._buffer = network_input(self._buffer, pixels, fit, order=(0, 1, 2))
        maps = self._engine.run(self._buffer)
        found = [self._decode(cells[0], stride) for cells, stride in zip(maps, STRIDES, strict=True)]
        scores, boxes, marks = (np.concatenate(parts) for parts in zip(*found, strict=True))
        if len(scores) == 0:
            return ()
        keep = suppress(boxes, scores, iou=self._iou)
        return faces_from(boxes[keep], marks[keep], scores[keep], fit, (width, height))

    def close(self) -> None:
        """Free the engine. Safe to call twice."""
        self._engine.close()

    def _decode(
        self, cells: npt.NDArray[np.float32], stride: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return scores (n,), corners (n, 4) and landmarks (n, 5, 2) of the cells that are sure enough."""
        rows, columns = np.nonzero(cells[0] >= self._threshold)
        values = cells[:, rows, columns].T
        corner = np.stack([columns, rows], axis=1).astype(np.float32)
        middle = (values[:, 1:3] + corner) * np.float32(stride)
        size = np.exp(np.minimum(values[:, 3:5], _LARGEST_LOG_SIZE)) * np.float32(stride)
        marks = (values[:, 5:].reshape(-1, 5, 2) + corner[:, None, :]) * np.float32(stride)
        boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
        return values[:, 0], boxes.astype(np.float32), marks.astype(np.float32)
