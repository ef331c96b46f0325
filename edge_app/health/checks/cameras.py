"""Every camera opens, gives a picture, and the picture shows something."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.health.doctor import fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_app.config.schema import CameraConfig
    from edge_app.health.doctor import Finding
    from edge_app.records import Frame

#: Bounds of mean and spread of a picture's luma, 0..255: a covered lens, night without LED, glare.
_DARK: Final = 20.0
_BRIGHT: Final = 225.0
_FLAT: Final = 6.0
#: Kinds of sources that one process at a time can read.
_ONE_READER: Final = ("v4l2", "gstreamer")
_BGR_TO_LUMA: Final = (0.114, 0.587, 0.299)


def check_camera(
    camera: CameraConfig, first_frame: Callable[[CameraConfig], Frame], *, daemon_runs: bool = False
) -> Iterator[Finding]:
    """Open the camera and judge its first picture; a local one that the running daemon holds is left to it.

    Raises:
        SourceError: it does not open, or gives no picture.
    """
    name = f"camera {camera.name}"
    if daemon_runs and camera.source.kind in _ONE_READER:
        yield ok(name, "in the hands of the running daemon, not tried (stop the service to have it tried)")
        return
    start = time.monotonic()
    frame = first_frame(camera)
    took_s = time.monotonic() - start
    luma = frame.pixels[::4, ::4].astype(np.float32) @ np.array(_BGR_TO_LUMA, dtype=np.float32)
    mean, spread = float(luma.mean()), float(luma.std())
    size = f"{frame.width}x{frame.height}"
    what = f"{size} after {took_s:.1f} s, brightness {mean:.0f} of 255, contrast {spread:.0f}"
    look = f"dsr-edge look {camera.name} --out look.jpg shows the picture"
    if spread < _FLAT:
        yield fail(
            name, f"{what}: nothing can be seen", fix=f"uncover the lens or switch on the light; {look}"
        )
    elif mean < _DARK:
        yield warn(name, f"{what}: too dark for faces", fix=f"more light, or a longer exposure; {look}")
    elif mean > _BRIGHT:
        yield warn(name, f"{what}: too bright for faces", fix=f"turn the camera away from the light; {look}")
    else:
        yield ok(name, what)
