"""``dsr-surface run`` in a process of its own, to be measured and killed."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from benchmarks.processes.nursery import NURSERY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Surface:
    """The reference consumer with its store in `folder`; `key` is the file that it shares with all boxes."""

    def __init__(self, *, folder: Path, port: int, key: Path, extra: Sequence[str] = ()) -> None:
        self._database = folder / "surface.db"
        keys = folder / "keys"
        keys.mkdir(exist_ok=True)
        default = keys / "default"
        default.write_bytes(key.read_bytes())
        default.chmod(0o600)
        self._words = ["run", "--broker", f"127.0.0.1:{port}", "--keys", str(keys)]
        self._words += ["--db", str(self._database), *extra]
        self.start()

    def start(self) -> None:
        """Start it, again after a kill."""
        self.process = NURSERY.fork("surface", self._words)

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """End it in order."""
        self.process.terminate()
        self.process.wait(20)

    def events(self) -> list[dict[str, Any]]:
        """Return the events in its store, in the order in which they were committed."""
        connection = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)
        rows = connection.execute("SELECT body FROM event ORDER BY arrival").fetchall()
        connection.close()
        return [json.loads(body) for (body,) in rows]

    def ids(self) -> set[str]:
        """Return the ids in its store."""
        if not self._database.exists():
            return set()
        connection = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)
        try:
            return {row[0] for row in connection.execute("SELECT id FROM event")}
        except sqlite3.OperationalError:
            return set()
        finally:
            connection.close()
