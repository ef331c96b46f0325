"""Rows that the broker would not have: set aside with the reason, tried again in measure.

There are four reasons. ``DENIED``: the broker does not authorise the topic. That concerns a whole kind,
so what comes after it is set aside as well, now and then the oldest row of the kind is tried, and when the
broker takes one, all follow in their order.
``UNFIT``: this very row (too large, a format the broker rejects); tried now and then, because the broker
may be another. ``SUSPECT``: the connection ended, time after time, while this row was the first
under way; some brokers answer a message that they dislike by closing the connection, and one such
row must not block all that is behind it; or it is `stuck`, because a required consumer cannot store it
(`lanes`). Tried every quarter of an hour. ``FOREIGN``: it was recorded under another name of the box, and
belongs to topics that the box no longer has. Tried at the next start, whose name may be that one again.

What is parked is out of order when it goes at last; its `seq` still says where it belongs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge_app.delivery.event import priority_of

if TYPE_CHECKING:
    from edge_app.clock import Clock
    from edge_app.delivery.lanes import Lanes
    from edge_app.delivery.outbox import Outbox
    from edge_app.delivery.tables import Row

_LOG = structlog.get_logger(__name__)

DENIED: Final = "denied"
UNFIT: Final = "unfit"
SUSPECT: Final = "suspect"
FOREIGN: Final = "foreign"

_NOT_AUTHORISED: Final = 0x87
#: Reason codes that will not change by trying again soon: not authorised, topic name invalid, packet
#: too large, payload format invalid (MQTT 5, section 2.4).
_PARK: Final = frozenset({_NOT_AUTHORISED, 0x90, 0x95, 0x99})
#: Any other refusal is temporary; but a row that is refused this often is parked as well.
_PATIENCE: Final = 8
_STRIKES: Final = 6
_PROBE_FIRST_NS: Final = 30_000_000_000
_PROBE_MAX_NS: Final = 300_000_000_000
_SUSPECTS_NS: Final = 900_000_000_000


def meaning(code: int) -> str:
    """Return what MQTT 5 calls a PUBACK's reason code."""
    try:
        return f"{ReasonCode(PacketTypes.PUBACK, identifier=code)} (0x{code:02X})"
    except KeyError:
        return f"reason 0x{code:02X}"


class Parking:
    """Decides which rows of `outbox` are set aside, and when they are tried again."""

    def __init__(self, *, outbox: Outbox, lanes: Lanes, clock: Clock) -> None:
        self._outbox = outbox
        self._lanes = lanes
        self._clock = clock
        self._denied = set(outbox.parked_kinds(DENIED))
        self._on_trial: set[str] = set()
        self._refusals: Counter[int] = Counter()
        self._suspect = (0, 0)
        self._probe_at = 0
        self._probe_wait_ns = _PROBE_FIRST_NS
        self._suspects_at = clock.mono_ns()
        self.count = 0
        self._foreign = 0
        outbox.unpark(FOREIGN)
        outbox.unpark(SUSPECT)
        outbox.unpark(UNFIT)

    def disconnected(self, first: Row | None) -> None:
        """Take note of the row that was first under way when the connection ended."""
        if first is None:
            self._suspect = (0, 0)
            return
        seq, strikes = self._suspect
        self._suspect = (first.seq, strikes + 1 if seq == first.seq else 1)
        if self._suspect[1] >= _STRIKES:
            self._suspect = (0, 0)
            self.park(first, SUSPECT, f"the connection ended {_STRIKES} times while it was under way")

    def holds(self, kind: str) -> bool:
        """Return whether events of `kind` are parked because the broker denies them."""
        return kind in self._denied

    def keeps_back(self, row: Row) -> bool:
        """Set `row` aside untried if its kind is denied, unless it is the one that is to be tried now."""
        if row.kind not in self._denied:
            return False
        if row.kind in self._on_trial:
            self._on_trial.discard(row.kind)
            return False
        self.park(row, DENIED, "others of its kind were denied")
        return True

    def is_due(self) -> bool:
        """Return whether `probe` would try something."""
        now = self._clock.mono_ns()
        return now >= self._probe_at or now - self._suspects_at >= _SUSPECTS_NS

    def probe(self) -> None:
        """Try what is parked if it is time for that, more and more rarely; not at every connection.

        A broker that answers a denied message and then closes the connection would otherwise be tried
        again as fast as it can be connected to.
        """
        now = self._clock.mono_ns()
        if now - self._suspects_at >= _SUSPECTS_NS:
            self._suspects_at = now
            self._bring_back(SUSPECT)
        if now < self._probe_at:
            return
        self._probe_at = now + self._probe_wait_ns
        self._probe_wait_ns = min(2 * self._probe_wait_ns, _PROBE_MAX_NS)
        self._bring_back(UNFIT)
        for kind in self._denied:
            if self._outbox.unpark(DENIED, kind=kind, limit=1):
                self._on_trial.add(kind)
                self._lanes.lanes[priority_of(kind)].rewind(1)

    def accepted(self, row: Row) -> None:
        """Take note that the broker took a row: then it takes the others of its kind as well."""
        self._refusals.pop(row.seq, None)
        if row.kind in self._denied:
            self._denied.discard(row.kind)
            if self._outbox.unpark(DENIED, kind=row.kind):
                self._lanes.lanes[row.priority].rewind(1)

    def refused(self, row: Row, code: int) -> None:
        """Park a row that the broker refused, or let its lane pause and try it again."""
        self._refusals[row.seq] += 1
        if code in _PARK or self._refusals[row.seq] >= _PATIENCE:
            self.park(row, DENIED if code == _NOT_AUTHORISED else UNFIT, meaning(code))
            return
        self._lanes.later(row.seq, row.priority, now=self._clock.mono_ns())
        _LOG.warning("event_refused", seq=row.seq, kind=row.kind, reason=meaning(code))

    def park(self, row: Row, why: str, reason: str) -> None:
        """Set a row aside for `why` (``DENIED``, ``UNFIT``, ``SUSPECT``)."""
        self._refusals.pop(row.seq, None)
        self._outbox.park(row.seq, f"{why}: {reason}")
        self._lanes.settled(row.seq, row.priority)
        self._foreign += why == FOREIGN
        if (why != DENIED or row.kind not in self._denied) and (why != FOREIGN or self._foreign == 1):
            _LOG.error("event_parked", kind=row.kind, seq=row.seq, reason=reason)
        if why == DENIED:
            self._denied.add(row.kind)
        self.count += 1

    def _bring_back(self, why: str) -> None:
        if self._outbox.unpark(why):
            for lane in self._lanes.lanes:
                lane.rewind(1)
