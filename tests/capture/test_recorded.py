from __future__ import annotations

import os
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import structlog

from edge_app.capture.recorded import RecordedSource
from edge_app.capture.sources import open_source
from edge_app.capture.spec import SourceSpec
from edge_app.errors import SourceError, SourceLost

from .conftest import FPS, FRAMES, MovedClock, number_of, numbered

if TYPE_CHECKING:
    from pathlib import Path


def recorded(clock: MovedClock, **spec: object) -> RecordedSource:
    """Open a recording on the moved clock."""
    source = open_source(SourceSpec(**spec), clock=clock)  # type: ignore[arg-type]
    assert isinstance(source, RecordedSource)
    return source


def all_of(source: RecordedSource, *, limit: int = 100) -> list[int]:
    """Return the numbers of the frames to the end, or the first `limit`."""
    numbers: list[int] = []
    while len(numbers) < limit and (pixels := source.read()) is not None:
        numbers.append(number_of(pixels))
    return numbers


def test_every_frame_comes_in_order_without_waiting(video: Path, clock: MovedClock) -> None:
    """At every_frame nothing is dropped and nothing is waited for; the end is None, again and again."""
    source = recorded(clock, kind="file", location=str(video), pace="every_frame")
    assert list(range(FRAMES)) == all_of(source)
    assert ([], FRAMES, None, None) == (clock.slept, source.position, source.read(), source.read())


def test_realtime_takes_the_time_of_the_recording(video: Path, clock: MovedClock) -> None:
    """Read by somebody who is fast enough, all frames come, each at its time."""
    source = recorded(clock, kind="file", location=str(video))
    began = clock.mono_ns()
    times = []
    while source.read() is not None:
        times.append((clock.mono_ns() - began) / 1e9)
    assert pytest.approx([i / FPS for i in range(FRAMES)], abs=1e-6) == times


def test_realtime_does_not_wait_for_the_slow(video: Path, clock: MovedClock) -> None:
    """Who needs 2.5 frames' time for each gets every second or third frame, and they are counted."""
    source = recorded(clock, kind="file", location=str(video))
    numbers = []
    while (pixels := source.read()) is not None:
        numbers.append(number_of(pixels))
        assert numbers[-1] == source.position - 1
        clock.advance(2.5 / FPS)
    assert [0, 2, 5, 7, 10] == numbers
    assert source.position == FRAMES


def test_loop_begins_again(video: Path, clock: MovedClock) -> None:
    """After the last frame comes the first, and the count goes on."""
    source = recorded(clock, kind="file", location=str(video), pace="every_frame", loop=True)
    assert [*range(FRAMES), *range(FRAMES), 0, 1] == all_of(source, limit=2 * FRAMES + 2)
    assert 2 * FRAMES + 2 == source.position


def test_loop_at_realtime_catches_up_over_the_end(video: Path, clock: MovedClock) -> None:
    """Who comes an hour late gets the beginning again, and from there on every frame at its time."""
    source = recorded(clock, kind="file", location=str(video), loop=True)
    assert 0 == number_of(source.read())  # type: ignore[arg-type]
    clock.advance(3600)
    began = clock.mono_ns()
    assert [0, 1, 2] == all_of(source, limit=3)
    assert pytest.approx(2 / FPS, abs=1e-6) == (clock.mono_ns() - began) / 1e9
    assert FRAMES + 3 == source.position


def test_folder_gives_its_pictures_by_name(folder: Path, clock: MovedClock) -> None:
    """What is no picture is passed over, and what is a damaged one is logged."""
    with structlog.testing.capture_logs() as logs:
        source = recorded(clock, kind="folder", location=str(folder), pace="every_frame")
        assert list(range(6)) == all_of(source)
    assert ["3a.jpg", "3b.png"] == [log["picture"].rsplit("/")[-1] for log in logs]
    assert "is empty (0 bytes)" in logs[1]["reason"]


def test_folder_at_its_rate(folder: Path, clock: MovedClock) -> None:
    """At realtime a folder plays at the given rate."""
    source = recorded(clock, kind="folder", location=str(folder), fps=2.0, loop=True)
    began = clock.mono_ns()
    all_of(source, limit=5)
    assert pytest.approx(4 * 0.5) == (clock.mono_ns() - began) / 1e9


def test_own_rate_of_a_video_may_be_overruled(video: Path, clock: MovedClock) -> None:
    """The file's rate holds unless one is given."""
    assert FPS == recorded(clock, kind="file", location=str(video)).fps
    assert 7.0 == recorded(clock, kind="file", location=str(video), fps=7.0).fps


