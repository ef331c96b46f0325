"""A week without a link, replayed at speed: two events a second for seven days, then everything at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.chaos.scene import Scene, asked, waiting
from benchmarks.chaos.table import Row
from benchmarks.rig import order_violations, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, *, rows: int) -> Row:
    """Record `rows` events without a link, then drain them with receipts, the broker killed in the middle."""
    from benchmarks.delivery import record

    scene = Scene(folder, receipts=True)
    record(scene.outbox, rows)
    began = time.monotonic()
    box = scene.start_box(0)
    wait_until(lambda: waiting(scene.outbox) < rows // 2, timeout=1800, what="delivery of the first half")
    scene.broker.kill()
    scene.broker.start()
    wait_until(lambda: waiting(scene.outbox) == 0, timeout=1800, what="delivery of the second half")
    seconds = time.monotonic() - began
    numbers = asked(scene.outbox, "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
    box.stop()
    scene.close()
    events = scene.events()
    got = {event["seq"] for event in events}
    return Row(
        fault="a week's outage replayed, broker killed midway",
        times=1,
        committed=rows,
        received=len(got),
        copies=None,
        lost=sum(number not in got for number in range(1, numbers + 1)),
        order=order_violations(events),
        note=f"({rows:,} of 1,209,600 events; {rows / seconds:,.0f} a second with receipts)",
    )
