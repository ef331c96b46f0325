"""The consumer's connection: how soon it is back, and whom it spares."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import structlog

from benchmarks.rig import Mosquitto, Watcher, free_port, wait_until
from edge_app.clock import SystemClock, boot_id
from edge_app.delivery.event import EnvelopeContext
from edge_app.delivery.options import BrokerOptions, ConsumerOptions, DeliveryOptions, OutboxOptions
from edge_app.delivery.service import Delivery
from edge_app.records import Event
from surface.consumer import Consumer
from surface.link import ConsumerSettings, _is_absence, pause_s
from surface.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from pathlib import Path
    from typing import Any

#: After the fourth attempt in vain the pauses are at their longest.
_ATTEMPTS = 4
_ALARMS = 5


@contextmanager
def consuming(folder: Path, port: int, where: str | None = None, **more: Any) -> Iterator[Consumer]:
    """Run a consumer in a thread, its store in the folder or `where`."""
    store = open_store(where or str(folder / "surface.db"))
    told = ConsumerSettings(
        host="127.0.0.1", port=port, consumer="surface", site="+", keys={"*": b"\xab" * 32}, **more
    )
    consumer = Consumer(settings=told, store=store)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        yield consumer
    finally:
        consumer.stop()
        thread.join(20)
        store.close()


@contextmanager
def serving(folder: Path, port: int, *settings: str) -> Iterator[Mosquitto]:
    """Run a broker."""
    broker = Mosquitto(folder, port=port, settings=settings).start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def watching(port: int) -> Iterator[Watcher]:
    """Run an independent subscriber of alarms."""
    watcher = Watcher(port, topic="mine/+/v1/+/evt/alarm")
    try:
        yield watcher
    finally:
        watcher.close()


@contextmanager
def box(folder: Path, port: int, key: Path) -> Iterator[Delivery]:
    """Run a box's delivery that waits for the receipts of ``surface``."""
    delivery = Delivery(
        options=DeliveryOptions(
            site="north",
            node="box-07",
            outbox=OutboxOptions(path=folder / "outbox.db"),
            brokers=(BrokerOptions(host="127.0.0.1", port=port),),
            consumers=(ConsumerOptions(id="surface", key_file=key),),
        ),
        context=EnvelopeContext(site="north", node="box-07", boot=boot_id()),
        clock=SystemClock(),
    )
    delivery.start()
    try:
        yield delivery
    finally:
        delivery.stop()


def vain(lines: list[MutableMapping[str, Any]]) -> int:
    """Return how many attempts ended without a connection."""
    return len([one for one in lines if one["event"] == "link_down"])


def alarm(number: int) -> Event:
    """Return an alarm."""
    now = SystemClock().mono_ns()
    data = {"reason": "overstaffed", "alarm": {"id": f"a{number}", "state": "active", "since_ns": now}}
    return Event(kind="alarm", mono_ns=now, zone="z1", data=data)


@pytest.mark.mosquitto
def test_alarms_go_out_soon_after_the_broker_is_back(tmp_path: Path, key: Path) -> None:
    """A box holds all but the first until the consumer has answered, so it must not sleep for long."""
    port = free_port()
    with structlog.testing.capture_logs() as lines, consuming(tmp_path, port):
        wait_until(lambda: vain(lines) >= _ATTEMPTS, timeout=20, what="attempts in vain")
        with serving(tmp_path, port), watching(port) as watcher, box(tmp_path, port, key) as delivery:
            for number in range(_ALARMS):
                delivery.submit(alarm(number))
            waited = wait_until(
                lambda: len({event["id"] for event in watcher.events()}) == _ALARMS, what="all alarms"
            )
    assert waited <= 1.8


def test_nobody_there_is_tried_every_second() -> None:
    """A broker may be back at any moment, and boxes hold their alarms until we are."""
    assert [0.2, 0.4, 0.8, 1.0, 1.0] == [pause_s(attempt, answered=False) for attempt in range(5)]
    assert 1.0 == pause_s(10_000, answered=False)


def test_a_broker_that_refuses_is_spared() -> None:
    """A wrong password fills its log, and two with one client id would throw each other out for ever."""
    assert [0.8, 1.6, 3.2, 5.0] == [pause_s(attempt, answered=True) for attempt in range(2, 6)]
    assert 5.0 == pause_s(10_000, answered=True)


@pytest.mark.mosquitto
def test_a_wrong_password_is_an_answer(tmp_path: Path) -> None:
    """It is asked more and more rarely: four pauses of its own take six seconds, of an absent one three."""
    port = free_port()
    with (
        serving(tmp_path, port, "allow_anonymous false"),
        structlog.testing.capture_logs() as lines,
        consuming(tmp_path, port),
    ):
        waited = wait_until(lambda: vain(lines) > _ATTEMPTS, timeout=20, what="attempts in vain")
    assert waited >= 0.4 + 0.8 + 1.6 + 3.2 - 0.1


def test_a_failed_handshake_is_an_answer_and_a_refused_port_is_none() -> None:
    """What cannot be believed now will hardly be in a second; who is not there may be."""
    assert not _is_absence(ssl.SSLCertVerificationError("expired"))
    assert not _is_absence(ValueError("a packet that is none"))
    assert _is_absence(ConnectionRefusedError())
    assert _is_absence(TimeoutError())
