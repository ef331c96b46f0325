"""The parts that a box has only where its configuration asks for them; None where it does not.

They are imported here and now: a box without signed commands never loads a cryptography library, one
without Sparkplug no protobuf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_app import wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_app.clock import Clock
    from edge_app.commands.desk import CommandDesk
    from edge_app.config import Config
    from edge_app.delivery.event import EnvelopeContext
    from edge_app.delivery.options import DeliveryStatus
    from edge_app.delivery.service import Delivery
    from edge_app.engines.store import EngineStore
    from edge_app.health.watchdog import StageHealth
    from edge_app.records import Event, PresenceSnapshot
    from edge_app.sparkplug.plane import SparkplugPlane
    from edge_app.web.server import StatusServer


def command_desk(
    config: Config,
    *,
    source: Path | None,
    clock: Clock,
    context: Callable[[], EnvelopeContext],
    delivery: Delivery,
    engines: EngineStore,
    muster_now: Callable[[], PresenceSnapshot | None],
    take_over: Callable[[Config], bool],
    submit: Callable[[Event], None],
) -> CommandDesk | None:
    """Return the desk at which signed commands are obeyed, not yet started."""
    keys = wiring.command_keys(config)
    if not keys:
        return None
    from edge_app.commands.counters import Counters
    from edge_app.commands.desk import CommandDesk
    from edge_app.commands.verbs import BoxVerbs

    verbs = BoxVerbs(
        config=config,
        source=source,
        clock=clock,
        version=wiring.version(),
        context=context,
        status=delivery.status,
        muster_now=muster_now,
        engines=engines,
        take_over=take_over,
    )
    return CommandDesk(
        site=config.box.site,
        node=config.box.node,
        keys=keys,
        counters=Counters(config.delivery.outbox.with_name("commands.json")),
        verbs=verbs.table(),
        clock=clock,
        answer=delivery.answer,
        submit=submit,
    )


def sparkplug_plane(
    config: Config, *, clock: Clock, standing_alarms: tuple[str, ...], on_beat: Callable[[], None]
) -> SparkplugPlane | None:
    """Return the Sparkplug plane, started."""
    options = wiring.sparkplug_options(config)
    if options is None:
        return None
    from edge_app.sparkplug.plane import SparkplugPlane

    plane = SparkplugPlane(
        options=options,
        clock=clock,
        software=f"dsr-edge {wiring.version()}",
        standing_alarms=standing_alarms,
        on_beat=on_beat,
    )
    plane.start()
    return plane


def status_page(
    config: Config,
    *,
    clock: Clock,
    context: Callable[[], EnvelopeContext],
    stages: Callable[[], Sequence[StageHealth]],
    status: Callable[[], DeliveryStatus],
) -> StatusServer | None:
    """Return the page that shows what the box sees, not yet listening."""
    if config.web.port is None:
        return None
    from edge_app.web.server import StatusServer
    from edge_app.web.status import BoxStatus

    box = BoxStatus(context=context, stages=stages, delivery=status, mono_ns=clock.mono_ns)
    return StatusServer(box, port=config.web.port)
