from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge_app.errors import PhotoError
from edge_app.identity.photos import read_photo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def _picture(width: int = 120, height: int = 80) -> np.ndarray:
    """Return a BGR picture whose left half is blue and whose top left corner is white."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2] = (250, 10, 10)
    picture[: height // 4, : width // 4] = 255
    return picture


def _with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Insert an EXIF segment with the orientation tag (TIFF tag 0x0112), as phones do."""
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_photo_is_bgr_with_the_files_hash(tmp_path: Path) -> None:
    """Lossless in, the same pixels out; the hash is the file's, not the picture's."""
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), _picture())
    photo = read_photo(path)
    np.testing.assert_array_equal(_picture(), photo.pixels)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == photo.sha256


@pytest.mark.parametrize("kind", ["grey", "alpha", "16 bit", "grey alpha-less webp"])
def test_other_channels_become_bgr(tmp_path: Path, kind: str) -> None:
    """Scans in grey, cut-outs with alpha, 16-bit files: all (H, W, 3) uint8."""
    path = tmp_path / ("a.webp" if "webp" in kind else "a.png")
    picture = _picture()
    if "grey" in kind:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    elif kind == "alpha":
        picture = np.dstack([picture, np.full(picture.shape[:2], 7, np.uint8)])
    else:
        picture = picture.astype(np.uint16) * 257
    cv2.imwrite(str(path), picture)
    pixels = read_photo(path).pixels
    assert ((80, 120, 3), np.uint8) == (pixels.shape, pixels.dtype)
    if kind in ("alpha", "16 bit"):
        np.testing.assert_array_equal(_picture(), pixels)


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, corner: tuple[int, int]) -> None:
    """The white corner is where the phone's owner saw it."""
    _, jpeg = cv2.imencode(".jpg", _picture(), [cv2.IMWRITE_JPEG_QUALITY, 95])
    path = tmp_path / "a.jpg"
    path.write_bytes(_with_orientation(jpeg.tobytes(), orientation))
    pixels = read_photo(path).pixels
    assert ((80, 120) if orientation in (1, 3) else (120, 80)) == pixels.shape[:2]
    assert pixels[corner].min() > 240


def test_8k_photo_is_read(tmp_path: Path) -> None:
    """33 million pixels are a large photo, not an error."""
    path = tmp_path / "8k.jpg"
    cv2.imwrite(str(path), np.full((4320, 7680, 3), 90, np.uint8))
    assert read_photo(path).pixels.shape == (4320, 7680, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"0 bytes"),
        (b"hello, I am a text\n" * 20, r"not a picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, r"not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200, r"HEIC"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 500, r"breaks off"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    """Each with the file's name and something to do."""
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=rf"a\.jpg[\s\S]*{said}[\s\S]*fix: "):
        read_photo(path)


def test_missing_photo_and_folder(tmp_path: Path) -> None:
    """The system's own words."""
    with pytest.raises(PhotoError, match="No such file"):
        read_photo(tmp_path / "none.jpg")
    with pytest.raises(PhotoError, match="Is a directory"):
        read_photo(tmp_path)


@pytest.mark.parametrize("size", [(1, 1), (47, 500), (500, 47)])
def test_tiny_photo_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    """One pixel, or a strip: no face fits."""
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((size[1], size[0], 3), np.uint8))
    with pytest.raises(PhotoError, match=f"{size[0]}x{size[1]} pixels"):
        read_photo(path)


def test_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    """A film given as a photo does not fill the memory."""
    path = tmp_path / "film.mp4"
    with path.open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    with pytest.raises(PhotoError, match="65 MiB"):
        read_photo(path)


def test_real_photo_cut_short_is_refused_at_any_length(
    demo_photos: Mapping[str, Path], tmp_path: Path
) -> None:
    """OpenCV would fill the missing half of a face with grey."""
    whole = demo_photos["obama"].read_bytes()
    assert read_photo(demo_photos["obama"]).pixels.shape == (1137, 910, 3)
    path = tmp_path / "cut.jpg"
    for share in (0.1, 0.5, 0.9, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(PhotoError):
            read_photo(path)
