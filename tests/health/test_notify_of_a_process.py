"""A real process, a real datagram socket: READY, the beats, and their absence when a stage freezes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


class ServiceManager:
    """Listens as systemd does, and starts the service with the variables that systemd sets."""

    def __init__(self, folder: Path, *, watchdog_s: float) -> None:
        self._path = folder / "notify.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._watchdog_us = int(watchdog_s * 1e6)
        self.process: subprocess.Popen[str] | None = None
        self.heard: list[str] = []

    def start(self, *command: str) -> None:
        """Start `command` as the service."""
        environ = dict(os.environ, NOTIFY_SOCKET=str(self._path), WATCHDOG_USEC=str(self._watchdog_us))
        environ.pop("WATCHDOG_PID", None)
        environ["PYTHONPATH"] = str(ROOT)
        self.process = subprocess.Popen(command, env=environ, text=True, stderr=subprocess.PIPE)

    def listen(self, seconds: float, *, until: str | None = None) -> list[str]:
        """Return the lines heard within `seconds`, or as soon as a line starts with `until`."""
        lines: list[str] = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                lines += self._socket.recv(4096).decode().splitlines()
            except TimeoutError:
                break
            if until is not None and any(line.startswith(until) for line in lines):
                break
        self.heard += lines
        return lines

    def close(self) -> None:
        """Kill what is left."""
        self._socket.close()
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    """A service manager whose watchdog allows 0.3 s, so that the service feeds it every 0.1 s."""
    manager = ServiceManager(tmp_path, watchdog_s=0.3)
    yield manager
    manager.close()


def test_ready_then_beats_then_none_when_a_stage_freezes(manager: ServiceManager) -> None:
    """What systemd would hear from a service whose camera thread hangs while the others go on."""
    manager.start(sys.executable, str(ROOT / "tests/health/staged_service.py"))
    assert manager.process is not None
    assert "READY=1" in manager.listen(20, until="READY=1")
    assert manager.listen(0.8).count("WATCHDOG=1") >= 4

    manager.process.send_signal(signal.SIGUSR1)
    assert "STATUS=silent: capture (takes pictures; over its 0.3 s)" in manager.listen(5, until="STATUS=sil")
    assert manager.listen(0.8) == []  # the other stage still beats; nobody is fed

    manager.process.send_signal(signal.SIGTERM)
    assert "STOPPING=1" in manager.listen(5, until="STOPPING=1")
    assert manager.process.wait(5) == 0
    assert 1 == manager.heard.count("READY=1")
