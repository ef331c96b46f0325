"""Delivery measured beside its bars: commit to broker, draining a backlog, start-up, alarms under load.

``python3 run.py bench delivery``. Real mosquitto with `max_inflight_messages 100` (its default of 20 is
also the window that it allows a publisher), real SQLite with full synchronisation on the disk of the
temporary folder. By environment:

- `DSR_BENCH_ROWS`: the size of the backlog (default 100,000; 1,200,000 is a week at two events a second).
- `DSR_BENCH_PARTS`: some of ``live,puback,receipts`` (default: all).
- `DSR_BENCH_BACKLOG`: a folder that keeps the recorded backlog, so that it is recorded once only.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog

from benchmarks.processes.box import event_for
from benchmarks.processes.surface import Surface
from benchmarks.rig import Mosquitto, Watcher, free_port, mosquitto_path, order_violations, wait_until
from edge_app.clock import SystemClock, boot_id
from edge_app.delivery.event import EnvelopeContext
from edge_app.delivery.options import BrokerOptions, ConsumerOptions, DeliveryOptions, OutboxOptions
from edge_app.delivery.outbox import Outbox
from edge_app.delivery.service import Delivery
from edge_app.delivery.uuid7 import Uuid7Maker

ROWS: Final = int(os.environ.get("DSR_BENCH_ROWS", "100000"))
PARTS: Final = os.environ.get("DSR_BENCH_PARTS", "live,puback,receipts").split(",")
BACKLOG: Final = os.environ.get("DSR_BENCH_BACKLOG")
#: The bound of the outbox while it records and drains: what a box is shipped with.
MAX_MB: Final = OutboxOptions(path=Path()).max_mb
LIVE: Final = 1000
KEY: Final = "5a" * 32


def main() -> int:
    """Measure all; 0 when every bar holds."""
    if mosquitto_path() is None:
        print("mosquitto is not installed: delivery is not measured")
        return 1
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {"live": live, "puback": puback, "receipts": receipts}
        return max(work(folder / part) for part, work in parts.items() if part in PARTS)


def live(folder: Path) -> int:
    """One event at a time, at irregular moments, link up."""
    folder.mkdir()
    broker = Mosquitto(folder, settings=("max_inflight_messages 100", "max_queued_messages 0")).start()
    watcher = Watcher(broker.port)
    delivery = started(folder, broker.port)
    wait_until(lambda: delivery.status().connected)
    clock, rng, sent = SystemClock(), np.random.default_rng(3), {}
    for number in range(1, LIVE + 1):
        sent[str(delivery.submit(event_for(number, clock)))] = time.monotonic()
        time.sleep(float(rng.exponential(0.01)))
    wait_until(lambda: len(watcher.events()) > LIVE, timeout=30)
    delivery.stop()
    delays = [
        (a.at - sent[a.event["id"]]) * 1e3
        for a in watcher.arrivals
        if a.payload and a.event.get("id") in sent
    ]
    watcher.close()
    broker.stop()
    p50, p99 = np.percentile(delays, [50, 99])
    print(f"live events, submit to an independent subscriber: {len(delays)} events")
    return max(bar("p50, ms", p50, 60.0), bar("p99, ms", p99, 150.0))


def puback(folder: Path) -> int:
    """A recorded backlog, deleted when the broker acknowledges it."""
    folder.mkdir()
    return drain(folder, "drain to PUBACK, events/s", 5000.0)


def receipts(folder: Path) -> int:
    """The same backlog, deleted on receipts of a consumer that commits to its own SQLite."""
    folder.mkdir()
    key = folder / "key"
    key.write_text(KEY, encoding="ascii")
    key.chmod(0o600)
    port = free_port()
    surface = Surface(folder=folder, port=port, key=key)
    consumers = (ConsumerOptions(id="surface", key_file=key),)
    failed = drain(folder, "drain with receipts, events/s", 2500.0, port=port, consumers=consumers)
    surface.stop()
    events = surface.events()
    late = order_violations(events)
    print(f"  stored by the consumer: {len(events):,}, {late} out of order")
    return max(failed, int(late > 0 or len(events) < ROWS))


def drain(folder: Path, what: str, limit: float, *, port: int | None = None, **options: Any) -> int:
    """Start-up with a backlog, the rate at which it drains, and alarms meanwhile."""
    port = port or free_port()
    said = backlog(folder / "outbox.db")
    size = (folder / "outbox.db").stat().st_size
    bounded = f"{size / 1e6:,.0f} of at most {MAX_MB:,} MB"
    print(f"backlog of {ROWS:,} events, {bounded}, {size / ROWS:.0f} bytes each, {said}")
    began = time.monotonic()
    delivery = started(folder, port, **options)
    start = time.monotonic() - began
    settings = ("max_inflight_messages 100", "max_queued_messages 100000")
    broker = Mosquitto(folder, settings=settings, port=port).start()
    back = time.monotonic()
    said = Watcher(port, topic="mine/+/v1/+/rcpt")
    wait_until(lambda: delivery.status().connected, timeout=30)
    began, delivered = time.monotonic(), delivery.status().delivered
    sent, arrived = alarms_meanwhile(delivery, port)
    there = said.arrivals[0].at if said.arrivals else back
    wait_until(lambda: delivery.status().waiting == 0, timeout=1800)
    rate = (delivery.status().delivered - delivered) / (time.monotonic() - began)
    lost = delivery.status().lost
    delivery.stop()
    said.close()
    broker.stop()
    return max(
        bar("start-up with the backlog, s", start, 2.0),
        bar(what, rate, limit, at_least=True),
        alarms(sent, arrived, back=back, there=there),
        bar("given up for want of room", lost, 0),
    )


def alarms(sent: dict[str, float], arrived: dict[str, float], *, back: float, there: float) -> int:
    """Print how long alarms took, all times in monotonic seconds; 0 when the bars hold.

    On a new connection the box holds all alarms but the first until its consumer has answered. So those that
    were submitted before the consumer was `there` tell how late it came after the broker was `back`, and
    what the box takes from then on; only the others tell what the backlog does to an alarm.
    """
    delays = [(arrived[one] - at) * 1e3 for one, at in sent.items() if at >= there]
    held = [(arrived[one] - there) * 1e3 for one, at in sent.items() if at < there]
    missed = bar(f"live alarms meanwhile ({len(delays)}), p99, ms", percentile(delays, 99), 200.0)
    if there > back:
        missed |= bar("the consumer was there after the broker, s", there - back, 1.5)
    if held:
        missed |= bar(f"alarms before that ({len(held)}), last, ms after it", max(*held, 0.0), 200.0)
    return missed


def percentile(delays: list[float], share: float) -> float:
    """Return a percentile; not a number, which holds no bar, where there is no delay."""
    return float(np.percentile(delays, share)) if delays else float("nan")


def alarms_meanwhile(delivery: Delivery, port: int) -> tuple[dict[str, float], dict[str, float]]:
    """Submit alarms while history drains; return when each was submitted and when it first arrived (s)."""
    watcher = Watcher(port, topic="mine/+/v1/+/evt/alarm")
    clock, sent = SystemClock(), {}
    while delivery.status().waiting > ROWS // 10:
        alarm = dataclasses.replace(event_for(50, clock), mono_ns=clock.mono_ns())
        sent[str(delivery.submit(alarm))] = time.monotonic()
        time.sleep(0.1)
    wait_until(lambda: set(sent) <= {e["id"] for e in watcher.events()}, timeout=30)
    arrived: dict[str, float] = {}
    for arrival in watcher.arrivals:  # a copy of one that was sent again is no late alarm
        arrived.setdefault(arrival.event["id"], arrival.at)
    watcher.close()
    return sent, arrived


def started(folder: Path, port: int, **options: Any) -> Delivery:
    """Return a running delivery with the outbox in `folder`, unthrottled."""
    delivery = Delivery(
        options=DeliveryOptions(
            site="north",
            node="box-1",
            outbox=OutboxOptions(path=folder / "outbox.db", max_mb=MAX_MB),
            brokers=(BrokerOptions(host="127.0.0.1", port=port),),
            history_per_s=None,
            reconnect_max_s=0.5,
            **options,
        ),
        context=EnvelopeContext(site="north", node="box-1", boot=boot_id()),
        clock=SystemClock(),
    )
    delivery.start()
    return delivery


def backlog(path: Path) -> str:
    """Lay a backlog of `ROWS` at `path`, recorded now or taken from `BACKLOG`; return how it came about."""
    if BACKLOG is None:
        return f"recorded in {record(path, ROWS):.0f} s"
    kept = Path(BACKLOG) / f"{ROWS}.db"
    said = "recorded before"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        said = f"recorded in {record(kept, ROWS):.0f} s"
    shutil.copyfile(kept, path)
    os.sync()
    return said


def record(path: Path, rows: int) -> float:
    """Commit `rows` sightings straight into the outbox at `path`; return the seconds it took."""
    from edge_app.delivery.event import draft
    from edge_app.delivery.timefix import wall_at

    clock, ids = SystemClock(), Uuid7Maker()
    context = EnvelopeContext(
        site="north", node="box-1", boot=boot_id(), backend="onnxruntime", model_sha="0" * 64
    )
    outbox = Outbox(options=OutboxOptions(path=path, max_mb=MAX_MB))
    wall = wall_at(clock.mono_ns(), clock=clock)
    made = draft(
        event_for(1, clock), event_id=ids.make(ms=1), wall=wall, context=context, now_ns=clock.mono_ns()
    )
    head, tail = made.head.split(str(made.event_id).encode(), 1)
    began = time.monotonic()
    for first in range(0, rows, 2000):
        batch = [ids.make(ms=wall.ms or 0) for _ in range(min(2000, rows - first))]
        outbox.append(
            [dataclasses.replace(made, event_id=i, head=head + str(i).encode() + tail) for i in batch]
        )
    outbox.close()
    return time.monotonic() - began


def bar(what: str, value: float, limit: float, *, at_least: bool = False) -> int:
    """Print one figure beside its bar; 0 when it holds."""
    holds = value >= limit if at_least else value <= limit
    sign = ">=" if at_least else "<="
    print(f"  {what:44} {value:10,.1f}   bar {sign} {limit:,g}   {'ok' if holds else 'MISSED'}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
