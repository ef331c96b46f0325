"""Every picture becomes (H, W, 3) uint8 BGR of a bounded size, whatever it was.

The rule: grey is repeated on three channels, the alpha of a picture is ignored, 16 bits lose their
lower 8, anything else is refused. A picture larger than the bound is scaled down by area, so that an
8K camera or photo costs the memory of the bound and no more.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from edge_app.errors import SourceError

if TYPE_CHECKING:
    import numpy.typing as npt

#: Longest side of a frame in pixels: full HD. The detector looks at less, crops are taken from this.
MAX_SIDE: Final = 1920
_GREY, _BGR, _BGRA = 1, 3, 4


def to_bgr(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return `picture` as (H, W, 3) uint8 BGR; (H, W), (H, W, 1), (H, W, 3) and (H, W, 4) are taken.

    Raises:
        ValueError: another shape or dtype, or nothing in it.
    """
    shape = picture.shape
    channels = _GREY if picture.ndim == 2 else shape[-1]  # noqa: PLR2004
    if picture.ndim not in (2, 3) or channels not in (_GREY, _BGR, _BGRA) or 0 in shape:
        msg = f"a picture is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); received {shape}"
        raise ValueError(msg)
    if picture.dtype == np.uint16:
        picture = picture >> 8
    elif picture.dtype != np.uint8:
        msg = f"a picture is uint8 or uint16; received {picture.dtype}"
        raise ValueError(msg)
    picture = picture.astype(np.uint8, copy=False)
    if channels == _GREY:
        return np.repeat(picture.reshape(*shape[:2], 1), 3, axis=2)
    return picture if channels == _BGR else np.ascontiguousarray(picture[:, :, :3])


def bounded(pixels: npt.NDArray[np.uint8], max_side: int = MAX_SIDE) -> npt.NDArray[np.uint8]:
    """Return `pixels`, scaled down so that no side is longer than `max_side`; smaller ones as they are."""
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= max_side:
        return pixels
    scale = max_side / longest
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def read_picture(path: Path, *, max_side: int = MAX_SIDE) -> npt.NDArray[np.uint8]:
    """Return the picture file `path` as BGR, turned upright as its EXIF says, bounded to `max_side`.

    Raises:
        SourceError: missing, unreadable, empty or not a picture; the message says which.
    """
    try:
        content = np.frombuffer(Path(path).read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise SourceError(
            f"the picture {path} cannot be read: {error.strerror or error}", fix="check the path"
        ) from error
    if not content.size:
        raise SourceError(f"the picture {path} is empty (0 bytes)", fix="copy it again")
    try:
        picture = cv2.imdecode(content, cv2.IMREAD_COLOR)
    except cv2.error:  # a size that OpenCV refuses
        picture = None
    if picture is None:
        raise SourceError(
            f"{path} ({content.size} bytes) is not a picture that OpenCV can read, or it is damaged",
            fix="give a .jpg, .png or .webp; save it again with another program",
        )
    return bounded(to_bgr(picture), max_side)
