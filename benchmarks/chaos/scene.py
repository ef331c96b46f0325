"""A scene: one box behind a proxy that breaks things, one broker, and whoever counts what arrives."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from benchmarks.chaos.table import counted
from benchmarks.processes.surface import Surface
from benchmarks.proxy import FaultProxy
from benchmarks.rig import BoxProcess, Mosquitto, Watcher, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.chaos.table import Row

#: A broker for consumers that may be away; 100 is also the window that it then allows the box.
BROKER: Final = ("max_queued_messages 100000", "max_inflight_messages 100")
_DRAIN_S: Final = 300.0
_QUIET_S: Final = 2.0


class Scene:
    """Everything in `folder`; with `receipts` the reference consumer receipts, else one watches."""

    def __init__(
        self,
        folder: Path,
        *,
        receipts: bool = False,
        broker: Sequence[str] = BROKER,
        everywhere: bool = False,
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.outbox = folder / "box.db"
        self.broker = Mosquitto(folder, settings=broker, everywhere=everywhere).start()
        self.tls_port = free_port()
        self.proxy = FaultProxy(self.broker.port)
        self.surface: Surface | None = None
        self.watcher: Watcher | None = None
        self._extra: tuple[str, ...] = ()
        if receipts:
            key = folder / "key"
            key.write_text("7e" * 32, encoding="ascii")
            key.chmod(0o600)
            self.surface = Surface(folder=folder, port=self.broker.port, key=key)
            self._extra = ("--consumer", f"surface={key}")
        else:
            self.watcher = Watcher(self.broker.port, topic="mine/+/v1/+/evt/#", persistent=True)
        self.box: BoxProcess | None = None

    def start_box(
        self,
        rate: float,
        *,
        extra: Sequence[str] = (),
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> BoxProcess:
        """Start the box, which records `rate` events a second, and wait until it does."""
        self.box = BoxProcess(
            outbox=self.outbox,
            port=port or self.proxy.port,
            ledger=self.folder / "ledger",
            rate=rate,
            extra=(*self._extra, *extra),
            before=before,
            environment=environment,
        )
        wait_until(self.box.is_ready, timeout=180, what="the start of the box")
        return self.box

    def events(self) -> list[dict[str, Any]]:
        """Return what arrived, in order; copies included where one watches."""
        if self.watcher is not None:
            return self.watcher.events()
        return self.surface.events() if self.surface is not None else []

    def finish(self, fault: str, *, times: int, note: str = "", drain: bool = True) -> Row:
        """End the recording, let the rest be delivered, end everything, and count."""
        if self.box is None:
            raise RuntimeError("the scene has no box")
        self.box.kill()
        committed = self.box.committed()
        if drain:
            last = self.start_box(0)
            wait_until(lambda: waiting(self.outbox) == 0, timeout=_DRAIN_S, what=f"delivery after {fault}")
            last.stop()
        self._let_arrive()
        self.close()
        row = counted(fault, times=times, committed=committed, events=self.events(), note=note)
        return row if self.watcher is not None else row.without_copies()

    def _let_arrive(self) -> None:
        """Wait until nothing has come to who watches for two seconds: the broker may still have some."""
        seen, since = -1, time.monotonic()
        while self.watcher is not None and time.monotonic() - since < _QUIET_S:
            if len(self.watcher.arrivals) != seen:
                seen, since = len(self.watcher.arrivals), time.monotonic()
            time.sleep(0.05)

    def close(self) -> None:
        """End everything."""
        if self.surface is not None:
            self.surface.stop()
        if self.watcher is not None:
            self.watcher.close()
        self.proxy.close()
        self.broker.stop()


def waiting(outbox: Path) -> float:
    """Return how many events, and losses to be told, wait in an outbox; inf while it is salvaged."""
    try:
        return asked(
            outbox, "SELECT (SELECT sum(n) FROM tally) + (SELECT count(*) FROM loss WHERE gap_seq IS NULL)"
        )
    except sqlite3.Error:
        return float("inf")


def asked(database: Path, query: str) -> int:
    """Return the one number that `query` gives."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        return int(connection.execute(query).fetchone()[0])
    finally:
        connection.close()
