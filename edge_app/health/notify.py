"""Tell systemd how the service is: the sd_notify protocol, without a library.

systemd opens a datagram socket, puts its address into ``NOTIFY_SOCKET`` and reads lines of
``NAME=value`` from it (sd_notify(3)). A leading ``@`` means Linux's abstract namespace. Without the
variable there is nobody to tell and every call does nothing, so the daemon behaves the same in a
terminal. A message that cannot be sent is not worth dying for: the watchdog is what notices.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
BEAT: Final = "WATCHDOG=1"
_US_PER_S: Final = 1_000_000


class Notify(Protocol):
    """Whoever wants to know how the service is."""

    def __call__(self, *lines: str) -> bool:
        """Send `lines` as one message; return whether it was sent."""
        ...


class Notifier:
    """Sends to the service manager's socket.

    Args:
        address: what ``NOTIFY_SOCKET`` holds: an absolute path, or ``@name`` for an abstract socket.
            None or empty: nobody listens, and nothing is sent.
    """

    def __init__(self, *, address: str | None) -> None:
        self._address = address or None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Notifier:
        """Return the notifier of the process's environment."""
        return cls(address=(os.environ if environ is None else environ).get("NOTIFY_SOCKET"))

    @property
    def listening(self) -> bool:
        """Whether a service manager asked to be told."""
        return self._address is not None

    def __call__(self, *lines: str) -> bool:
        """Send `lines` as one datagram, never waiting; return whether the kernel took it."""
        if self._address is None:
            return False
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        payload = "\n".join(line.replace("\n", " ") for line in lines).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(payload, address)
        except OSError:
            return False
        return True


def status(text: str) -> str:
    """Return the line that ``systemctl status`` shows."""
    return f"STATUS={text}"


def watchdog_limit_s(environ: Mapping[str, str] | None = None, pid: int | None = None) -> float | None:
    """Return how long systemd lets this process stay silent, in seconds (sd_watchdog_enabled(3)).

    None where no watchdog is set, where ``WATCHDOG_PID`` names another process (the variables are
    inherited), and where the value is not a positive number.
    """
    environ = os.environ if environ is None else environ
    pid = os.getpid() if pid is None else pid
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        return None
    return int(text) / _US_PER_S
