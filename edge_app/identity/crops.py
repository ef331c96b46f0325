"""How the register writes aligned faces: a codec, named beside every crop it wrote.

A crop is a picture of a person. Encryption at rest comes with the security work, as another codec
behind the same protocol: it gets a name of its own, so that old crops stay readable until they are
written again. Codecs are lossless, because a new model must see the pixels that the old one saw.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.errors import GalleryError
from edge_app.faces.preprocess import CROP_SIZE

Crop = npt.NDArray[np.uint8]


class CropCodec(Protocol):
    """Turns an aligned (224, 224, 3) uint8 RGB crop into bytes and back, without loss."""

    @property
    def name(self) -> str:
        """What stands beside the bytes in the register; never changes its meaning."""
        ...

    def encode(self, crop: Crop) -> bytes:
        """Return the bytes of `crop`."""
        ...

    def decode(self, blob: bytes) -> Crop:
        """Return the crop that `blob` holds.

        Raises:
            GalleryError: the bytes are damaged, or the key is another one.
        """
        ...


class PngCrops:
    """Plain PNG, readable by whoever can read the file (mode 0600)."""

    name = "png"

    def encode(self, crop: Crop) -> bytes:
        """Return `crop` as PNG.

        Raises:
            ValueError: not a (224, 224, 3) uint8 picture.
        """
        if crop.shape != (CROP_SIZE, CROP_SIZE, 3) or crop.dtype != np.uint8:
            msg = f"crop must be ({CROP_SIZE}, {CROP_SIZE}, 3) uint8; received {crop.shape} {crop.dtype}"
            raise ValueError(msg)
        _, buffer = cv2.imencode(".png", np.ascontiguousarray(crop[:, :, ::-1]))
        return buffer.tobytes()

    def decode(self, blob: bytes) -> Crop:
        """Return the RGB crop in `blob`."""
        try:
            picture = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR) if blob else None
        except cv2.error:
            picture = None
        if picture is None or picture.shape != (CROP_SIZE, CROP_SIZE, 3):
            raise GalleryError(
                f"a stored crop of {len(blob)} bytes cannot be read",
                fix="remove the person and register them again from photos",
            )
        return np.ascontiguousarray(picture[:, :, ::-1]).astype(np.uint8, copy=False)
