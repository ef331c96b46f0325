"""The last counter of each key: a command is obeyed once, also through a power cut.

The counters have a file of their own beside the outbox, so that an outbox that is purged or set aside
as damaged takes none of them along. A file that cannot be read or written refuses every command:
better a box that must be visited than one that obeys twice.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_app.commands.signed import CommandRefused
from edge_app.durable import write_durably

if TYPE_CHECKING:
    from pathlib import Path


class Counters:
    """Counters by key id, in the file at `path`; used by one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self, key_id: str, counter: int) -> None:
        """Store `counter` if it is above the key's last one; it is on disk when this returns.

        Raises:
            CommandRefused: ``replayed``, or ``counter_not_stored`` when the file does not serve.
        """
        known = self._read()
        if counter <= known.get(key_id, 0):
            raise CommandRefused("replayed")
        try:
            write_durably(self._path, json.dumps({**known, key_id: counter}).encode("ascii"))
        except OSError as error:
            raise CommandRefused("counter_not_stored") from error

    def _read(self) -> dict[str, int]:
        try:
            known = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise CommandRefused("counter_not_stored") from error
        if not isinstance(known, dict) or not all(type(last) is int for last in known.values()):
            raise CommandRefused("counter_not_stored")
        return known
