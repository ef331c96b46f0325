"""Encodes events: gives each its id, its wall time if that is known, and what the box says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_app.delivery.event import draft
from edge_app.delivery.timefix import wall_at
from edge_app.delivery.uuid7 import Uuid7Maker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from edge_app.clock import Clock
    from edge_app.delivery.event import Draft, EnvelopeContext
    from edge_app.records import Event

_NS_PER_MS: Final = 1_000_000


class Drafter:
    """Makes drafts that say `context` about the box; safe from any thread. `measures` go into its state."""

    def __init__(self, *, context: EnvelopeContext, clock: Clock) -> None:
        self.context = context
        self.measures: Mapping[str, float] = {}
        self._clock = clock
        self._ids = Uuid7Maker()

    def __call__(self, event: Event, event_id: UUID | None = None) -> Draft:
        """Encode `event`, with the id that it has already if it has one.

        Raises:
            EventError: it does not fit the schema.
        """
        wall = wall_at(event.mono_ns, clock=self._clock)
        if event_id is None:
            event_id = self._ids.make(ms=event.mono_ns // _NS_PER_MS if wall.ms is None else max(0, wall.ms))
        now_ns = self._clock.mono_ns()
        return draft(event, event_id=event_id, wall=wall, context=self.context, now_ns=now_ns)
