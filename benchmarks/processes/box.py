"""A box without cameras, for killing: real delivery, events at a rate, and a ledger of what was committed."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from edge_app.clock import SystemClock, boot_id
from edge_app.delivery.event import EnvelopeContext
from edge_app.delivery.options import (
    BrokerOptions,
    CheckDates,
    ConsumerOptions,
    DeliveryOptions,
    OutboxOptions,
    TlsOptions,
)
from edge_app.delivery.service import Delivery
from edge_app.records import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEP = 500


def event_for(number: int, clock: SystemClock) -> Event:
    """Return the `number`-th event: mostly sightings, some presence, now and then an alarm."""
    now = clock.mono_ns()
    if number % 50 == 0:
        alarm = {
            "id": f"overstaffed.z{number % 3}",
            "state": "active" if number % 100 else "cleared",
            "since_ns": now,
        }
        return Event(kind="alarm", mono_ns=now, zone="z1", data={"reason": "overstaffed", "alarm": alarm})
    if number % 10 == 0:
        data: dict[str, Any] = {
            "person_ref": "card-1",
            "track": f"t{number}",
            "change": "entered",
            "headcount": 1,
        }
        return Event(kind="presence", mono_ns=now, camera="cam1", zone="z1", data=data)
    data = {
        "track": f"t{number}",
        "decision": "named",
        "person_ref": "card-1",
        "score": 0.7,
        "threshold": 0.4,
        "quality": 0.8,
        "votes": 3,
        "revised": 0,
        "final": False,
        "first_seen_ns": now,
    }
    return Event(kind="sighting", mono_ns=now, camera="cam1", zone="z1", data=data)


def options_from(args: argparse.Namespace) -> DeliveryOptions:
    """Return delivery's options from the command line."""
    consumers = tuple(
        ConsumerOptions(id=name, key_file=Path(path))
        for name, path in (pair.split("=", 1) for pair in args.consumer)
    )
    tls = None if args.ca is None else TlsOptions(ca_file=args.ca, check_dates=CheckDates(args.check_dates))
    return DeliveryOptions(
        site="north",
        node=args.node,
        outbox=OutboxOptions(path=args.outbox, max_mb=args.max_mb),
        brokers=(BrokerOptions(host=args.host, port=args.port, tls=tls),),
        consumers=consumers,
        history_per_s=None,
        reconnect_max_s=1.0,
        connect_timeout_s=2.0,
        puback_timeout_s=args.puback_timeout,
        receipt_timeout_s=2.0,
        keepalive_s=5,
    )


def main(words: Sequence[str] | None = None) -> None:
    """Run until SIGTERM (in order) or SIGKILL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outbox", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--ca", type=Path, help="switches TLS on")
    parser.add_argument("--check-dates", default="always")
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--count", type=int, default=0, help="stop submitting after so many (0: never)")
    parser.add_argument("--node", default="box-1")
    parser.add_argument("--max-mb", type=int, default=512)
    parser.add_argument("--puback-timeout", type=float, default=3.0)
    parser.add_argument("--consumer", action="append", default=[], metavar="ID=KEYFILE")
    args = parser.parse_args(words)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    clock = SystemClock()
    context = EnvelopeContext(site="north", node=args.node, boot=boot_id())
    delivery = Delivery(options=options_from(args), context=context, clock=clock)
    delivery.start()
    submit_all(delivery, clock, args, stopping)
    stopping.wait()
    delivery.stop()


def submit_all(
    delivery: Delivery, clock: SystemClock, args: argparse.Namespace, stopping: threading.Event
) -> None:
    """Submit at the rate in steps of 20 ms; note what is committed, with a write that survives a kill."""
    ledger = os.open(args.ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    began, number = time.monotonic(), 0
    print("ready", flush=True)
    while not stopping.is_set() and not (args.count and number >= args.count):
        due = int((time.monotonic() - began) * args.rate)
        ids: list[str] = []
        while number < due and len(ids) < _STEP and not (args.count and number >= args.count):
            number += 1
            ids.append(str(delivery.submit(event_for(number, clock))))
        if ids and delivery.flush(30.0):
            os.write(ledger, "".join(f"{one}\n" for one in ids).encode("ascii"))
        stopping.wait(0.02)
    os.close(ledger)


if __name__ == "__main__":
    main()
