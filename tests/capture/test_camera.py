from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import structlog

from edge_app.capture.blindness import Backoff
from edge_app.capture.camera import Camera
from edge_app.capture.camera_health import Memory
from edge_app.capture.memory import CameraMemory
from edge_app.capture.newest import NewestFrame
from edge_app.capture.sight import Sight
from edge_app.capture.spec import SourceSpec
from edge_app.clock import SystemClock
from edge_app.errors import SourceError

from .conftest import FRAMES, number_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.records import CameraState, Frame

    from .conftest import NetworkCamera

pytestmark = pytest.mark.filterwarnings("error")


class Rig:
    """A camera on its thread, with everything that it says written down."""

    def __init__(self, spec: SourceSpec, **changes: Any) -> None:
        self.newest = NewestFrame(keep_all=spec.keeps_all)
        self.states: list[CameraState] = []
        self.beats = 0
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self.camera = Camera(
            name="cam1", zone="drift", spec=spec, newest=self.newest, clock=SystemClock(), beat=self._beat,
            on_state=self.states.append, backoff=Backoff(base_s=0.05, cap_s=0.1), **changes,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="camera-cam1", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        self.beats += 1

    def _run(self) -> None:
        try:
            self.camera.run(self._stop.is_set)
        except SourceError as error:
            self.error = error

    def stop(self) -> float:
        """Stop it and return how many seconds that took."""
        began = time.monotonic()
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        return time.monotonic() - began

    def frames(self, *, pause: float = 0.0) -> list[Frame]:
        """Take frames until the end."""
        got = []
        while not self.newest.ended:
            frame = self.newest.get(timeout=0.5)
            if frame is not None:
                got.append(frame)
                time.sleep(pause)
        return got


def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Wait for `condition`, or fail."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_every_frame_of_a_recording_arrives(video: Path) -> None:
    """Nothing is dropped, however slow the taker is, and the camera ends by itself."""
    rig = Rig(SourceSpec(kind="file", location=str(video), pace="every_frame"))
    frames = rig.frames(pause=0.03)
    assert list(range(FRAMES)) == [number_of(frame.pixels) for frame in frames]
    assert [(index, 0, "cam1") for index in range(FRAMES)] == [(f.index, f.dropped, f.camera) for f in frames]
    assert sorted(frame.mono_ns for frame in frames) == [frame.mono_ns for frame in frames]
    rig.stop()
    assert (None, []) == (rig.error, rig.states)


def test_recording_at_realtime_drops_what_comes_too_late(video: Path) -> None:
    """A slow taker gets fewer frames, and taken plus dropped are all there were."""
    rig = Rig(SourceSpec(kind="file", location=str(video)))
    frames = rig.frames(pause=0.12)
    assert 3 <= len(frames) < FRAMES
    assert FRAMES == len(frames) + sum(frame.dropped for frame in frames) == frames[-1].index + 1
    rig.stop()


def test_missing_recording_is_an_error_at_once(tmp_path: Path) -> None:
    """A file that is not there is not tried again for ever: run raises, and the slot ends."""
    rig = Rig(SourceSpec(kind="file", location=str(tmp_path / "none.mp4")))
    until(lambda: rig.error is not None)
    assert "No such file" in str(rig.error)
    assert rig.newest.ended


def test_lost_camera_comes_back(network_camera: NetworkCamera) -> None:
    """Pulled: blind after its time, with the moment of the last picture. Plugged in: it sees, counting on."""
    rig = Rig(SourceSpec(kind="rtsp", location=network_camera.url, timeout_s=1.0), blind_after_s=0.6)
    until(lambda: rig.camera.frames > 3)
    network_camera.pull()
    pulled_ns = SystemClock().mono_ns()
    until(lambda: bool(rig.states))
    blind = rig.states[0]
    assert ("cam1", "drift", "no_frames") == (blind.camera, blind.zone, blind.reason)
    assert blind.blind_since_ns is not None
    assert abs(blind.blind_since_ns - pulled_ns) < 1_500_000_000
    before, beats = rig.camera.frames, rig.beats
    network_camera.plug()
    until(lambda: len(rig.states) > 1 and rig.camera.frames > before)
    assert rig.states[1].blind_since_ns is None
    assert rig.beats > beats  # it beat all the while: a lost camera is no broken box
    assert rig.stop() < 3
    assert 2 == len(rig.states)


def test_camera_that_is_not_there_yet_is_waited_for(network_camera: NetworkCamera) -> None:
    """A box that starts before its camera keeps trying, logs each wait, and goes on when it comes."""
    network_camera.pull()
    with structlog.testing.capture_logs() as logs:
        rig = Rig(SourceSpec(kind="rtsp", location=network_camera.url, timeout_s=1.0))
        until(lambda: sum(log["event"] == "camera_lost" for log in logs) > 2)
        network_camera.plug()
        until(lambda: rig.camera.frames > 0)
        rig.stop()
    lost = [log for log in logs if log["event"] == "camera_lost"]
    assert all(0 <= log["retry_in_s"] <= 0.1 and log["fix"] for log in lost)


class Hanging:
    """A source whose driver does not return."""

    position = 0

    def __init__(self) -> None:
        self.release = threading.Event()

    def read(self) -> npt.NDArray[np.uint8] | None:
        """Hang."""
        self.release.wait(30)
        return None

    def close(self) -> None:
        """Do nothing."""


def test_driver_that_hangs_is_told_and_ends_the_beats() -> None:
    """The watcher does not hang with it: blindness is told, and the beats end so that the box restarts."""
    source = Hanging()
    rig = Rig(
        SourceSpec(kind="v4l2", location="/dev/video0"),
        opener=lambda _: source,
        blind_after_s=0.3,
        stuck_after_s=0.8,
    )
    until(lambda: bool(rig.states))
    assert "no_frames" == rig.states[0].reason
    until(lambda: rig.beats > 2)
    time.sleep(1.0)
    beats = rig.beats
    time.sleep(0.6)
    assert beats == rig.beats
    assert rig.stop() < 4  # a clean stop does not wait for the driver
    source.release.set()


def test_black_pictures_make_a_camera_blind(tmp_path: Path) -> None:
    """Pictures come, and there is nothing in them: blind, and the reason is the darkness."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    spec = SourceSpec(kind="folder", location=str(tmp_path), fps=20.0, loop=True)
    rig = Rig(spec, blind_after_s=0.3)
    until(lambda: bool(rig.states))
    assert ("dark", "dark") == (rig.states[0].reason, rig.camera.sight.value)
    rig.stop()


def test_slow_detector_does_not_make_a_camera_blind(tmp_path: Path) -> None:
    """While frames wait to be taken one by one, the camera sees."""
    for number in range(5, 10):
        busy = np.random.default_rng(number).integers(0, 255, (90, 160, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), busy)
    spec = SourceSpec(kind="folder", location=str(tmp_path), pace="every_frame")
    rig = Rig(spec, blind_after_s=0.3)
    assert rig.newest.get(timeout=2) is not None
    time.sleep(1.0)
    assert [] == rig.states
    assert rig.stop() < 2


class Slides:
    """A camera that gives these pictures, one every 50 ms, over and over."""

    def __init__(self, pictures: list[npt.NDArray[np.uint8]]) -> None:
        self._pictures = pictures
        self.position = 0

    def read(self) -> npt.NDArray[np.uint8]:
        """Return the next one."""
        time.sleep(0.05)
        self.position += 1
        return self._pictures[self.position % len(self._pictures)]

    def close(self) -> None:
        """Do nothing."""


def test_camera_that_was_blind_is_told_before_its_first_picture(tmp_path: Path) -> None:
    """A restart before a dirty lens gives no all-clear: the first word is what the last run knew."""
    path = tmp_path / "cam1.json"
    known: dict[str, Any] = {"camera": "cam1", "source": "/dev/video9", "view": 1, "boot": "b1"}
    since_ns = SystemClock().mono_ns() - 60_000_000_000
    assert CameraMemory(path, **known).keep(Memory(sight=Sight.DIRTY, since_ns=since_ns, held=Sight.DIRTY), 0)
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 255, (90, 160, 3), np.uint8) for _ in range(9)]
    rig = Rig(
        SourceSpec(kind="v4l2", location="/dev/video9"),
        opener=lambda _spec: Slides(pictures),
        memory=CameraMemory(path, **known),
    )
    until(lambda: rig.camera.frames > 40)
    rig.stop()
    assert [("dirty", since_ns)] == [(state.reason, state.blind_since_ns) for state in rig.states]
