"""Random kills of box, broker and consumer, and a link that is cut, stalled and robbed of its answers.

A real box process, through a proxy that breaks the link, to a real mosquitto that keeps nothing when it is
killed, to the reference consumer that receipts. In the end everything is let run, and the books are
compared: what the box said was committed, and what the consumer has.
"""

from __future__ import annotations

import random
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.processes.surface import Surface
from benchmarks.rig import BoxProcess, FaultProxy, Mosquitto, order_violations, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: How often each fault is chosen, relative to the others.
FAULTS: Final = {
    "box killed": 4,
    "broker killed": 3,
    "consumer killed": 3,
    "link cut": 2,
    "link stalled": 1,
    "answers lost": 1,
}
_BROKER: Final = ("max_queued_messages 100000", "max_inflight_messages 100")


@dataclass(frozen=True)
class Books:
    """What was counted. `lost` are committed ids that the consumer does not have and no gap explains."""

    faults: dict[str, int]
    seconds: float
    committed: int
    numbers: int
    stored: int
    lost: int
    holes: int
    twice: int
    out_of_order: int

    @property
    def clean(self) -> bool:
        """Whether the promise held."""
        return (self.lost, self.holes, self.twice, self.out_of_order) == (0, 0, 0, 0)


def run(folder: Path, *, kills: int, rate: float, seed: int, say: Callable[[str], None]) -> Books:
    """Break `kills` things while the box records `rate` events a second; return the books."""
    rng = random.Random(seed)  # noqa: S311 - a seed makes it repeatable
    key = folder / "key"
    key.write_text("7e" * 32, encoding="ascii")
    key.chmod(0o600)
    broker = Mosquitto(folder, settings=_BROKER).start()
    proxy = FaultProxy(broker.port)
    surface = Surface(folder=folder, port=broker.port, key=key)
    done = dict.fromkeys(FAULTS, 0)
    began = time.monotonic()

    def new_box(speed: float) -> BoxProcess:
        return BoxProcess(
            outbox=folder / "box.db",
            port=proxy.port,
            ledger=folder / "ledger",
            rate=speed,
            extra=("--consumer", f"surface={key}"),
        )

    box = new_box(rate)
    box.wait_ready()
    for number in range(1, kills + 1):
        time.sleep(rng.uniform(0.05, 0.7))
        fault = rng.choices(list(FAULTS), weights=list(FAULTS.values()))[0]
        done[fault] += 1
        if fault == "box killed":
            box.kill()
            box = new_box(rate)
            box.wait_ready()
        elif fault == "broker killed":
            broker.kill()
            time.sleep(rng.uniform(0, 0.3))
            broker.start()
        elif fault == "consumer killed":
            surface.kill()
            time.sleep(rng.uniform(0, 0.3))
            surface.start()
        else:
            _break_link(proxy, fault, rng)
        if number % 50 == 0:
            say(f"{number} of {kills} faults, {len(box.committed()):,} events committed")
    box.kill()
    box = new_box(0)
    wait_until(lambda: _waiting(folder / "box.db") == 0, timeout=1800, what="delivery of the rest")
    box.stop()
    surface.stop()
    proxy.close()
    broker.stop()
    return _books(folder, box, surface, done, time.monotonic() - began)


def _break_link(proxy: FaultProxy, fault: str, rng: random.Random) -> None:
    if fault == "link cut":
        proxy.cut()
        return
    name = "stalled" if fault == "link stalled" else "swallow_down"
    setattr(proxy, name, True)
    time.sleep(rng.uniform(0.2, 1.0))
    setattr(proxy, name, False)
    if name == "swallow_down":
        proxy.cut()  # bytes are missing from the stream: no TCP connection could go on


def _waiting(outbox: Path) -> int:
    connection = sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT sum(n) FROM tally").fetchone()[0])
    finally:
        connection.close()


def _books(folder: Path, box: BoxProcess, surface: Surface, done: dict[str, int], seconds: float) -> Books:
    connection = sqlite3.connect(f"file:{folder / 'box.db'}?mode=ro", uri=True)
    numbers = int(connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()[0])
    connection.close()
    events = surface.events()
    ids = [event["id"] for event in events]
    committed = set(box.committed())
    present = {event["seq"] for event in events}
    return Books(
        faults=done,
        seconds=seconds,
        committed=len(committed),
        numbers=numbers,
        stored=len(ids),
        lost=len(committed - set(ids)),
        holes=sum(number not in present for number in range(1, numbers + 1)),
        twice=len(ids) - len(set(ids)),
        out_of_order=order_violations(events),
    )
