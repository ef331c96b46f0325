"""What a source is: kind, place and pace, as one frozen value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from edge_app.capture.pixels import MAX_SIDE

Kind = Literal["file", "folder", "v4l2", "rtsp", "gstreamer"]
Pace = Literal["realtime", "every_frame"]

_RECORDED: Final = ("file", "folder")
_PASSWORD: Final = re.compile(r"//[^/@]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """Where frames come from.

    Args:
        kind: file (video), folder (of pictures), v4l2 (device), rtsp (URL) or gstreamer (pipeline).
        location: path, device, URL or pipeline text.
        pace: of a file or folder: realtime drops what nobody took in time, every_frame waits.
        loop: of a file or folder: start again at the end.
        fps: frames a second: of a folder (5 if None), asked of a device, or instead of a file's own.
        width, height: asked of a device; None leaves them to it.
        exposure: what a device is told to keep, in its own unit (V4L2: 100 microseconds); None: automatic.
        transport: of RTSP: tcp or udp.
        max_side: frames are scaled down to this longest side, pixels.
        timeout_s: how long a network camera may take to connect and between two frames.

    Raises:
        ValueError: a number that makes no sense.
    """

    kind: Kind
    location: str
    pace: Pace = "realtime"
    loop: bool = False
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    exposure: float | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    max_side: int = MAX_SIDE
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        if (self.fps is not None and self.fps <= 0) or self.max_side <= 0 or self.timeout_s <= 0:
            msg = f"fps, max_side and timeout_s must be above 0; received {self}"
            raise ValueError(msg)

    @property
    def live(self) -> bool:
        """Whether it is a camera, which is opened again when it is lost; a recording ends."""
        return self.kind not in _RECORDED

    @property
    def keeps_all(self) -> bool:
        """Whether every frame is to be processed, however long that takes."""
        return not self.live and self.pace == "every_frame"

    @property
    def shown(self) -> str:
        """The location for messages and logs, without user and password."""
        return _PASSWORD.sub("//***@", self.location)
