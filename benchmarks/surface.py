"""The surface measured beside its bars: how fast it stores and receipts, alone and shared, in both databases.

``python3 run.py bench surface``. Real mosquitto, real PostgreSQL (`initdb`'s own settings but for 16 MB of
buffers; `fsync` on) and SQLite with full synchronisation, both on the disk of the temporary folder.
`DSR_BENCH_ROWS` is the size of the backlog (default 30,000).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import structlog

from benchmarks.delivery import bar, record, started
from benchmarks.postgres import Postgres, postgres_folder
from benchmarks.processes.surface import Surface
from benchmarks.rig import Mosquitto, free_port, mosquitto_path, wait_until
from edge_app.delivery.event import KINDS
from edge_app.delivery.options import ConsumerOptions
from surface.store import Arrived, open_store

ROWS: Final = int(os.environ.get("DSR_BENCH_ROWS", "30000"))
_BATCH: Final = 500
_WANTED: Final = 2500.0


def main() -> int:
    """Measure all; 0 when every bar holds."""
    if mosquitto_path() is None or postgres_folder() is None:
        print("mosquitto or PostgreSQL is not installed: the surface is not measured")
        return 1
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    server = Postgres().start()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            missed = store(str(folder / "store.db"), "SQLite") + store(server.new_database(), "PostgreSQL")
            record(folder / "backlog.db", ROWS)
            missed += drain(folder, "SQLite, one consumer", str(folder / "one.db"), ())
            missed += drain(folder, "PostgreSQL, one consumer", server.new_database(), ())
            missed += drain(folder, "PostgreSQL, three consumers", server.new_database(), "abc")
            missed += drain(folder, "PostgreSQL, three, one killed", server.new_database(), "abc", kill=True)
            return min(missed, 1)
    finally:
        server.close()


def store(where: str, what: str) -> int:
    """Commit events in batches, without a broker."""
    with closing(open_store(where)) as opened:
        began = time.monotonic()
        for first in range(1, ROWS, _BATCH):
            opened.add([_event(seq) for seq in range(first, first + _BATCH)])
        return bar(f"{what}: stored, events/s", ROWS / (time.monotonic() - began), _WANTED, at_least=True)


def _event(seq: int) -> Arrived:
    example = KINDS["sighting"].example
    fields = {**example, "seq": seq, "id": f"0197c1e4-9d21-7c3a-8f21-{seq:012x}"}
    return Arrived(example["site"], example["node"], fields, json.dumps(fields).encode(), 1)


def drain(folder: Path, what: str, where: str, names: str | tuple[str, ...], *, kill: bool = False) -> int:
    """Drain a box's backlog into consumers that share it, one of them killed for good on the way."""
    here = folder / what.replace(" ", "-")
    here.mkdir()
    key = here / "key"
    key.write_text("5a" * 32, encoding="ascii")
    key.chmod(0o600)
    (here / "outbox.db").write_bytes((folder / "backlog.db").read_bytes())
    port = free_port()
    delivery = started(here, port, consumers=(ConsumerOptions(id="surface", key_file=key),))
    settings = ("max_inflight_messages 100", "max_queued_messages 100000")
    broker = Mosquitto(here, settings=settings, port=port).start()
    members = []
    for name in names or ("",):
        (here / f"member{name}").mkdir()
        extra = ("--share", name) if name else ()
        members.append(Surface(folder=here / f"member{name}", port=port, key=key, where=where, extra=extra))
    wait_until(lambda: delivery.status().connected, timeout=60)
    wait_until(lambda: delivery.status().delivered > 0, timeout=60, what="the first receipt")
    began, before = time.monotonic(), delivery.status().delivered
    if kill:
        wait_until(lambda: delivery.status().waiting < ROWS // 2, timeout=600)
        members.pop().kill()
    wait_until(lambda: delivery.status().waiting == 0, timeout=600, what="draining")
    rate = (delivery.status().delivered - before) / (time.monotonic() - began)
    delivery.stop()
    for member in members:
        member.stop()
    broker.stop()
    with closing(open_store(where)) as opened:
        stored, missing = sum(opened.counts().values()), len(opened.missing())
        late = sum(box.late for box in opened.events_by_box().values())
    share = ", ".join(f"{member.stored():,}" for member in members)
    print(f"  stored {stored:,} of {ROWS:,} ({share}), {missing} holes, {late:,} out of order")
    missed = bar(f"{what}: drained, events/s", rate, _WANTED, at_least=True)
    return missed + int(stored < ROWS or missing > 0)


if __name__ == "__main__":
    sys.exit(main())
