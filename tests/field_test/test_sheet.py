"""The contact sheet: the right frames, and the verdict above them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import pytest

from field_test.sheet import contact_sheet, frames_at, moments
from field_test.tunnel import Passage, Truth
from field_test.verdict import Check

if TYPE_CHECKING:
    from pathlib import Path

TRUTH: Final = Truth(
    fps=10.0,
    size=(64, 48),
    frames=100,
    passages=(Passage("ann", "a.jpg", 10, 30), Passage("bob", "b.jpg", 60, 80)),
    empty=((0, 9), (31, 59), (81, 99)),
)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Return a video of ten seconds whose frames are as bright as twice their number."""
    path = tmp_path / "show.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for index in range(100):
        writer.write(np.full((48, 64, 3), index * 2, dtype=np.uint8))
    writer.release()
    return path


def test_moments_are_in_order_and_show_everybody_and_nobody() -> None:
    """Three of each passage, and the longest empty stretches to fill the rows."""
    chosen = moments(TRUTH)

    assert chosen == sorted(chosen)
    assert {"truth: ann": 3, "truth: bob": 3, "truth: nobody": 2} == {
        caption: [one for _, one in chosen].count(caption) for _, caption in chosen
    }
    assert (4.5, "truth: nobody") in chosen


def test_frames_are_those_of_their_time(video: Path) -> None:
    """A time gives the frame that is shown then; one after the end gives the last."""
    brightness = [float(frame.mean()) for frame in frames_at(video, [1.0, 5.0, 99.0])]

    assert brightness == pytest.approx([20, 100, 198], abs=2)


def test_the_sheet_has_a_line_for_each_answer_and_two_rows(video: Path, tmp_path: Path) -> None:
    """Right answers are green, wrong ones red, and the legend stands below them."""
    checks = [Check("first", True, ""), Check("second", False, "")]
    sheet = contact_sheet(video, TRUTH, checks, tmp_path / "sheet.png", legend="C-1 is Ann")
    picture = cv2.imread(str(sheet))

    assert picture is not None
    assert (540 + 24 * 3 + 12, 1920, 3) == picture.shape
    green, red = picture[8:30, :60].reshape(-1, 3).max(axis=0), picture[32:54, :60].reshape(-1, 3).max(axis=0)
    assert green[1] > green[2]
    assert red[2] > red[1]


def test_a_video_without_a_picture_is_named(tmp_path: Path) -> None:
    """A file that holds no video gives an error with its name."""
    empty = tmp_path / "show.mp4"
    empty.touch()

    with pytest.raises(ValueError, match=r"show\.mp4 has no picture"):
        frames_at(empty, [1.0])


def test_a_sheet_that_cannot_be_written_is_named(video: Path, tmp_path: Path) -> None:
    """A missing folder gives an error with the file's name."""
    with pytest.raises(OSError, match=r"sheet\.png cannot be written"):
        contact_sheet(video, TRUTH, [], tmp_path / "missing" / "sheet.png", legend="")
