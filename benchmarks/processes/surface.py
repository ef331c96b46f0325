"""``dsr-surface run`` in a process of its own, to be measured and killed."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from benchmarks.processes.nursery import NURSERY
from surface.store import SurfaceError, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Surface:
    """The reference consumer with its store in `folder`; `key` is the file that it shares with all boxes.

    `where` is another store, a path or a URL; `extra` are further words of the command line.
    """

    def __init__(
        self, *, folder: Path, port: int, key: Path, where: str | None = None, extra: Sequence[str] = ()
    ) -> None:
        self._where = where or str(folder / "surface.db")
        self._said = folder / "surface.said"
        keys = folder / "keys"
        keys.mkdir(exist_ok=True)
        default = keys / "default"
        default.write_bytes(key.read_bytes())
        default.chmod(0o600)
        self._words = ["run", "--broker", f"127.0.0.1:{port}", "--keys", str(keys)]
        self._words += ["--db", self._where, *extra]
        self.start()

    def start(self) -> None:
        """Start it, again after a kill."""
        self.process = NURSERY.fork("surface", self._words, output=self._said)

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.wait(10)

    def pause(self) -> None:
        """Let it stand still while its connection stays open."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it in order."""
        self.process.terminate()
        self.process.wait(20)

    def stored(self) -> int:
        """Return how many new events it stored in the last run that it ended in order."""
        return self._counted(0)

    def refused(self) -> int:
        """Return how many messages it refused."""
        return self._counted(2)

    def _counted(self, place: int) -> int:
        last = self._said.read_text(encoding="utf-8").splitlines()[-1]
        return int(last.split(", ")[place].split()[0])

    def events(self) -> list[dict[str, Any]]:
        """Return the events in its store, in the order in which they were inserted."""
        return [json.loads(body) for (body,) in self._read("SELECT body FROM event ORDER BY arrival")]

    def ids(self) -> set[str]:
        """Return the ids in its store."""
        try:
            return {row[0] for row in self._read("SELECT id FROM event")}
        except (sqlite3.OperationalError, SurfaceError):
            return set()

    def _read(self, sql: str) -> Sequence[Sequence[Any]]:
        if "://" in self._where:
            with closing(open_store(self._where)) as store:
                return store.rows(sql)
        with closing(sqlite3.connect(f"file:{self._where}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()
