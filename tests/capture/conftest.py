"""Recordings made on the spot, a clock that can be moved, and a camera on the network that can be pulled."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import pytest

from edge_app.clock import WallQuality, WallTime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

FPS: Final = 20.0
FRAMES: Final = 12


class MovedClock:
    """A clock that stands still but for what is slept."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000
        self.slept: list[float] = []

    def mono_ns(self) -> int:
        """Return the time that it was moved to."""
        return self.now_ns

    def wall(self) -> WallTime:
        """Know no wall time."""
        return WallTime(ms=None, quality=WallQuality.NONE)

    def sleep(self, seconds: float) -> None:
        """Go on by `seconds`."""
        self.slept.append(seconds)
        self.now_ns += round(seconds * 1e9)

    def advance(self, seconds: float) -> None:
        """Let `seconds` go by without sleeping."""
        self.now_ns += round(seconds * 1e9)


def numbered(number: int, *, width: int = 96, height: int = 64) -> npt.NDArray[np.uint8]:
    """Return a picture from which its number can be read again, through any codec."""
    return np.full((height, width, 3), 20 * number, np.uint8)


def number_of(pixels: npt.NDArray[np.uint8]) -> int:
    """Return the number of a `numbered` picture."""
    return round(float(pixels.mean()) / 20)


@pytest.fixture
def clock() -> MovedClock:
    """Return a clock that stands still."""
    return MovedClock()


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a video of twelve numbered frames at 20 frames/s."""
    path = tmp_path_factory.mktemp("video") / "numbered.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (96, 64))
    for number in range(FRAMES):
        writer.write(numbered(number))
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of six numbered pictures, one text and one damaged picture."""
    for number in range(6):
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), numbered(number))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "3a.jpg").write_bytes(b"\xff\xd8\xff damaged")
    (tmp_path / "3b.png").write_bytes(b"")
    return tmp_path


class NetworkCamera:
    """A camera on the network (motion JPEG over HTTP) that gives pictures until it is pulled."""

    def __init__(self) -> None:
        self._plugged = threading.Event()
        self._plugged.set()
        self.served = 0
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera._serve(self)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="network-camera", daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}/stream.mjpg"

    def pull(self) -> None:
        """Pull the plug: what is connected is cut, what connects is turned away."""
        self._plugged.clear()

    def plug(self) -> None:
        """Plug it in again."""
        self._plugged.set()

    def close(self) -> None:
        """End it."""
        self.pull()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        if not self._plugged.is_set():
            request.send_error(503)
            return
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        pause = threading.Event()
        rng = np.random.default_rng(0)
        while self._plugged.is_set():
            noise = rng.integers(0, 255, (64, 96, 3), np.uint8)
            jpeg = cv2.imencode(".jpg", noise)[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                request.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:
                return
            self.served += 1
            pause.wait(0.02)


@pytest.fixture
def network_camera() -> Iterator[NetworkCamera]:
    """Return a camera on the network."""
    camera = NetworkCamera()
    yield camera
    camera.close()
