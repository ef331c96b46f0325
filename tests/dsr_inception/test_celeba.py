"""CelebA's original layout, on drawn pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from dsr_inception.celeba import celeba_photos
from dsr_inception.errors import DataError
from edge_app.faces.preprocess import landmarks_of_aligned

if TYPE_CHECKING:
    from pathlib import Path

MARKS = (landmarks_of_aligned(128) * 1.1 + (18, 50)).round().astype(int)


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """Return a data folder with three pictures of two people in the original layout."""
    top = tmp_path / "celeba"
    (top / "img_align_celeba").mkdir(parents=True)
    rows = []
    for number in (1, 2, 3):
        image = np.full((218, 178, 3), 40 * number, np.uint8)
        for x, y in MARKS:
            cv2.circle(image, (int(x), int(y)), 3, (255, 255, 255), -1)
        cv2.imwrite(str(top / "img_align_celeba" / f"{number:06d}.jpg"), image)
        rows.append(f"{number:06d}.jpg " + " ".join(str(v) for v in MARKS.ravel()))
    (top / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 12\n000003.jpg 2880\n")
    (top / "list_landmarks_align_celeba.txt").write_text("3\nlefteye_x lefteye_y\n" + "\n".join(rows) + "\n")
    return tmp_path


def test_people_come_from_the_identity_file(original: Path) -> None:
    """Two photos of one, one of the other, by their five-digit numbers."""
    people = celeba_photos(original).by_person()
    assert {"00012": ["000002.jpg"], "02880": ["000001.jpg", "000003.jpg"]} == {
        who: [p.file for p in own] for who, own in people.items()
    }


def test_pictures_are_moved_onto_the_template(original: Path) -> None:
    """The marked landmarks lie where those of the aligned set lie."""
    photos = celeba_photos(original)
    image = photos.read(photos.photos[0])
    assert (128, 128, 3) == image.shape
    for x, y in landmarks_of_aligned(128).astype(int):
        near = image[y - 2 : y + 3, x - 2 : x + 3]
        assert 200 < near.max(), (x, y)


def test_packed_set_comes_first(original: Path, make_tar: Any, drawn: Any) -> None:
    """Where celeba_train stands it is taken; where neither stands its name is said."""
    make_tar("celeba_train", {"a/1.png": drawn(1)})
    assert "celeba_train" == celeba_photos(original).name
    with pytest.raises(DataError, match=r"put celeba_train.tar"):
        celeba_photos(original / "celeba" / "img_align_celeba")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "identity_CelebA.txt",
            "000001.jpg 2\n",
            "identity_CelebA.txt has no line for 2 pictures: 000002.jpg",
        ),
        ("identity_CelebA.txt", "000001.jpg two\n", "line 1: expected a name and 1 numbers"),
        ("list_landmarks_align_celeba.txt", "1\nx\n000001.jpg 1 2 3\n", "line 3: expected a name and 10"),
        ("list_landmarks_align_celeba.txt", None, "cannot be read.*CelebA comes with it"),
    ],
)
def test_files_that_do_not_fit_are_named(original: Path, name: str, text: str | None, message: str) -> None:
    """The file, its line, and what is expected."""
    path = original / "celeba" / name
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        celeba_photos(original)


def test_empty_picture_folder_is_named(original: Path) -> None:
    """It says what to unpack there."""
    for path in (original / "celeba" / "img_align_celeba").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"unpack img_align_celeba.zip"):
        celeba_photos(original)
