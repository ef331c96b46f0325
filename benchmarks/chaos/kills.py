"""Random kills of box, broker and consumer, and a link that is cut, stalled and robbed of its answers.

A real box process, through a proxy that breaks the link, to a real mosquitto that keeps nothing when it is
killed, to the reference consumer that receipts: several such lines side by side, because most of the time
of a kill is waiting. In the end everything is let run, and the books are compared: what the boxes said
was committed, and what the consumers have.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.chaos.scene import BROKER, asked, waiting
from benchmarks.chaos.table import Row
from benchmarks.processes.surface import Surface
from benchmarks.proxy import FaultProxy
from benchmarks.rig import BoxProcess, Mosquitto, violations, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: How often each fault is chosen, relative to the others. The first three are the kills that are counted.
FAULTS: Final = {
    "box": 4,
    "broker": 3,
    "consumer": 3,
    "link cut": 1,
    "link stalled": 1,
    "answers lost": 1,
}
KILLS: Final = ("box", "broker", "consumer")
#: Now and then it is quiet for so long that a backlog drains: what is killed then has much under way.
_CALM: Final = 0.1


@dataclass(frozen=True)
class Books:
    """What was counted on one line. `lost` are committed ids that the consumer does not have."""

    faults: Counter[str]
    seconds: float
    committed: int
    numbers: int
    stored: int
    before_the_end: int
    lost: int
    holes: int
    twice: int
    out_of_order: list[tuple[str, int, int, int]]

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(self.faults[what] for what in KILLS)


class Line:
    """One box, one broker behind a proxy, one consumer, in a folder; `seed` makes it repeatable."""

    def __init__(self, folder: Path, *, rate: float, seed: int) -> None:
        folder.mkdir()
        self._folder, self._rate = folder, rate
        self._rng = random.Random(seed)  # noqa: S311 - a seed makes it repeatable
        self._key = folder / "key"
        self._key.write_text("7e" * 32, encoding="ascii")
        self._key.chmod(0o600)
        self._broker = Mosquitto(folder, settings=BROKER).start()
        self._proxy = FaultProxy(self._broker.port)
        self._surface = Surface(folder=folder, port=self._broker.port, key=self._key)
        self._box = self._new_box(rate)
        self.faults: Counter[str] = Counter()

    def _new_box(self, rate: float) -> BoxProcess:
        return BoxProcess(
            outbox=self._folder / "box.db",
            port=self._proxy.port,
            ledger=self._folder / "ledger",
            rate=rate,
            extra=("--consumer", f"surface={self._key}"),
        )

    def run(self, kills: int, tick: Callable[[], None]) -> Books:
        """Kill `kills` processes, and break the link in between; return the books."""
        began, rng = time.monotonic(), self._rng
        self._box.wait_ready()
        while sum(self.faults[what] for what in KILLS) < kills:
            time.sleep(rng.uniform(2.0, 4.0) if rng.random() < _CALM else rng.expovariate(2.0))
            fault = rng.choices(list(FAULTS), weights=list(FAULTS.values()))[0]
            self.faults[fault] += 1
            self._break(fault)
            tick()
        self._box.kill()
        self._box = self._new_box(0)
        stored = len(self._surface.ids())
        wait_until(lambda: waiting(self._folder / "box.db") == 0, timeout=1800, what="delivery of the rest")
        self._box.stop()
        self._surface.stop()
        self._proxy.close()
        self._broker.stop()
        return self._books(stored, time.monotonic() - began)

    def _break(self, fault: str) -> None:
        if fault == "box":
            self._box.kill()
            self._box = self._new_box(self._rate)
        elif fault == "broker":
            self._broker.kill()
            time.sleep(self._rng.uniform(0, 0.3))
            self._broker.start()
        elif fault == "consumer":
            self._surface.kill()
            time.sleep(self._rng.uniform(0, 0.3))
            self._surface.start()
        elif fault == "link cut":
            self._proxy.cut()
        else:
            self._silence("stalled" if fault == "link stalled" else "swallow_down")

    def _silence(self, name: str) -> None:
        setattr(self._proxy, name, True)
        time.sleep(self._rng.uniform(0.2, 1.0))
        setattr(self._proxy, name, False)
        if name == "swallow_down":
            self._proxy.cut()  # bytes are missing from the stream: no TCP connection could go on

    def _books(self, before_the_end: int, seconds: float) -> Books:
        numbers = asked(self._folder / "box.db", "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
        events = self._surface.events()
        ids = [event["id"] for event in events]
        committed = set(self._box.committed())
        present = {event["seq"] for event in events}
        return Books(
            faults=self.faults,
            seconds=seconds,
            committed=len(committed),
            numbers=numbers,
            stored=len(ids),
            before_the_end=before_the_end,
            lost=len(committed - set(ids)),
            holes=sum(number not in present for number in range(1, numbers + 1)),
            twice=len(ids) - len(set(ids)),
            out_of_order=violations(events),
        )


def run(
    folder: Path, *, kills: int, rate: float, seed: int, lines: int, say: Callable[[str], None]
) -> list[Row]:
    """Kill `kills` processes on `lines` lines, each at `rate` events a second; return the rows."""
    done, began, gate = Counter[str](), time.monotonic(), threading.Lock()

    def tick() -> None:
        with gate:
            done["faults"] += 1
            if done["faults"] % 100 == 0:
                say(f"{done['faults']} faults in {time.monotonic() - began:.0f} s")

    made = [Line(folder / f"line{n}", rate=rate, seed=seed + n) for n in range(lines)]
    shares = [kills // lines + (n < kills % lines) for n in range(lines)]
    with ThreadPoolExecutor(lines) as pool:
        books = list(pool.map(lambda pair: pair[0].run(pair[1], tick), zip(made, shares, strict=True)))
    return [_row(books)]


def _row(books: list[Books]) -> Row:
    faults = sum((one.faults for one in books), Counter[str]())
    named = ", ".join(f"{faults[name]} {name}" for name in FAULTS if faults[name])
    lost = sum(one.lost + one.holes for one in books)
    stored = sum(one.stored for one in books)
    early = sum(one.before_the_end for one in books)
    late = [one for book in books for one in book.out_of_order]
    for node, priority, seq, after in late[:10]:
        print(f"  {node}: {seq} of priority {priority} came after {after}")
    seconds = max(one.seconds for one in books)
    return Row(
        fault="random kills of box, broker, consumer",
        times=sum(one.kills for one in books),
        committed=sum(one.committed for one in books),
        received=stored,
        copies=sum(one.twice for one in books),
        lost=lost,
        order=len(late),
        note=f"({named}; {early / max(1, stored):.0%} stored before the last fault; {seconds:.0f} s)",
    )
