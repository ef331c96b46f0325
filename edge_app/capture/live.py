"""Cameras: USB and other V4L2 devices, RTSP, and GStreamer pipelines, through OpenCV.

A camera that cannot be opened raises `SourceError` with what to check; one that stops raises
`SourceLost`, and whoever reads opens it again. Users and passwords in URLs are never shown.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2

from edge_app.capture.pixels import bounded, to_bgr
from edge_app.errors import SourceError, SourceLost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import numpy.typing as npt

    from edge_app.capture.spec import SourceSpec

#: V4L2_EXPOSURE_MANUAL, as OpenCV passes it on.
_MANUAL_EXPOSURE: Final = 1
_FFMPEG_OPTIONS: Final = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_environment: Final = threading.Lock()


class LiveSource:
    """A camera as a source. `position` counts its frames.

    Raises:
        SourceError: it cannot be opened, or gives no first frame.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._video = _OPENERS[spec.kind](spec)
        if not self._video.isOpened():
            raise SourceError(f"the camera {spec.shown} cannot be opened", fix=_fix(spec))
        self._pending = self._frame()
        if self._pending is None:
            self._video.release()
            raise SourceError(f"the camera {spec.shown} opens but gives no picture", fix=_fix(spec))
        self.position = 0

    def read(self) -> npt.NDArray[np.uint8] | None:
        """Wait for the next frame and return it; a camera has no end, so this is never None.

        Raises:
            SourceLost: it gives no more pictures.
        """
        pixels, self._pending = self._pending, None
        if pixels is None:
            pixels = self._frame()
        if pixels is None:
            raise SourceLost(
                f"the camera {self._spec.shown} stopped giving pictures after {self.position}",
                fix=_fix(self._spec),
            )
        self.position += 1
        return pixels

    def close(self) -> None:
        """Let go of the camera. Safe to call twice."""
        self._video.release()

    def _frame(self) -> npt.NDArray[np.uint8] | None:
        try:
            good, picture = self._video.read()
            return bounded(to_bgr(picture), self._spec.max_side) if good and picture is not None else None
        except (cv2.error, ValueError) as error:
            raise SourceLost(
                f"the camera {self._spec.shown} gave what is no picture: {error}", fix=_fix(self._spec)
            ) from error


def has_gstreamer() -> bool:
    """Return whether this OpenCV was built with GStreamer."""
    return re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is not None


def _open_device(spec: SourceSpec) -> cv2.VideoCapture:
    device = Path(spec.location)
    if not device.exists():
        there = ", ".join(str(path) for path in sorted(Path("/dev").glob("video*"))) or "none"
        raise SourceError(f"there is no device {device}", fix=f"plug the camera in; devices here: {there}")
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(
            f"the device {device} may not be opened by this user",
            fix="add the user to the group `video`, e.g. usermod -aG video USER",
        )
    video = cv2.VideoCapture(str(device), cv2.CAP_V4L2)
    for name, value in device_settings(spec).items():
        video.set(name, value)
    return video


def device_settings(spec: SourceSpec) -> dict[int, float]:
    """Return what a V4L2 device is asked for, by OpenCV's property, in the order in which it must be asked.

    A longer exposure is more light and more motion blur; a fixed one does not pump when a lamp comes by,
    and a whole number of the mains' half periods (10 ms at 50 Hz) has no bands under flickering lamps.
    """
    wanted = {
        cv2.CAP_PROP_FRAME_WIDTH: spec.width,
        cv2.CAP_PROP_FRAME_HEIGHT: spec.height,
        cv2.CAP_PROP_FPS: spec.fps,
        cv2.CAP_PROP_BUFFERSIZE: 1,
        cv2.CAP_PROP_AUTO_EXPOSURE: None if spec.exposure is None else _MANUAL_EXPOSURE,
        cv2.CAP_PROP_EXPOSURE: spec.exposure,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _open_network(spec: SourceSpec) -> cv2.VideoCapture:
    timeout_ms = round(spec.timeout_s * 1000)
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
    # OpenCV's FFmpeg takes the transport from the environment only, so one camera opens at a time.
    with _environment:
        before = os.environ.get(_FFMPEG_OPTIONS)
        os.environ[_FFMPEG_OPTIONS] = f"rtsp_transport;{spec.transport}"
        try:
            return cv2.VideoCapture(spec.location, cv2.CAP_FFMPEG, timeouts)
        finally:
            if before is None:
                del os.environ[_FFMPEG_OPTIONS]
            else:
                os.environ[_FFMPEG_OPTIONS] = before


def _open_pipeline(spec: SourceSpec) -> cv2.VideoCapture:
    if not has_gstreamer():
        raise SourceError(
            f"OpenCV {cv2.__version__} was built without GStreamer, so it cannot run: {spec.shown}",
            fix="use JetPack's own OpenCV (a venv with --system-site-packages), or the kind rtsp or v4l2",
        )
    return cv2.VideoCapture(spec.location, cv2.CAP_GSTREAMER)


_OPENERS: Final[Mapping[str, Callable[[SourceSpec], cv2.VideoCapture]]] = {
    "v4l2": _open_device,
    "rtsp": _open_network,
    "gstreamer": _open_pipeline,
}
_FIXES: Final = {
    "v4l2": "check that no other program uses it, and its modes: v4l2-ctl -d DEVICE --list-formats-ext",
    "rtsp": "check address, user, password and path with: ffprobe URL",
    "gstreamer": "run the pipeline with gst-launch-1.0; it must end in: appsink drop=1 max-buffers=1",
}


def _fix(spec: SourceSpec) -> str:
    return _FIXES[spec.kind]
