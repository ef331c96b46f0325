"""Readings of positioning cards: what is taken, what is refused, and that nothing hostile harms the link."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from benchmarks.rig import Watcher, wait_until
from edge_app.delivery.cards import MAX_READINGS, CardIntake, CardsRefused, read_cards, schema
from edge_app.delivery.topics import Topics
from edge_app.records import CardReading

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.rig import Mosquitto
    from edge_app.delivery.service import Delivery
    from tests.clocks import StoppedClock

S = 1_000_000_000


def message(*readings: object, **changes: object) -> bytes:
    """Return a message with these readings."""
    return json.dumps({"v": 1, "readings": list(readings), **changes}).encode()


def test_reading_with_everything_and_one_with_the_least() -> None:
    """Dated by the box's clock less its age; the card's number is the owner unless one is given."""
    full = {
        "card": "C9", "zone": "z1", "reader": "R7", "person_ref": "40017", "state": "gone", "age_ms": 1500
    }  # fmt: skip
    expected = (
        CardReading("C9", "40017", "z1", 8_500_000_000, reader="R7", gone=True),
        CardReading("C1", "C1", "z1", 10 * S),
    )
    assert expected == read_cards(message(full, {"card": "C1", "zone": "z1"}), now_ns=10 * S)


def test_no_readings_say_that_the_line_is_alive() -> None:
    """An empty list is a message like any other."""
    assert () == read_cards(message(), now_ns=1)


def test_examples_of_the_schema_are_read_and_a_full_validator_agrees() -> None:
    """The schema is one of JSON Schema, and its examples are what the box takes."""
    Draft202012Validator.check_schema(dict(schema()))
    for example in schema()["examples"]:
        Draft202012Validator(dict(schema())).validate(example)
        assert len(example["readings"]) == len(read_cards(json.dumps(example).encode(), now_ns=0))


GOOD: dict[str, Any] = {"card": "C1", "zone": "z1"}
HOSTILE = {
    "empty": b"",
    "not json": b"{",
    "not utf-8": b"\xff\xfe",
    "nothing": b"null",
    "a list": b"[]",
    "deep": b"[" * 20_000,
    "no readings": b'{"v": 1}',
    "readings of another type": b'{"v": 1, "readings": {"card": "C1"}}',
    "another version": message(GOOD, v=2),
    "true is not one": message(GOOD, v=True),
    "a further field": message(GOOD, more=1),
    "a reading with a further field": message({**GOOD, "name": "A. Miner"}),
    "no zone": message({"card": "C1"}),
    "a card that is a wildcard": message({**GOOD, "card": "#"}),
    "a card with a slash": message({**GOOD, "card": "a/b"}),
    "a card with a line feed": message({**GOOD, "card": "C1\n"}),
    "a card of 33 characters": message({**GOOD, "card": "c" * 33}),
    "a card that is a number": message({**GOOD, "card": 40017}),
    "an unknown state": message({**GOOD, "state": "dead"}),
    "from the future": message({**GOOD, "age_ms": -1}),
    "very old": message({**GOOD, "age_ms": 10**18}),
    "half a millisecond": message({**GOOD, "age_ms": 0.5}),
    "not a number": b'{"v": 1, "readings": [{"card": "C1", "zone": "z1", "age_ms": NaN}]}',
    "infinite": b'{"v": 1, "readings": [{"card": "C1", "zone": "z1", "age_ms": 1e999}]}',
    "one bad of many": message(*[GOOD] * 5, {"zone": "z1"}),
    "too many": message(*[GOOD] * (MAX_READINGS + 1)),
    "too long": message(*[GOOD] * 200) + b" " * 70_000,
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_does_not_fit_is_refused_as_a_whole(payload: bytes) -> None:
    """With one error of its own, that does not repeat the message."""
    with pytest.raises(CardsRefused) as refused:
        read_cards(payload, now_ns=1)
    assert len(str(refused.value)) <= 200


def test_random_bytes_and_random_changes_never_do_anything_else(clock: StoppedClock) -> None:
    """3,000 messages, each taken or counted as refused."""
    rng = random.Random(5)
    taken: list[tuple[CardReading, ...]] = []
    intake = CardIntake(clock=clock, on_cards=taken.append)
    for _ in range(3000):
        content = bytearray(message({**GOOD, "reader": "R7", "age_ms": 7}))
        for _ in range(rng.randrange(4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        if rng.random() < 0.3:
            del content[rng.randrange(len(content)) :]
        intake.arrived(bytes(content))
    assert 3000 == len(taken) + intake.refused
    assert min(len(taken), intake.refused) > 100


@pytest.mark.mosquitto
def test_readings_arrive_over_a_real_broker_and_hostile_ones_change_nothing(
    mosquitto: Callable[..., Mosquitto], deliver: Callable[..., Delivery]
) -> None:
    """A retained one of yesterday is not asked for; after a storm of nonsense the next one is taken."""
    broker = mosquitto()
    topic = Topics(site="north", node="box-1").cards
    sender = Watcher(broker.port)
    sender.client.publish(topic, message({"card": "OLD", "zone": "z1"}), qos=1, retain=True)
    wait_until(lambda: len(sender.arrivals) == 1)
    taken: list[tuple[CardReading, ...]] = []
    delivery = deliver(broker.port, on_cards=taken.append)
    wait_until(lambda: delivery.status().connected)
    wait_until(lambda: sender.last("/state") is not None)
    for payload in HOSTILE.values():
        sender.publish(topic, payload)
    sender.publish(topic, message({"card": "C1", "zone": "z1"}))
    wait_until(lambda: len(taken) > 0)
    assert [["C1"]] == [[reading.card for reading in readings] for readings in taken]
    assert (1, len(HOSTILE)) == (delivery.status().connects, delivery.refused_cards)
    sender.close()