def test_animated_gif_is_a_video(data_dir: Path | None, tmp_path: Path, clock: MovedClock) -> None:
    """A GIF plays with its own rate: a real clip where the data is, else one made here."""
    if data_dir is None:
        animation = cv2.Animation()
        animation.frames = [numbered(number) for number in range(5)]
        animation.durations = np.full(5, 80, np.int32)
        path, frames = tmp_path / "x.gif", 5
        assert cv2.imwriteanimation(str(path), animation)
    else:
        path, frames = data_dir / "clips" / "head-pose-face-detection-male.gif", 62
    with structlog.testing.capture_logs() as logs:
        source = recorded(clock, kind="file", location=str(path))
        assert 12.5 == source.fps
        assert frames == len(all_of(source))
    assert [] == logs


@pytest.mark.parametrize("damage", ["cut", "zeroed"])
def test_damaged_gif_is_told(tmp_path: Path, damage: str, clock: MovedClock) -> None:
    """FFmpeg plays what it finds and counts no more than that: the log says that it is not all."""
    animation = cv2.Animation()
    animation.frames = [numbered(number) for number in range(5)]
    animation.durations = np.full(5, 80, np.int32)
    path = tmp_path / "x.gif"
    assert cv2.imwriteanimation(str(path), animation)
    whole = path.read_bytes()
    third = [at for at in range(len(whole)) if whole.startswith(b"\x21\xf9\x04", at)][2]
    path.write_bytes(whole[:third] + (b"" if damage == "cut" else bytes(len(whole) - third)))
    with structlog.testing.capture_logs() as logs:
        frames = all_of(recorded(clock, kind="file", location=str(path), pace="every_frame"))
    assert 0 < len(frames) < 5
    told = {key: logs[0][key] for key in ("event", "at_byte", "bytes")}
    assert {"event": "recording_damaged", "at_byte": third, "bytes": path.stat().st_size} == told


def test_frames_of_8k_are_scaled_down(tmp_path: Path, clock: MovedClock) -> None:
    """A recording in 8K costs the memory of full HD."""
    writer = cv2.VideoWriter(str(tmp_path / "8k.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (7680, 4320))
    writer.write(np.full((4320, 7680, 3), 100, np.uint8))
    writer.release()
    pixels = recorded(clock, kind="file", location=str(tmp_path / "8k.avi")).read()
    assert pixels is not None
    assert (1080, 1920, 3) == pixels.shape


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"", r"is empty \(0 bytes\)"),
        (os.urandom(5000), "cannot be opened as a video|gives no picture"),
        (b"GIF89a nonsense", "gives no picture|cannot be opened"),
    ],
    ids=["missing", "empty", "noise", "damaged"],
)
def test_file_that_is_no_video(tmp_path: Path, content: bytes | None, told: str, clock: MovedClock) -> None:
    """Missing, empty and damaged files fail when opened, with a fix, and are not retried."""
    path = tmp_path / "x.gif"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=told) as caught:
        recorded(clock, kind="file", location=str(path))
    assert caught.value.fix
    assert not isinstance(caught.value, SourceLost)


def test_video_cut_short_gives_what_is_left(video: Path, tmp_path: Path, clock: MovedClock) -> None:
    """A file without its index is refused; one that breaks in the middle ends there, and the log says so."""
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video.read_bytes()[:-200])
    with pytest.raises(SourceError, match="cut short"):
        recorded(clock, kind="file", location=str(cut))
    writer = cv2.VideoWriter(str(tmp_path / "x.avi"), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (96, 64))
    for number in range(FRAMES):
        writer.write(numbered(number))
    writer.release()
    content = (tmp_path / "x.avi").read_bytes()
    (tmp_path / "x.avi").write_bytes(content[: 3 * len(content) // 4])
    with structlog.testing.capture_logs() as logs:
        numbers = all_of(recorded(clock, kind="file", location=str(tmp_path / "x.avi"), pace="every_frame"))
    assert 0 < len(numbers) < FRAMES
    assert list(range(len(numbers) - 1)) == numbers[:-1]  # the last may be half a picture
    assert ["recording_ends_early"] == [log["event"] for log in logs]


def test_folder_that_is_none(tmp_path: Path, clock: MovedClock) -> None:
    """A missing folder, an empty one and a folder in a file's place are told apart."""
    with pytest.raises(SourceError, match="No such file"):
        recorded(clock, kind="folder", location=str(tmp_path / "none"))
    with pytest.raises(SourceError, match="has no pictures in it"):
        recorded(clock, kind="folder", location=str(tmp_path))
    with pytest.raises(SourceError, match="is not a file") as caught:
        recorded(clock, kind="file", location=str(tmp_path))
    assert "folder" in caught.value.fix


def test_folder_of_damaged_pictures_only(tmp_path: Path, clock: MovedClock) -> None:
    """If not one can be read, that is an error and not an empty recording."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(SourceError, match="gives no picture"):
        recorded(clock, kind="folder", location=str(tmp_path))
