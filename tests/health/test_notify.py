"""The sd_notify protocol, against real datagram sockets."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from edge_app.health import notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's socket in the file system."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(2.0)
        yield sock


def test_a_message_arrives_as_one_datagram(listener: socket.socket) -> None:
    """Lines that belong together arrive together."""
    sent = notify.Notifier(address=listener.getsockname())(notify.READY, notify.status("all well"))
    assert (True, b"READY=1\nSTATUS=all well") == (sent, listener.recv(1000))


def test_a_line_break_inside_a_status_cannot_forge_a_line(listener: socket.socket) -> None:
    """A camera's name must not become READY=1."""
    notify.Notifier(address=listener.getsockname())(notify.status("camera x\nREADY=1"))
    assert listener.recv(1000) == b"STATUS=camera x READY=1"


def test_an_abstract_socket_is_reached() -> None:
    """A leading @ stands for the NUL byte of Linux's abstract namespace."""
    name = f"dsr-edge-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        sock.settimeout(2.0)
        assert notify.Notifier.from_environment({"NOTIFY_SOCKET": "@" + name})(notify.BEAT)
        assert sock.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}])
def test_nobody_listening_is_not_an_error(environ: dict[str, str]) -> None:
    """In a terminal the same daemon runs."""
    notifier = notify.Notifier.from_environment(environ)
    assert (False, False) == (notifier.listening, notifier(notify.READY))


def test_a_socket_that_went_away_is_not_an_error(tmp_path: Path) -> None:
    """The message is lost, and says so; the daemon lives."""
    assert notify.Notifier(address=str(tmp_path / "gone"))(notify.BEAT) is False


def test_a_full_socket_does_not_hold_the_daemon_up(listener: socket.socket) -> None:
    """A service manager that does not read must not freeze the watchdog's thread."""
    notifier = notify.Notifier(address=listener.getsockname())
    answers = [notifier(notify.BEAT) for _ in range(5000)]
    assert (True, False) == (answers[0], answers[-1])


@pytest.mark.parametrize(
    ("expected", "environ"),
    [
        (30.0, {"WATCHDOG_USEC": "30000000"}),
        (0.25, {"WATCHDOG_USEC": "250000", "WATCHDOG_PID": "77"}),
        (None, {}),
        (None, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}),
        (None, {"WATCHDOG_USEC": "0"}),
        (None, {"WATCHDOG_USEC": "-5"}),
        (None, {"WATCHDOG_USEC": "soon"}),
        (None, {"WATCHDOG_USEC": "²"}),
    ],
)
def test_the_watchdog_limit_is_ours_or_none(expected: float | None, environ: dict[str, str]) -> None:
    """The variables are inherited: only the process they name obeys them."""
    assert expected == notify.watchdog_limit_s(environ, pid=77)
