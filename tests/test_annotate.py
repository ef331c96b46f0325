"""What a person sees on an annotated frame tells the three decisions apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge_app.annotate import ShowWriter, annotated, label_of
from edge_app.errors import SourceError
from edge_app.records import (
    Box,
    Decision,
    Face,
    Frame,
    FrameFaces,
    Identity,
    Quality,
    Rejection,
    TrackedFace,
)

if TYPE_CHECKING:
    from pathlib import Path


def tracked(rejection: Rejection | None = None) -> TrackedFace:
    """Return a face in the middle of a 64x48 picture."""
    quality = Quality(
        face_px=20, sharpness=9, brightness=90, contrast=30, yaw=0, pitch=0, roll=0, score=1,
        rejection=rejection,
    )  # fmt: skip
    points = np.array([[25, 20], [35, 20], [30, 25], [26, 30], [34, 30]], np.float32)
    face = Face(box=Box(20, 12, 20, 24), landmarks=points, score=0.9)
    return TrackedFace(track="t1", face=face, quality=quality, crop=None)


def says(decision: Decision, ref: str | None, reason: Rejection | None) -> Identity:
    """Return a decision about that face."""
    return Identity(
        camera="a", track="t1", decision=decision, person_ref=ref, reason=reason, score=0.71, threshold=0.5,
        margin=0.3, quality=1, votes=3, face_px=20, frame_index=0, first_seen_ns=0, mono_ns=0,
        gallery_version=1,
    )  # fmt: skip


def frame_of(index: int, *, fps: float, value: int = 0) -> FrameFaces:
    """Return frame `index` of a camera of `fps` frames a second, filled with `value`."""
    pixels = np.full((48, 64, 3), value, np.uint8)
    frame = Frame(camera="a", index=index, mono_ns=int(index / fps * 1e9), pixels=pixels)
    return FrameFaces(frame=frame, faces=(tracked(),))


@pytest.mark.parametrize(
    ("identity", "rejection", "expected"),
    [
        (says(Decision.NAMED, "C-1", None), None, "<C-1> 0.71"),
        (says(Decision.UNKNOWN, None, Rejection.BELOW_THRESHOLD), None, "unknown 0.71"),
        (says(Decision.UNDECIDED, None, Rejection.AMBIGUOUS), None, "undecided: ambiguous"),
        (says(Decision.NAMED, "C-1", None), Rejection.TOO_DARK, "too dark"),
        (None, None, "looking"),
    ],
)
def test_label_says_who_or_why_not(
    identity: Identity | None, rejection: Rejection | None, expected: str
) -> None:
    """A name, unknown, undecided with its reason, a rejected view, and a face not yet looked at."""
    assert expected == label_of(tracked(rejection), identity, lambda ref: f"<{ref}>")[0]


def test_annotated_draws_on_a_copy() -> None:
    """The frame itself stays as the camera gave it."""
    faces = frame_of(0, fps=10)
    picture = annotated(faces, {"t1": says(Decision.NAMED, "C-1", None)})
    assert 0 == faces.frame.pixels.max()
    assert [80, 200, 60] == picture[36, 30].tolist()


def test_show_writes_a_video_that_keeps_the_pace(tmp_path: Path) -> None:
    """A camera of 5 frames a second fills a 10 frames-a-second file; half the pictures are repeated."""
    writer = ShowWriter(tmp_path / "out.mp4", fps=10)
    for index in range(5):
        writer.add(frame_of(index, fps=5), {})
    writer.close()
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert 9 == int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    assert (64, 48) == (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT))


def test_show_into_a_missing_folder_says_so(tmp_path: Path) -> None:
    """OpenCV would write nothing and say nothing."""
    with pytest.raises(SourceError, match=r"cannot write the video .*out\.mp4"):
        ShowWriter(tmp_path / "none" / "out.mp4", fps=10).add(frame_of(0, fps=5), {})
