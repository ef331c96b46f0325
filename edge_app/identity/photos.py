"""Photos as people bring them: phone pictures turned by EXIF, scans in grey, cut-outs with alpha.

What can be read is turned into one upright BGR picture; what cannot is refused with the reason,
before anything is registered.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.errors import PhotoError

if TYPE_CHECKING:
    from pathlib import Path

#: No camera makes larger files; a longer one is not a photo.
MAX_BYTES: Final = 64 * 1024 * 1024
#: Neither side may be shorter: no usable face fits.
MIN_SIDE: Final = 48
_JPEG: Final = b"\xff\xd8\xff"
_JPEG_END: Final = b"\xff\xd9"
_HEIF: Final = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc")


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A photo that was read: `pixels` is (H, W, 3) uint8 BGR, upright; `sha256` is the file's."""

    path: Path
    sha256: str
    pixels: npt.NDArray[np.uint8]


def read_photo(path: Path) -> PhotoFile:
    """Read a photo: grey becomes BGR, alpha is dropped, 16 bits become 8, EXIF orientation is applied.

    Raises:
        PhotoError: missing, empty, too long, not a picture, broken off, or too small.
    """
    data = _read(path)
    pixels = _decode(path, data)
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise PhotoError(
            f"{path.name} is {width}x{height} pixels",
            fix=f"use a photo of at least {MIN_SIDE}x{MIN_SIDE} pixels",
        )
    return PhotoFile(path=path, sha256=hashlib.sha256(data).hexdigest(), pixels=pixels)


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise PhotoError(f"{path.name} has {size / 2**20:.0f} MiB", fix="use a photo of less than 64 MiB")
        data = path.read_bytes()
    except OSError as error:
        raise PhotoError(f"{path} cannot be read: {error.strerror}", fix="check the file's name") from error
    if not data:
        raise PhotoError(f"{path.name} is empty (0 bytes)", fix="copy the photo again")
    return data


def _decode(path: Path, data: bytes) -> npt.NDArray[np.uint8]:
    if data.startswith(_JPEG) and data.rfind(_JPEG_END) < len(data) // 2:
        # OpenCV would fill what is missing with grey and say nothing.
        raise PhotoError(f"{path.name} is a JPEG that breaks off", fix="copy the photo again")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # larger than OpenCV decodes (2^30 pixels), or damaged inside
        pixels = None
    if pixels is None:
        phone = " (HEIC, as phones write it)" if data[4:12] in _HEIF else ""
        raise PhotoError(
            f"{path.name} is not a picture that can be read{phone}",
            fix="save it as JPEG or PNG",
        )
    return np.asarray(pixels, dtype=np.uint8)
