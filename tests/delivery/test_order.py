"""Order within a priority, when a broker is killed and forgets what it had acknowledged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from benchmarks.rig import Watcher, order_violations, wait_until
from edge_app.delivery.options import ConsumerOptions
from tests.delivery.consumer import EVENTS, Consumer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.rig import Mosquitto
    from edge_app.delivery.service import Delivery
    from edge_app.records import Event

    Broker = Callable[..., Mosquitto]
    Deliver = Callable[..., Delivery]
    Events = Callable[..., Event]

pytestmark = pytest.mark.mosquitto


def test_every_connection_marks_its_events_with_another_token(
    mosquitto: Broker, deliver: Deliver, event: Events, key_file: Path
) -> None:
    """The correlation data is the same within a connection and new on the next; the body is not touched."""
    broker = mosquitto()
    watcher = Watcher(broker.port, topic=EVENTS)
    delivery = deliver(broker.port, consumers=(ConsumerOptions(id="surface", key_file=key_file),))
    delivery.submit(event("test"))
    delivery.submit(event("sighting"))
    wait_until(lambda: {"test", "sighting"} <= {e["kind"] for e in watcher.events()}, what="arrival")
    first = {a.token for a in watcher.arrivals}
    delivery.stop()
    seen = len(watcher.arrivals)
    deliver(broker.port, consumers=(ConsumerOptions(id="surface", key_file=key_file),))
    wait_until(lambda: len(watcher.arrivals) >= seen + 2, what="redelivery")
    second = {a.token for a in watcher.arrivals[seen:]}
    assert (1, 1, set()) == (len(first), len(second), first & second)
    assert None not in first | second
    bodies = {(a.event["id"], a.payload) for a in watcher.arrivals}
    assert len({one for one, _ in bodies}) == len(bodies)
    watcher.close()


def test_receipt_sent_again_before_subscribing_lets_nothing_overtake(
    mosquitto: Broker, deliver: Deliver, event: Events, key_file: Path
) -> None:
    """Client libraries repeat unacknowledged publishes on reconnect: that deletes, it proves no presence."""
    broker = mosquitto()
    consumer = Consumer(broker.port)
    delivery = deliver(
        broker.port, consumers=(ConsumerOptions(id="surface", key_file=key_file),), receipt_timeout_s=30.0
    )
    delivery.submit(event("test"))
    wait_until(lambda: consumer.tests() != [], what="the first event")
    first = next(a for a in consumer.watcher.arrivals if a.event["kind"] == "test")
    broker.kill()
    consumer.watcher.close()
    for _ in range(4):
        delivery.submit(event("test"))
    broker.start()
    wait_until(lambda: delivery.status().connected and delivery.status().connects == 2, what="reconnection")
    stranger = Watcher(broker.port, topic="nothing")
    waiting = delivery.status().waiting
    consumer.receipt([first.event["id"]], token=first.token, by=stranger)
    wait_until(lambda: delivery.status().waiting < waiting, what="deletion")
    time.sleep(0.5)  # what the box sends now reaches nobody
    late = Consumer(broker.port, at_once=True)
    delivery.submit(event("test"))
    late.receipt([])
    wait_until(lambda: delivery.status().waiting == 0, what="delivery of the rest")
    assert 0 == order_violations(late.watcher.events())
    assert sorted(late.tests()) == late.tests()
    assert 5 == len(late.tests())
    stranger.close()
    late.watcher.close()


def test_consumer_that_is_back_later_than_another_misses_nothing_in_between(
    mosquitto: Broker, deliver: Deliver, event: Events, key_file: Path, tmp_path: Path
) -> None:
    """One of two required consumers has subscribed again: the lanes stay narrow until both have answered."""
    other = tmp_path / "other.key"
    other.write_text("cd" * 32, encoding="ascii")
    other.chmod(0o600)
    consumers = (
        ConsumerOptions(id="surface", key_file=key_file),
        ConsumerOptions(id="scada", key_file=other),
    )
    broker = mosquitto()
    slow = Consumer(broker.port, name="scada", key="cd")
    quick = Consumer(broker.port, at_once=True)
    delivery = deliver(broker.port, consumers=consumers, receipt_timeout_s=30.0)
    delivery.submit(event("test"))
    wait_until(lambda: slow.tests() != [], what="the first event")
    first = next(a for a in slow.watcher.arrivals if a.event["kind"] == "test")
    broker.kill()
    quick.watcher.close()
    slow.watcher.close()
    for _ in range(4):
        delivery.submit(event("test"))
    broker.start()
    quick = Consumer(broker.port, at_once=True)
    wait_until(lambda: delivery.status().connects == 2 and delivery.status().connected, what="reconnection")
    quick.receipt([])
    slow.receipt([first.event["id"]], token=first.token, by=quick.watcher)  # its library's repetition
    time.sleep(0.7)
    slow = Consumer(broker.port, name="scada", key="cd", at_once=True)
    delivery.submit(event("test"))
    slow.receipt([])
    wait_until(lambda: delivery.status().waiting == 0, what="delivery of the rest")
    for one in (quick, slow):
        assert 0 == order_violations(one.watcher.events())
        assert sorted(one.tests()) == one.tests()
        one.watcher.close()


def test_consumer_without_correlation_data_is_believed(
    mosquitto: Broker, deliver: Deliver, event: Events, key_file: Path
) -> None:
    """MQTT 3.1.1 has none: such a consumer vouches that it receipts on its subscribed connection only."""
    broker = mosquitto()
    consumer = Consumer(broker.port)
    delivery = deliver(
        broker.port, consumers=(ConsumerOptions(id="surface", key_file=key_file),), receipt_timeout_s=30.0
    )
    for _ in range(20):
        delivery.submit(event("test"))
    wait_until(lambda: consumer.tests() != [], what="the first event")
    time.sleep(0.3)
    assert 1 == len(consumer.tests())
    consumer.receipt([e["id"] for e in consumer.watcher.events()])
    wait_until(lambda: len(consumer.tests()) == 20, what="the window")
    consumer.watcher.close()


def test_standing_alarms_do_not_wait_for_an_absent_consumer(
    mosquitto: Broker, deliver: Deliver, event: Events, key_file: Path
) -> None:
    """Their events do, for the order's sake: one goes out, the others when the consumer has receipted it."""
    broker = mosquitto()
    consumer = Consumer(broker.port)
    events = consumer.watcher.events
    standing = Watcher(broker.port, topic="mine/+/v1/+/alarms/#")
    delivery = deliver(
        broker.port, consumers=(ConsumerOptions(id="surface", key_file=key_file),), receipt_timeout_s=30.0
    )
    names = [f"overstaffed.z{number}" for number in range(5)]
    for name in names:
        delivery.submit(event("alarm", alarm={"id": name, "state": "active", "since_ns": 5}))
    wait_until(lambda: len(standing.arrivals) == len(names), what="every standing alarm")
    assert names == [arrival.event["alarm"]["id"] for arrival in standing.arrivals]
    time.sleep(0.3)
    assert names[:1] == [e["alarm"]["id"] for e in events() if e["kind"] == "alarm"]
    consumer.receipt([e["id"] for e in events()])
    wait_until(lambda: len([e for e in events() if e["kind"] == "alarm"]) == len(names), what="their events")
    assert 0 == order_violations(events())
    consumer.watcher.close()
    standing.close()
