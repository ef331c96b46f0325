from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import cv2
import pytest

from edge_app.capture import live
from edge_app.capture.live import LiveSource, device_settings, has_gstreamer
from edge_app.capture.sources import open_source
from edge_app.capture.spec import SourceSpec
from edge_app.errors import SourceError, SourceLost

if TYPE_CHECKING:
    from pathlib import Path

    from edge_app.capture.sources import Source

    from .conftest import NetworkCamera


def test_camera_on_the_network_gives_frames(network_camera: NetworkCamera) -> None:
    """Frames come as long as it is there, and are counted."""
    source = open_source(SourceSpec(kind="rtsp", location=network_camera.url))
    for number in range(1, 6):
        pixels = source.read()
        assert pixels is not None
        assert ((64, 96, 3), number) == (pixels.shape, source.position)
    source.close()


def read_to_the_end(source: Source) -> None:
    """Read until the source ends, as it never should."""
    while source.read() is not None:
        pass


def test_pulled_camera_is_lost(network_camera: NetworkCamera) -> None:
    """When it is pulled, reading says so by an error that may be retried, and does not end in None."""
    source = open_source(SourceSpec(kind="rtsp", location=network_camera.url, timeout_s=1.0))
    assert source.read() is not None
    network_camera.pull()
    with pytest.raises(SourceLost, match="stopped giving pictures after") as caught:
        read_to_the_end(source)
    assert caught.value.retryable


def test_camera_that_is_not_there() -> None:
    """A refused connection is an error with a fix, and the password is nowhere in it."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"rtsp://admin:secret@127.0.0.1:{unused.getsockname()[1]}/stream"
        with pytest.raises(SourceError, match=r"rtsp://\*\*\*@127[\d.:]+/stream cannot be opened") as caught:
            open_source(SourceSpec(kind="rtsp", location=url, timeout_s=1.0))
    assert "secret" not in str(caught.value)
    assert "ffprobe" in caught.value.fix


def test_transport_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport goes through FFmpeg's environment, which is as before afterwards."""
    name = live._FFMPEG_OPTIONS
    monkeypatch.setenv(name, "fflags;nobuffer")
    with pytest.raises(SourceError):
        LiveSource(SourceSpec(kind="rtsp", location="rtsp://127.0.0.1:9/x", transport="udp", timeout_s=0.5))
    assert "fflags;nobuffer" == os.environ[name]


def test_device_that_is_not_there() -> None:
    """A camera that is not plugged in is told with what is there instead."""
    with pytest.raises(SourceError, match="there is no device /dev/video63") as caught:
        open_source(SourceSpec(kind="v4l2", location="/dev/video63"))
    assert "devices here:" in caught.value.fix


def test_file_that_is_no_device(tmp_path: Path) -> None:
    """Something that is there and no camera is refused too."""
    (tmp_path / "video0").write_bytes(b"")
    with pytest.raises(SourceError, match="video0 cannot be opened") as caught:
        open_source(SourceSpec(kind="v4l2", location=str(tmp_path / "video0")))
    assert "v4l2-ctl" in caught.value.fix


def test_device_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to open it, the group is named."""
    (tmp_path / "video0").write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may everything
    with pytest.raises(SourceError, match="may not be opened by this user") as caught:
        open_source(SourceSpec(kind="v4l2", location=str(tmp_path / "video0")))
    assert "group `video`" in caught.value.fix


def test_pipeline_needs_gstreamer() -> None:
    """Where OpenCV has no GStreamer, that is said; where it has, a broken pipeline is."""
    told = "cannot be opened" if has_gstreamer() else "was built without GStreamer"
    with pytest.raises(SourceError, match=told) as caught:
        open_source(SourceSpec(kind="gstreamer", location="nonsense ! appsink"))
    assert caught.value.fix


@pytest.mark.parametrize(("changes", "live_one"), [({"kind": "rtsp"}, True), ({"kind": "file"}, False)])
def test_spec_knows_cameras_from_recordings(changes: dict[str, str], live_one: bool) -> None:
    """A camera never keeps all frames; a recording does when it is asked to."""
    spec = SourceSpec(location="x", pace="every_frame", **changes)  # type: ignore[arg-type]
    assert (live_one, not live_one) == (spec.live, spec.keeps_all)


@pytest.mark.parametrize("wrong", [{"fps": 0.0}, {"fps": -1.0}, {"max_side": 0}, {"timeout_s": 0.0}])
def test_spec_refuses_nonsense(wrong: dict[str, float]) -> None:
    """Numbers that make no sense are refused when the spec is made."""
    with pytest.raises(ValueError, match="must be above 0"):
        SourceSpec(kind="file", location="x", **wrong)  # type: ignore[arg-type]


def test_device_is_told_what_was_configured_and_nothing_else() -> None:
    """A fixed exposure switches the automatic one off first; without one the camera decides."""
    asked = device_settings(SourceSpec(kind="v4l2", location="/dev/video0", fps=15.0, exposure=100.0))
    manual, exposure = cv2.CAP_PROP_AUTO_EXPOSURE, cv2.CAP_PROP_EXPOSURE
    assert (1, 100.0, 15.0) == (asked[manual], asked[exposure], asked[cv2.CAP_PROP_FPS])
    assert list(asked).index(manual) < list(asked).index(exposure)
    left_alone = device_settings(SourceSpec(kind="v4l2", location="/dev/video0"))
    assert {cv2.CAP_PROP_BUFFERSIZE} == set(left_alone)
