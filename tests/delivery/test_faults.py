"""Kills and cuts, counted: whatever was committed arrives, in order, and is told apart by its id."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.proxy import FaultProxy
from benchmarks.rig import BoxProcess, Watcher, free_port, order_violations, wait_until
from edge_app.delivery.options import ConsumerOptions
from edge_app.delivery.receipts import make_receipt
from tests.delivery.consumer import Consumer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.rig import Arrival, Mosquitto
    from edge_app.delivery.service import Delivery
    from edge_app.records import Event

    Broker = Callable[..., Mosquitto]

pytestmark = pytest.mark.mosquitto


@pytest.fixture
def proxy() -> Iterator[Callable[[int], FaultProxy]]:
    """Return a maker of proxies; all are closed at the end."""
    made: list[FaultProxy] = []

    def make(target: int) -> FaultProxy:
        made.append(FaultProxy(target))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Receipter:
    """A consumer that receipts new events in batches over a persistent session."""

    def __init__(self, port: int, key: bytes) -> None:
        self._key = key
        self._waiting: list[str] = []
        self.watcher = Watcher(port, hook=self._got, persistent=True)

    def _got(self, arrival: Arrival) -> None:
        if "/evt/" not in arrival.topic:
            return
        self._waiting.append(arrival.event["id"])
        if len(self._waiting) >= 10 or arrival.replay or arrival.event["priority"] == 0:
            ids, self._waiting = self._waiting, []
            payload = make_receipt(key=self._key, site="north", node="box-1", consumer="surface", ids=ids)
            self.watcher.publish("mine/north/v1/box-1/rcpt", payload, token=arrival.token)


def settled(outbox: Path) -> bool:
    """Return whether nothing waits in the outbox."""
    from edge_app.delivery.database import open_for_reading

    connection = open_for_reading(outbox)
    n = connection.execute("SELECT sum(n) FROM tally").fetchone()[0]
    connection.close()
    return bool(n == 0)


def assert_nothing_lost(events: list[dict[str, Any]], committed: list[str]) -> None:
    """Every committed id arrived, every number is there, and the order within each priority was kept."""
    by_id = {event["id"]: event for event in events}
    assert set() == set(committed) - set(by_id)
    numbers = sorted(event["seq"] for event in by_id.values())
    assert numbers == list(range(1, len(numbers) + 1))
    assert 0 == order_violations(events)


@pytest.mark.slow
def test_twenty_kills_of_the_box_lose_nothing(mosquitto: Broker, tmp_path: Path) -> None:
    """Kill -9 at random moments, 400 events a second: 0 lost, 0 out of order."""
    broker = mosquitto()
    watcher = Watcher(broker.port)
    outbox, ledger = tmp_path / "box.db", tmp_path / "ledger"
    rng = random.Random(7)
    for _ in range(20):
        box = BoxProcess(outbox=outbox, port=broker.port, ledger=ledger, rate=400)
        box.wait_ready()
        time.sleep(rng.uniform(0.05, 0.4))
        box.kill()
    last = BoxProcess(outbox=outbox, port=broker.port, ledger=ledger, rate=0)
    wait_until(lambda: settled(outbox), timeout=20, what="draining")
    last.stop()
    committed = last.committed()
    assert len(committed) > 100
    wait_until(lambda: set(committed) <= {e["id"] for e in watcher.events()}, what="arrival of the rest")
    assert_nothing_lost(watcher.events(), committed)
    watcher.close()


def test_kills_of_the_broker_lose_nothing_with_receipts(
    mosquitto: Broker, tmp_path: Path, key_file: Path
) -> None:
    """The broker forgets everything five times; what has no receipt is sent again: 0 lost, 0 out of order."""
    broker = mosquitto()
    receipter = Receipter(broker.port, bytes.fromhex("ab" * 32))
    outbox, ledger = tmp_path / "box.db", tmp_path / "ledger"
    extra = ("--consumer", f"surface={key_file}")
    box = BoxProcess(outbox=outbox, port=broker.port, ledger=ledger, rate=300, extra=extra)
    rng = random.Random(8)
    for _ in range(5):
        time.sleep(rng.uniform(0.5, 1.5))
        broker.kill()
        broker.start()
    time.sleep(1.5)
    box.kill()
    last = BoxProcess(outbox=outbox, port=broker.port, ledger=ledger, rate=0, extra=extra)
    wait_until(lambda: settled(outbox), timeout=30, what="draining with receipts")
    last.stop()
    assert_nothing_lost(receipter.watcher.events(), last.committed())
    assert len(last.committed()) > 100
    receipter.watcher.close()


def test_link_that_is_cut_in_the_middle_of_packets_loses_nothing(
    mosquitto: Broker, proxy: Callable[[int], FaultProxy], tmp_path: Path
) -> None:
    """The proxy closes every connection after a few kilobytes, in the middle of a packet."""
    broker = mosquitto()
    watcher = Watcher(broker.port)
    way = proxy(broker.port)
    way.cut_after = 20_000
    outbox, ledger = tmp_path / "box.db", tmp_path / "ledger"
    box = BoxProcess(outbox=outbox, port=way.port, ledger=ledger, rate=300)
    time.sleep(5)
    box.kill()
    way.cut_after = None
    last = BoxProcess(outbox=outbox, port=way.port, ledger=ledger, rate=0)
    wait_until(lambda: settled(outbox), timeout=20, what="draining")
    last.stop()
    assert len(last.committed()) > 100
    assert_nothing_lost(watcher.events(), last.committed())
    watcher.close()


@pytest.mark.parametrize("fault", ["stalled", "swallow_down"])
def test_connection_that_only_looks_alive_is_given_up(
    fault: str,
    mosquitto: Broker,
    proxy: Callable[[int], FaultProxy],
    deliver: Callable[..., Delivery],
    event: Callable[..., Event],
) -> None:
    """Half-open, or PUBACKs that never come: noticed by the lack of progress; the event arrives."""
    broker = mosquitto()
    way = proxy(broker.port)
    watcher = Watcher(broker.port)
    delivery = deliver(way.port, puback_timeout_s=1.0)
    wait_until(lambda: delivery.status().connected, what="connection")
    setattr(way, fault, True)
    event_id = str(delivery.submit(event("alarm")))
    wait_until(lambda: "no PUBACK for 1 s" in str(delivery.status().last_error), what="noticing")
    setattr(way, fault, False)
    way.cut()
    wait_until(lambda: delivery.status().waiting == 0, what="delivery")
    wait_until(lambda: event_id in [e["id"] for e in watcher.events()], what="arrival")
    watcher.close()


def test_paused_broker_does_not_stop_the_recording(
    mosquitto: Broker, deliver: Callable[..., Delivery], event: Callable[..., Event]
) -> None:
    """While the broker answers nothing, 2,000 events are committed within seconds; then all arrive."""
    broker = mosquitto()
    watcher = Watcher(broker.port)
    delivery = deliver(broker.port, puback_timeout_s=2.0)
    wait_until(lambda: delivery.status().connected, what="connection")
    broker.pause()
    began = time.monotonic()
    ids = [str(delivery.submit(event("sighting"))) for _ in range(2000)]
    assert delivery.flush(10)
    assert time.monotonic() - began < 5
    broker.resume()
    wait_until(lambda: set(ids) <= {e["id"] for e in watcher.events()}, timeout=20, what="arrival")
    assert 0 == order_violations(watcher.events())
    watcher.close()


def test_history_does_not_delay_a_new_alarm(
    mosquitto: Broker, deliver: Callable[..., Delivery], event: Callable[..., Event]
) -> None:
    """While 4,000 recorded events drain slowly, an alarm arrives within 200 ms of its submission."""
    port = free_port()
    recorder = deliver(port)
    for _ in range(4000):
        recorder.submit(event("sighting"))
    recorder.stop()
    broker = mosquitto(port=port)
    watcher = Watcher(broker.port)
    delivery = deliver(port, history_per_s=1000.0)
    wait_until(lambda: len(watcher.events()) > 100, what="history")
    delays = []
    for _ in range(10):
        began = time.monotonic()
        event_id = str(delivery.submit(event("alarm")))
        wait_until(
            lambda wanted=event_id: wanted in [e["id"] for e in watcher.events() if e["kind"] == "alarm"]
        )  # type: ignore[misc]
        arrival = next(a for a in watcher.arrivals if "/evt/alarm" in a.topic and a.event["id"] == event_id)
        delays.append(arrival.at - began)
    assert delivery.status().waiting > 0, "history was over too soon to prove anything"
    assert sorted(delays)[-2] < 0.2, delays
    watcher.close()


def test_event_that_the_consumer_cannot_store_does_not_stop_those_behind_it(
    mosquitto: Broker,
    deliver: Callable[..., Delivery],
    event: Callable[..., Event],
    key_file: Path,
) -> None:
    """It receipts all but the first sighting: that one is set aside, and the rest arrives in order."""
    broker = mosquitto()
    consumer = Consumer(broker.port)
    delivery = deliver(
        broker.port,
        consumers=(ConsumerOptions(id="surface", key_file=key_file),),
        receipt_timeout_s=0.2,
        reconnect_max_s=0.2,
    )
    wait_until(lambda: delivery.status().connected, what="connection")
    poison = str(delivery.submit(event("sighting")))
    rest = [str(delivery.submit(event("sighting"))) for _ in range(5)]
    told: set[str] = set()

    def sightings() -> list[str]:
        delivery.submit(event("presence"))
        for arrival in list(consumer.watcher.arrivals):
            if (one := arrival.event["id"]) not in told | {poison}:
                told.add(one)
                consumer.receipt([one], token=arrival.token)
        found = [a.event["id"] for a in consumer.watcher.arrivals if a.event["kind"] == "sighting"]
        return list(dict.fromkeys(one for one in found if one != poison))

    wait_until(lambda: sightings() == rest, what="arrival of what is behind it", timeout=60)
    wait_until(lambda: delivery.status().parked == 1, what="parking")
    consumer.watcher.close()


def test_two_receipting_consumers_are_both_waited_for(
    mosquitto: Broker,
    deliver: Callable[..., Delivery],
    event: Callable[..., Event],
    key_file: Path,
    tmp_path: Path,
) -> None:
    """The event stays until the second has receipted it, too."""
    other = tmp_path / "other.key"
    other.write_text("cd" * 32, encoding="ascii")
    other.chmod(0o600)
    broker = mosquitto()
    watcher = Watcher(broker.port)
    consumers = (
        ConsumerOptions(id="surface", key_file=key_file),
        ConsumerOptions(id="scada", key_file=other),
    )
    delivery = deliver(broker.port, consumers=consumers, receipt_timeout_s=60.0)
    wait_until(lambda: delivery.status().connected, what="connection")
    delivery.submit(event("test"))
    wait_until(lambda: any(e["kind"] == "test" for e in watcher.events()), what="arrival")
    time.sleep(0.6)
    ids = [e["id"] for e in watcher.events()]
    for consumer, key, left in (("surface", "ab", len(ids)), ("scada", "cd", 0)):
        receipt = make_receipt(
            key=bytes.fromhex(key * 32), site="north", node="box-1", consumer=consumer, ids=ids
        )
        watcher.publish("mine/north/v1/box-1/rcpt", receipt)
        time.sleep(0.7)
        assert left == delivery.status().waiting
    watcher.close()
