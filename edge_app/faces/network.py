"""What the detectors share: a picture scaled into a network's input, its cells back into faces.

A detector scales a picture of any size to a configured long side first: the cost is the network's, and it
grows with the pixels. `NetworkDetector` is one on an `Engine`; what a network's outputs mean is all that
differs between those that derive from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

import cv2
import numpy as np

from edge_app.engines.choose import open_engine
from edge_app.engines.manifest import DETECTOR, load_manifest
from edge_app.errors import ModelError
from edge_app.faces.geometry import Fit, fit_picture, suppress
from edge_app.records import Box, Face

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt
    from typing_extensions import Self

    from edge_app.engines.engine import Engine

    Floats = npt.NDArray[np.float32]

#: The long side of the network's input in pixels, unless configured.
LONG_SIDE: Final = 640
NMS_IOU: Final = 0.3
#: A box smaller than this (pixels of the picture) cannot hold five landmarks.
_SMALLEST_BOX: Final = 2.0
#: exp(8) cells are 12,000 pixels and more: no face is larger, and a broken network must not overflow.
LARGEST_LOG_SIZE: Final = 8.0


class Found(NamedTuple):
    """Cells that are sure enough, in the input's pixels: scores (n,), corners (n, 4), landmarks (n, 5, 2)."""

    scores: Floats
    boxes: Floats
    marks: Floats


class NetworkDetector(ABC):
    """A detector on an `Engine`. Not for several threads at once: its input buffer is reused.

    Args:
        engine: the network: (1, 3, H, W) float32 0..255, sides multiples of 32, in; `channels` out.
        score_threshold: a face must score at least this, 0..1; None for the network's own.
        nms_iou: overlap from which on two boxes are the same face, 0..1.
        long_side: pixels of the network input's long side.
        reason: why its backend was chosen.

    Raises:
        ModelError: the network's inputs or outputs are others.
    """

    #: What it is called when another network is given, and how to come by the right one.
    called: ClassVar[str]
    made_by: ClassVar[str]
    #: Channels of its outputs, in their order; which of blue, green and red its input's channels are.
    channels: ClassVar[tuple[int, ...]]
    order: ClassVar[tuple[int, int, int]]
    #: What a detection must score, unless configured.
    own_score: ClassVar[float]

    def __init__(
        self,
        engine: Engine,
        *,
        score_threshold: float | None = None,
        nms_iou: float = NMS_IOU,
        long_side: int = LONG_SIDE,
        reason: str = "",
    ) -> None:
        channels = tuple(spec.shape[1] if len(spec.shape) > 1 else None for spec in engine.outputs)
        if channels != self.channels or engine.inputs[0].shape[2:] != (None, None):
            raise ModelError(
                f"not a {self.called} with dynamic size: input {engine.inputs[0].shape}, "
                f"output channels {channels}",
                fix=self.made_by,
            )
        self.reason = reason
        self._engine = engine
        self._threshold = self.own_score if score_threshold is None else score_threshold
        self._iou, self._long_side = nms_iou, long_side
        self._buffer = np.zeros((1, 3, 0, 0), dtype=np.float32)

    @classmethod
    def open(
        cls,
        manifest_path: Path,
        *,
        score_threshold: float | None = None,
        nms_iou: float = NMS_IOU,
        long_side: int = LONG_SIDE,
        preferred: str | None = None,
        threads: int = 1,
    ) -> Self:
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
        self._buffer = network_input(self._buffer, pixels, fit, order=self.order)
        found = self._decode(self._engine.run(self._buffer))
        if len(found.scores) == 0:
            return ()
        keep = suppress(found.boxes, found.scores, iou=self._iou)
        return faces_from(found.boxes[keep], found.marks[keep], found.scores[keep], fit, (width, height))

    def close(self) -> None:
        """Free the engine. Safe to call twice."""
        self._engine.close()

    @abstractmethod
    def _decode(self, outputs: Sequence[Floats]) -> Found:
        """Return the cells of the network's `outputs` that score `_threshold` or more."""


def resize(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return `pixels` at `size` (width, height): by area when it shrinks a lot, bilinear otherwise."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    shrinks = width >= 2 * size[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size, interpolation=how), dtype=np.uint8)


def network_input(
    buffer: npt.NDArray[np.float32], pixels: npt.NDArray[np.uint8], fit: Fit, *, order: tuple[int, int, int]
) -> npt.NDArray[np.float32]:
    """Return `pixels` as a network's input (1, 3, H, W) float32 0..255, in `buffer` if that has the size.

    `order` says which of the picture's channels (blue, green, red) goes where; what is padded is black.
    """
    net_w, net_h = fit.net
    if buffer.shape[2:] != (net_h, net_w):
        buffer = np.zeros((1, 3, net_h, net_w), dtype=np.float32)
    resized = resize(pixels, fit.scaled)
    scaled_w, scaled_h = fit.scaled
    if (scaled_w, scaled_h) != (net_w, net_h):
        buffer[...] = 0.0
    for channel, source in enumerate(order):
        buffer[0, channel, :scaled_h, :scaled_w] = resized[:, :, source]
    return buffer


def picture_size(pixels: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Return height and width of (H, W, 3) uint8 BGR.

    Raises:
        ValueError: another shape or dtype.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:  # noqa: PLR2004
        msg = f"pixels must be (H, W, 3) uint8 BGR; received {pixels.shape} {pixels.dtype}"
        raise ValueError(msg)
    return int(pixels.shape[0]), int(pixels.shape[1])


def faces_from(
    boxes: npt.NDArray[np.float32],
    points: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    fit: Fit,
    size: tuple[int, int],
) -> tuple[Face, ...]:
    """Return records of a network's (N, 4) corners, (N, 5, 2) landmarks and (N,) scores.

    Coordinates go back to the picture, whose `size` is (width, height); boxes are cut at its border.
    """
    boxes = np.divide(boxes, np.array([*fit.factor, *fit.factor], dtype=np.float32))
    points = np.divide(points, np.array(fit.factor, dtype=np.float32))
    result = []
    for (left, top, right, bottom), landmarks, score in zip(boxes, points, scores, strict=True):
        x, y = max(float(left), 0.0), max(float(top), 0.0)
        w, h = min(float(right), size[0]) - x, min(float(bottom), size[1]) - y
        if w < _SMALLEST_BOX or h < _SMALLEST_BOX or not np.isfinite(landmarks).all():
            continue
        box = Box(x=x, y=y, width=w, height=h)
        result.append(
            Face(box=box, landmarks=landmarks.astype(np.float32), score=float(np.clip(score, 0, 1)))
        )
    return tuple(result)
