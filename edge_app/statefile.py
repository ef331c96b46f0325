"""A JSON file for what outlives a restart: read with a bound, written durably, set aside when damaged.

A box must start with a damaged file and run with a full disk. What the content means is its owner's room.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import structlog

from edge_app.durable import write_durably

if TYPE_CHECKING:
    from pathlib import Path

#: What reading a file that somebody damaged or edited may raise, its content's checks included.
UNUSABLE: Final = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)

_log = structlog.get_logger(__name__)


class StateFile:
    """The file at `path`.

    Args:
        path: the file; its folder is made.
        what: its name in the log: ``{what}_damaged``, ``{what}_not_set_aside``, ``{what}_not_written``.
        most_bytes: no good file is larger.
    """

    def __init__(self, path: Path, what: str, *, most_bytes: int) -> None:
        self._path, self._what, self._most = path, what, most_bytes
        #: Whether it could not be written last time.
        self.failed = False

    def read(self) -> Any:
        """Return what the file holds.

        Raises:
            FileNotFoundError: there is none.
            OSError, ValueError, RecursionError: it cannot be read, is too large, or no JSON.
        """
        with self._path.open("rb") as file:
            content = file.read(self._most + 1)
        if len(content) > self._most:
            msg = f"larger than {self._most} bytes"
            raise ValueError(msg)
        return json.loads(content)

    def write(self, body: Any) -> bool:
        """Replace the file; return whether that worked. A failure is logged once, until it works again."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            write_durably(self._path, json.dumps(body, separators=(",", ":")).encode("ascii"))
        except OSError as error:
            if not self.failed:
                _log.error(f"{self._what}_not_written", path=str(self._path), reason=error.strerror)
            self.failed = True
            return False
        self.failed = False
        return True

    def set_aside(self, reason: str) -> None:
        """Rename the damaged file, and say why: the first damage is not overwritten, later ones are."""
        first = self._path.with_name(self._path.name + ".damaged")
        aside = first.with_name(first.name + ".again") if first.exists() else first
        _log.error(f"{self._what}_damaged", path=str(self._path), reason=reason, kept=str(aside))
        try:
            self._path.replace(aside)
        except OSError as error:
            _log.warning(f"{self._what}_not_set_aside", path=str(self._path), reason=str(error))


def why(error: BaseException) -> str:
    """Return what is wrong with a file, in a few words."""
    return f"{type(error).__name__}: {error}"[:160]
