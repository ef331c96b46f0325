"""Fixtures for delivery: a clock that stands still, drafts of events, a real broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.rig import BoxProcess, Mosquitto
from edge_app.clock import SystemClock, WallQuality, WallTime, boot_id
from edge_app.delivery.event import EnvelopeContext, draft
from edge_app.delivery.options import (
    BrokerOptions,
    ConsumerOptions,
    DeliveryOptions,
    OutboxOptions,
)
from edge_app.delivery.outbox import Outbox
from edge_app.delivery.service import Delivery
from edge_app.delivery.uuid7 import Uuid7Maker
from edge_app.records import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from uuid import UUID

    from edge_app.delivery.event import Draft

IDS = Uuid7Maker()


@pytest.fixture
def context() -> EnvelopeContext:
    """Return a box's context."""
    return EnvelopeContext(site="north", node="box-1", boot="0b7c5c3e-6a1f-4f5e-9f51-2f3c8a1d9e10")


@pytest.fixture
def event() -> Callable[..., Event]:
    """Give a maker of events with valid fields, like ``make("test", note="x")``."""

    def make(
        kind: str = "test", *, mono_ns: int = 1_000_000_000_000, test: bool = False, **data: Any
    ) -> Event:
        alarm = {"id": "overstaffed.z1", "state": "active", "since_ns": 5}
        fields: dict[str, dict[str, Any]] = {
            "test": {"note": "n"},
            "alarm": {"reason": "overstaffed", "alarm": alarm},
            "presence": {"track": "t1", "change": "entered", "headcount": 1},
            "sighting": {
                "track": "t1",
                "decision": "unknown",
                "reason": "below_threshold",
                "threshold": 0.4,
                "quality": 0.5,
                "votes": 1,
                "revised": 0,
                "final": False,
                "first_seen_ns": 5,
            },
        }
        where = {} if kind in ("test", "alarm") else {"camera": "cam1", "zone": "z1"}
        return Event(kind=kind, mono_ns=mono_ns, data={**fields[kind], **data}, test=test, **where)

    return make


@pytest.fixture
def make_draft(event: Callable[..., Event], context: EnvelopeContext) -> Callable[..., Draft]:
    """Return a maker of drafts; `wall_ms` None means that there is no clock."""

    def make(kind: str = "test", *, wall_ms: int | None = 1_750_000_000_000, **data: Any) -> Draft:
        wall = WallTime(ms=wall_ms, quality=WallQuality.NONE if wall_ms is None else WallQuality.SYNC)
        event_id: UUID = IDS.make(ms=1_750_000_000_000)
        return draft(event(kind, **data), event_id=event_id, wall=wall, context=context, now_ns=0)

    return make


@pytest.fixture
def open_outbox(tmp_path: Path) -> Iterator[Callable[..., Outbox]]:
    """Return an opener of the outbox in the test's folder; what it opened is closed at the end."""
    opened: list[Outbox] = []

    def make(**options: Any) -> Outbox:
        outbox = Outbox(options=OutboxOptions(path=tmp_path / "outbox.db", **options))
        opened.append(outbox)
        return outbox

    yield make
    for outbox in opened:
        outbox.close()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Return a starter of real brokers; all are ended at the end."""
    started: list[Mosquitto] = []

    def make(*settings: str, port: int | None = None) -> Mosquitto:
        broker = Mosquitto(tmp_path, settings=("max_queued_messages 100000", *settings), port=port).start()
        started.append(broker)
        return broker

    yield make
    for broker in started:
        broker.stop()


@pytest.fixture(autouse=True)
def no_box_is_left() -> Iterator[None]:
    """End the box processes of a test that failed before it could."""
    yield
    for box in tuple(BoxProcess.alive):
        box.kill()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return a consumer's key file."""
    path = tmp_path / "consumer.key"
    path.write_text("ab" * 32 + "\n", encoding="ascii")
    path.chmod(0o600)
    return path


@pytest.fixture
def deliver(tmp_path: Path) -> Iterator[Callable[..., Delivery]]:
    """Return a starter of deliveries to brokers at the given ports; all are stopped at the end."""
    started: list[Delivery] = []

    def make(
        *ports: int,
        consumers: tuple[ConsumerOptions, ...] = (),
        clock: Any = None,
        max_mb: int = 64,
        on_cards: Any = None,
        **options: Any,
    ) -> Delivery:
        settings: dict[str, Any] = {
            "brokers": tuple(BrokerOptions(host="127.0.0.1", port=port) for port in ports),
            "history_per_s": None,
            "reconnect_max_s": 0.5,
            "connect_timeout_s": 2.0,
            "receipt_timeout_s": 1.0,
            "node": "box-1",
            **options,
        }
        delivery = Delivery(
            options=DeliveryOptions(
                site="north",
                outbox=OutboxOptions(path=tmp_path / "outbox.db", max_mb=max_mb),
                consumers=consumers,
                **settings,
            ),
            context=EnvelopeContext(site="north", node=settings["node"], boot=boot_id()),
            clock=clock or SystemClock(),
            on_cards=on_cards,
        )
        delivery.start()
        started.append(delivery)
        return delivery

    yield make
    for delivery in started:
        delivery.stop()
