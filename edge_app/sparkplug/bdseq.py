"""The birth/death sequence number: which connection a death certificate belongs to.

It starts at 0, goes up by one with every CONNECT, wraps from 255 to 0, and must survive restarts:
otherwise the will of a connection that is long gone could bury the present one. So it is on disk
before the connection is tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from edge_app.durable import write_durably

if TYPE_CHECKING:
    from pathlib import Path

_LOG = structlog.get_logger(__name__)
_MODULUS: Final = 256


class BdSeq:
    """Counts connections in the file at `path`.

    A file that is missing or unreadable starts at 0. One that cannot be written costs the memory of the
    number through a restart, and nothing else: that is logged, and the plane goes on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            stored = int(path.read_bytes()[:16])
            self._next = (stored + 1) % _MODULUS if 0 <= stored < _MODULUS else 0
        except (OSError, ValueError):
            self._next = 0

    def take(self) -> int:
        """Return the number of the connection about to be tried, after storing it."""
        number, self._next = self._next, (self._next + 1) % _MODULUS
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._path, b"%d\n" % number)
        except OSError as error:
            _LOG.warning("bdseq_not_stored", file=str(self._path), error=str(error))
        return number
