from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge_app.capture.pixels import MAX_SIDE, bounded, read_picture, to_bgr
from edge_app.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (8, 6), np.uint8)
BGRA = RNG.integers(0, 256, (8, 6, 4), np.uint8)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (GREY, np.stack([GREY] * 3, axis=2)),
        (GREY[:, :, None], np.stack([GREY] * 3, axis=2)),
        (BGRA, BGRA[:, :, :3]),
        (BGRA[:, :, :3], BGRA[:, :, :3]),
        (GREY.astype(np.uint16) * 257, np.stack([GREY] * 3, axis=2)),
    ],
    ids=["grey", "grey plane", "alpha", "colour", "16 bits"],
)
def test_every_kind_becomes_bgr(picture: npt.NDArray[Any], expected: npt.NDArray[np.uint8]) -> None:
    """Grey is repeated, alpha ignored, 16 bits cut to 8."""
    pixels = to_bgr(picture)
    np.testing.assert_array_equal(expected, pixels)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros((4, 4), np.float32),
        np.zeros(4, np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(picture: npt.NDArray[Any]) -> None:
    """Two channels, nothing, floats and a line are refused by what they are."""
    with pytest.raises(ValueError, match=r"a picture is .*; received"):
        to_bgr(picture)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((4320, 7680), (1080, 1920)), ((1080, 1920), (1080, 1920)), ((1, 1), (1, 1)), ((1, 8000), (1, 1920))],
)
def test_large_pictures_are_scaled_down(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """8K becomes full HD, what is smaller stays, and no side vanishes."""
    assert (*expected, 3) == bounded(np.zeros((*size, 3), np.uint8), MAX_SIDE).shape


def test_real_photo_is_read(demo_photos: Mapping[str, Path]) -> None:
    """A photo is what OpenCV reads, unless it is larger than the bound."""
    for path in demo_photos.values():
        expected = cv2.imread(str(path))
        assert expected is not None
        pixels = read_picture(path, max_side=10_000)
        np.testing.assert_array_equal(expected, pixels)
        assert max(read_picture(path, max_side=300).shape) == 300


@pytest.mark.parametrize("kind", ["grey", "alpha", "8K", "dot"])
def test_odd_picture_files_are_read(tmp_path: Path, kind: str) -> None:
    """Grey and RGBA files, an 8K photo and a single pixel arrive as BGR within the bound."""
    pictures = {
        "grey": (GREY, (8, 6, 3)),
        "alpha": (BGRA, (8, 6, 3)),
        "8K": (np.zeros((4320, 7680, 3), np.uint8), (1080, 1920, 3)),
        "dot": (np.zeros((1, 1, 3), np.uint8), (1, 1, 3)),
    }
    picture, expected = pictures[kind]
    assert cv2.imwrite(str(tmp_path / "x.png"), picture)
    assert expected == read_picture(tmp_path / "x.png").shape


def test_photo_of_a_phone_is_turned_upright(tmp_path: Path) -> None:
    """The orientation in its EXIF is followed: a phone's portrait is stored lying."""
    lying = np.zeros((20, 40, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", lying)[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    marked = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    (tmp_path / "x.jpg").write_bytes(marked)
    assert (40, 20, 3) == read_picture(tmp_path / "x.jpg").shape


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"", r"is empty \(0 bytes\)"),
        (b"hello", r"\(5 bytes\) is not a picture"),
        (b"\x89PNG\r\n\x1a\n", "not a picture"),
    ],
    ids=["missing", "empty", "text", "cut short"],
)
def test_file_that_is_no_picture(tmp_path: Path, content: bytes | None, told: str) -> None:
    """Missing, empty, text and a damaged picture are told apart, each with its fix."""
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(SourceError, match=told) as caught:
        read_picture(tmp_path / "x.png")
    assert caught.value.fix
