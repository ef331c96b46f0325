"""Readings of positioning cards, as a mine's positioning system tells them over MQTT.

JSON on the box's topic ``.../card``, as `card.v1.schema.json` says::

    {"v": 1, "readings": [{"card": "CARD-1017", "zone": "drift-3", "reader": "R7", "age_ms": 250}]}

Whatever arrives there may be hostile. It is bounded, held against the schema, and refused as a whole if
anything is wrong; a refusal is counted and logged at the 1st, 2nd, 4th, 8th ... A reading names nobody and
counts nobody: it only makes the box compare cards with faces. Who may publish there is for the broker's
access list to say.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import structlog

from edge_app.delivery.check import problems, unknown_keywords
from edge_app.records import CardReading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_app.clock import Clock

MAX_BYTES: Final = 64 * 1024
MAX_READINGS: Final = 256
_NS_PER_MS: Final = 1_000_000

_LOG = structlog.get_logger(__name__)


class CardsRefused(ValueError):
    """A message on the cards' topic is not what the schema says."""


@lru_cache(maxsize=1)
def schema() -> Mapping[str, Any]:
    """Return `card.v1.schema.json`.

    Raises:
        ValueError: it uses a keyword that would not be checked.
    """
    text = resources.files("edge_app.delivery").joinpath("card.v1.schema.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    if strange := unknown_keywords(document):
        msg = f"the schema of card readings uses keywords that the box does not check: {sorted(strange)}"
        raise ValueError(msg)
    return document


def read_cards(payload: bytes, *, now_ns: int) -> tuple[CardReading, ...]:
    """Return the readings in `payload`, dated by the box's monotonic clock; none says "I am here".

    Raises:
        CardsRefused: it does not fit; the message names what, and repeats 60 characters of it at most.
    """
    if len(payload) > MAX_BYTES:
        msg = f"card readings of {len(payload)} bytes; at most {MAX_BYTES} are read"
        raise CardsRefused(msg)
    try:
        body = json.loads(payload.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"card readings that are not JSON: {type(error).__name__}"
        raise CardsRefused(msg) from error
    if (wrong := next(problems(body, schema(), root=schema(), at="message"), None)) is not None:
        raise CardsRefused(wrong[:200])
    if len(body["readings"]) > MAX_READINGS:
        msg = f"{len(body['readings'])} card readings in one message; at most {MAX_READINGS} are read"
        raise CardsRefused(msg)
    return tuple(_reading(row, now_ns) for row in body["readings"])


class CardIntake:
    """Takes what arrives on the cards' topic and hands the readings on; used by the delivery thread.

    Args:
        clock: dates the readings.
        on_cards: gets the readings of every message that was not refused; must return at once.
    """

    def __init__(self, *, clock: Clock, on_cards: Callable[[tuple[CardReading, ...]], None]) -> None:
        self._clock = clock
        self._on_cards = on_cards
        #: How many messages were refused.
        self.refused = 0

    def arrived(self, payload: bytes) -> None:
        """Take one message."""
        try:
            readings = read_cards(payload, now_ns=self._clock.mono_ns())
        except CardsRefused as error:
            self.refused += 1
            if self.refused.bit_count() == 1:  # a flood fills no disk
                _LOG.warning("card_readings_refused", reason=str(error), refused=self.refused)
            return
        self._on_cards(readings)


def _reading(row: Mapping[str, Any], now_ns: int) -> CardReading:
    return CardReading(
        card=row["card"],
        owner=row.get("person_ref", row["card"]),
        zone=row["zone"],
        mono_ns=now_ns - int(row.get("age_ms", 0)) * _NS_PER_MS,
        reader=row.get("reader"),
        gone=row.get("state") == "gone",
    )
