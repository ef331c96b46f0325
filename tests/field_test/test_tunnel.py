"""The tunnel clip: made of real photos, the same every time, and true to its ground truth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge_app.faces.detect import CenterFace
from edge_app.records import Box
from field_test import cutout, tunnel
from field_test.tunnel import DEMO, Script, Walker

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

SHORT = Script((replace(DEMO.walkers[0], start=0.4, end=1.2),), seconds=1.6)


def frames_of(clip: Path) -> list[npt.NDArray[np.uint8]]:
    """Return every frame of a clip."""
    capture = cv2.VideoCapture(str(clip))
    frames = []
    while True:
        good, frame = capture.read()
        if not good:
            return frames
        frames.append(np.asarray(frame, dtype=np.uint8))


def test_the_same_seed_gives_the_same_clip(photo_files: dict[str, Path], tmp_path: Path) -> None:
    """Two renderings agree in every pixel and in their ground truth."""
    first = tunnel.make_clip(photo_files, tmp_path / "a", script=SHORT)
    second = tunnel.make_clip(photo_files, tmp_path / "b", script=SHORT)

    assert np.array_equal(frames_of(first[0]), frames_of(second[0]))
    assert tunnel.read_truth(first[1]) == tunnel.read_truth(second[1])
    assert first[0].name == second[0].name


def test_another_seed_gives_another_clip(photo_files: dict[str, Path], tmp_path: Path) -> None:
    """The seed decides the picture and the name in the cache."""
    first, _ = tunnel.make_clip(photo_files, tmp_path, script=SHORT)
    second, _ = tunnel.make_clip(photo_files, tmp_path, script=replace(SHORT, seed=21))

    assert first != second
    assert not np.array_equal(frames_of(first), frames_of(second))


def test_a_clip_is_made_once(photo_files: dict[str, Path], tmp_path: Path) -> None:
    """The second call finds the first one's clip and leaves it alone."""
    clip, _ = tunnel.make_clip(photo_files, tmp_path, script=SHORT)
    before = clip.stat().st_mtime_ns

    assert clip == tunnel.make_clip(photo_files, tmp_path, script=SHORT)[0]
    assert before == clip.stat().st_mtime_ns


def test_the_demo_clip_is_twenty_seconds_at_twelve_and_a_half_frames(
    demo_clip: tuple[Path, tunnel.Truth],
) -> None:
    """Length, rate and size are what the ground truth says."""
    clip, truth = demo_clip
    capture = cv2.VideoCapture(str(clip))

    assert (250, 12.5, (640, 360)) == (truth.frames, truth.fps, tuple(truth.size))
    assert 12.5 == pytest.approx(capture.get(cv2.CAP_PROP_FPS))
    assert [(360, 640, 3)] * 250 == [frame.shape for frame in frames_of(clip)]


def test_every_frame_is_a_passage_or_empty(demo_clip: tuple[Path, tunnel.Truth]) -> None:
    """Passages and empty stretches share the clip out between them, and the middle is empty."""
    _, truth = demo_clip
    taken = [frame for one in truth.passages for frame in range(one.first, one.last + 1)]
    empty = [frame for first, last in truth.empty for frame in range(first, last + 1)]

    assert list(range(truth.frames)) == sorted(taken + empty)
    assert ["obama", "biden"] == [one.who for one in truth.passages]
    assert max(last - first for first, last in truth.empty) >= 2 * truth.fps


def test_faces_come_close_enough_to_be_recognised(demo_clip: tuple[Path, tunnel.Truth]) -> None:
    """Each walker's face is 80 pixels wide at the end, and over 40 for two seconds before."""
    for one in demo_clip[1].passages:
        widths = [box[2] for box in one.faces.values()]
        assert max(widths) >= 80
        assert sum(width >= 40 for width in widths) >= 2 * tunnel.FPS


def test_the_detector_finds_the_faces_where_the_truth_says(
    demo_clip: tuple[Path, tunnel.Truth], centerface: Path
) -> None:
    """CenterFace overlaps the true box of near faces and sees nobody in the empty tunnel."""
    clip, truth = demo_clip
    frames = frames_of(clip)
    detector = CenterFace.open(centerface)
    try:
        for one in truth.passages:
            near = [frame for frame, box in one.faces.items() if box[2] >= 45][::6]
            overlaps = [
                max(
                    (face.box.iou(Box(*one.faces[frame])) for face in detector.detect(frames[frame])),
                    default=0.0,
                )
                for frame in near
            ]
            assert len(near) >= 4
            assert min(overlaps) >= 0.6
        nobody = [frame for first, last in truth.empty for frame in range(first, last + 1, 8)]
        assert [] == [frame for frame in nobody if detector.detect(frames[frame])]
    finally:
        detector.close()


def test_the_tunnel_is_dark_with_bright_lamps_and_noise(demo_clip: tuple[Path, tunnel.Truth]) -> None:
    """Most of the empty tunnel is dark, its lamps are bright, and no two frames of it are alike."""
    frames = frames_of(demo_clip[0])
    empty = cv2.cvtColor(frames[110], cv2.COLOR_BGR2GRAY)
    moved = cv2.absdiff(frames[110], frames[125])

    assert np.median(empty) < 60
    assert empty.max() > 200
    assert 1 < moved.mean() < 12


@pytest.mark.parametrize("walker", DEMO.walkers, ids=lambda walker: walker.who)
def test_a_cut_out_has_no_hard_edge(photo_files: dict[str, Path], walker: Walker) -> None:
    """The mask covers the face, leaves the background out, and never jumps between neighbours."""
    person = cutout.cut_out(photo_files[walker.photo], walker.face)
    x, y, w, h = person.face
    steps = max(np.abs(np.diff(person.alpha, axis=axis)).max() for axis in (0, 1))

    assert cutout.FACE_PX == round(h)
    assert person.alpha[round(y + h / 2), round(x + w / 2)] > 0.99
    assert person.alpha[: round(h / 3), : round(w / 2)].max() < 0.05
    assert steps < 0.35


def test_a_photo_that_is_none_is_named(tmp_path: Path) -> None:
    """A file that is no picture gives an error with its name."""
    bad = tmp_path / "obama3.jpg"
    bad.write_bytes(b"not a picture")

    with pytest.raises(ValueError, match=r"obama3\.jpg is not a picture"):
        tunnel.make_clip({"obama3.jpg": bad}, tmp_path, script=SHORT)
    assert ["obama3.jpg"] == [path.name for path in tmp_path.iterdir()]
