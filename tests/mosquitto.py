"""A real mosquitto broker for tests: on loopback, on a free port, stopped, killed and started at will."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_START_S: Final = 10.0


def find() -> str | None:
    """Return where the broker is, None where it is not installed; Debian keeps it in sbin."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """One broker.

    Args:
        folder: for its configuration, log and store.
        settings: further lines of its configuration.
        port: where it listens; a free one if None. It keeps it over restarts.
    """

    def __init__(self, folder: Path, *, settings: str = "", port: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            f"persistence true\npersistence_location {folder}/\n{settings}\n",
            encoding="utf-8",
        )

    def start(self) -> Mosquitto:
        """Start it and wait until it listens."""
        log = (self._folder / "mosquitto.log").open("ab")
        self._process = subprocess.Popen(
            [find() or "mosquitto", "-c", str(self._config)], stdout=log, stderr=log
        )
        log.close()
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        message = f"mosquitto does not listen: {(self._folder / 'mosquitto.log').read_text()[-2000:]}"
        raise TimeoutError(message)

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
