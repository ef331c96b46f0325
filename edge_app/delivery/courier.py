"""The courier: keeps the window full, and knows what became of every message under way.

Used by the delivery thread alone. `mid` numbers belong to one connection; whatever was under way when
a connection ends is simply sent again on the next one, the same bytes, from the oldest on.
"""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_app.delivery.event import ALARM
from edge_app.delivery.lanes import Lanes
from edge_app.delivery.link import event_properties
from edge_app.delivery.parking import FOREIGN, SUSPECT, UNFIT, Parking, meaning
from edge_app.delivery.receipts import MAX_IDS, ReceiptRefused, check_receipt
from edge_app.delivery.retained import Retained
from edge_app.errors import OutboxFull

if TYPE_CHECKING:
    from edge_app.clock import Clock
    from edge_app.delivery.link import Ack, Link, LinkDown, LinkUp
    from edge_app.delivery.options import DeliveryOptions
    from edge_app.delivery.outbox import Outbox
    from edge_app.delivery.tables import Row, StandingAlarm
    from edge_app.delivery.topics import Topics

_LOG = structlog.get_logger(__name__)

_NS: Final = 1_000_000_000
_FAILURE: Final = 0x80
_DELETE_AT_ONCE: Final = 250
_DELETE_AFTER_NS: Final = 50_000_000
_RECEIPTS_AFTER_NS: Final = 10_000_000
_TOPIC_OVERHEAD: Final = 256
_SOON_NS: Final = 5_000_000
_TOKEN_BYTES: Final = 8
#: Site and node stand at the beginning of a body, behind version and id.
_NAMES_WITHIN: Final = 256
_LET_WRITE: Final = "let the box write there in the broker's access list: docs/deployment.md, section 7"


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """One message without PUBACK: a row, a retained topic, an alarm, or an answer (payload, correlation)."""

    at: int
    row: Row | None = None
    topic: str = ""
    alarm: StandingAlarm | None = None
    answer: tuple[bytes, bytes | None] | None = None


class Courier:
    """Sends rows of `outbox` and retained messages over `link`; `keys` are the receipting consumers'."""

    def __init__(
        self,
        *,
        options: DeliveryOptions,
        outbox: Outbox,
        topics: Topics,
        link: Link,
        clock: Clock,
        keys: dict[str, bytes],
    ) -> None:
        self._options = options
        self._outbox = outbox
        self._topics = topics
        self._link = link
        self._clock = clock
        self._keys = keys
        self._required = options.required_consumers
        self._names = b'"site":"%b","node":"%b",' % (options.site.encode(), options.node.encode())
        self._lanes = Lanes(
            outbox=outbox,
            required=self._required,
            receipt_window=options.receipt_window,
            history_per_s=options.history_per_s,
        )
        self._parking = Parking(outbox=outbox, lanes=self._lanes, clock=clock)
        self._retained = Retained()
        self._alarms: deque[StandingAlarm] = deque()
        self._shown: dict[str, int] = {}
        self._once: deque[tuple[str, bytes, bytes | None]] = deque()
        self._token = b""
        self._live = self._replay = event_properties(self._token, replay=False)
        self._under_way: dict[int, _UnderWay] = {}
        self._receipts: dict[tuple[str, bool], list[bytes]] = {}
        self._receipts_at = 0
        self._hello_at: dict[str, int] = {}
        self._done: list[int] = []
        self._done_at = 0
        self._conn = 0
        self._window = 0
        self._max_packet: int | None = None
        self._heard: dict[str, int] = {}
        self.closing = False
        self.connected = False
        self.broker: str | None = None
        self.published = self.delivered = self.rejected_receipts = self.connects = 0
        self.last_error: str | None = None

    # -- what happens to us -----------------------------------------------------------------------

    def up(self, link: LinkUp) -> None:
        """Begin on a new connection: state, muster and alarms first, then events, alarms first."""
        now = self._clock.mono_ns()
        self._conn, self.connected, self.broker = link.conn, True, link.broker
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        self._live = event_properties(self._token, replay=False)
        self._replay = event_properties(self._token, replay=True)
        self._window = max(1, min(self._options.window, link.receive_maximum))
        self._max_packet = link.max_packet
        self._under_way.clear()
        self.connects += 1
        self.last_error = None
        self._heard = dict.fromkeys(self._required, now)
        self._hello_at.clear()
        self._retained.all_again(self._topics.state)
        self.restart()
        self._parking.probe()
        _LOG.info("link_up", broker=link.broker, window=self._window)

    def down(self, link: LinkDown) -> None:
        """Take note that the connection ended, or could not be made."""
        self.last_error = link.reason
        if link.conn == self._conn:
            self.connected, self.broker = False, None
            rows = (way.row for way in self._under_way.values() if way.row is not None)
            self._parking.disconnected(next(rows, None))
            self._under_way.clear()

    def restart(self) -> None:
        """Send everything again that is not delivered, from the oldest on."""
        self.flush_deletes(force=True)
        self.flush_receipts(force=True)
        self._alarms = deque(self._outbox.alarms())
        self._shown = {alarm.id: alarm.seq for alarm in self._alarms}
        self._lanes.restart(now=self._clock.mono_ns())

    def acked(self, ack: Ack) -> None:
        """Take note of a PUBACK."""
        if ack.conn != self._conn:
            return
        under_way = self._under_way.pop(ack.mid, None)
        if under_way is None:
            return
        if ack.code >= _FAILURE:
            self._refused(under_way, ack.code)
        elif under_way.row is not None:
            self._accepted(under_way.row)
        elif under_way.alarm is not None and under_way.alarm.body is None:
            self._outbox.forget_alarm(under_way.alarm)

    def receipt(self, payload: bytes, token: bytes | None = None) -> None:
        """Take whatever arrived on the receipts' topic; `token` is its correlation data.

        A token of an earlier connection deletes rows like any other, but it says nothing about whether
        the consumer is subscribed now: client libraries send again what they could not before they subscribe.
        """
        try:
            consumer, ids = check_receipt(
                payload, site=self._options.site, node=self._options.node, keys=self._keys
            )
        except ReceiptRefused as error:
            self.rejected_receipts += 1
            if self.rejected_receipts.bit_count() == 1:  # the 1st, 2nd, 4th, 8th ...: a flood fills no disk
                _LOG.warning("receipt_refused", reason=str(error), refused=self.rejected_receipts)
            return
        now = self._clock.mono_ns()
        self._heard[consumer] = now
        if consumer in self._required and not ids and now >= self._hello_at.get(consumer, 0):
            self._hello_at[consumer] = now + _NS
            self._lanes.hello()
        if consumer in self._required and ids:
            if not self._receipts:
                self._receipts_at = now
            self._receipts.setdefault((consumer, token in {None, self._token}), []).extend(ids)

    def grown(self, priorities: set[int]) -> None:
        """Take note that events of `priorities` were committed."""
        if priorities:
            self._lanes.grown(priorities)
        if ALARM in priorities:
            for alarm in self._outbox.alarms():
                if self._shown.get(alarm.id) != alarm.seq:
                    self._shown[alarm.id] = alarm.seq
                    self._alarms.append(alarm)

    def reread(self) -> None:
        """Take note that rows were evicted."""
        self._lanes.reread()

    def retain(self, topic: str, payload: bytes) -> None:
        """Let `payload` stand retained under `topic`."""
        self._retained.put(topic, payload)

    def once(self, topic: str, payload: bytes, correlation: bytes | None) -> None:
        """Send a message once, if there is a connection."""
        if self.connected:
            self._once.append((topic, payload, correlation))

    # -- what we do ----------------------------------------------------------------------------------

    def work(self, now: int) -> None:
        """Delete what is delivered, send what there is room for, and notice when nothing moves."""
        self.flush_deletes(force=False)
        self.flush_receipts(force=False)
        if not self.connected:
            return
        if self._required:
            again = self._lanes.overdue(now=now, timeout_ns=int(self._options.receipt_timeout_s * _NS))
            if again:
                _LOG.info("receipts_overdue", again=again)
                for row in self._lanes.stuck():
                    self._parking.park(row, SUSPECT, "consumers receipt others, but not this one")
        self._send_state(now)
        if not self.closing:
            self._send_events(now)
        first = next(iter(self._under_way.values()), None)
        if first is not None and now - first.at > int(self._options.puback_timeout_s * _NS):
            self._link.drop(f"no PUBACK for {self._options.puback_timeout_s:.0f} s")
            self._under_way.clear()

    def due_in_ns(self, now: int) -> int | None:
        """Return the time until there is something to do by itself, None if that is not known."""
        waits = []
        if self._receipts:
            waits.append(self._receipts_at + _RECEIPTS_AFTER_NS - now)
        if self._done:
            waits.append(self._done_at + _DELETE_AFTER_NS - now)
        if self.connected and self._lanes.throttled():
            waits.append(_SOON_NS)
        return min(waits, default=None)

    def probe(self) -> None:
        """Now and then try what the broker would not have."""
        if self.connected and self._parking.is_due():
            self.flush_deletes(force=True)
            self._parking.probe()

    def flush_deletes(self, *, force: bool) -> None:
        """Delete the rows that are delivered, many at a time."""
        if not self._done:
            return
        waited = self._clock.mono_ns() - self._done_at
        if not (force or len(self._done) >= _DELETE_AT_ONCE or waited >= _DELETE_AFTER_NS):
            return
        try:
            self.delivered += self._outbox.remove(self._done)
        except OutboxFull as error:  # they are sent again at worst
            self.last_error = error.what
            self._done_at = self._clock.mono_ns() + _NS
        else:
            self._done.clear()

    def flush_receipts(self, *, force: bool) -> None:
        """Take the receipts that have come, many at a time, and delete the rows that all have."""
        waited = self._clock.mono_ns() - self._receipts_at
        many = max(map(len, self._receipts.values()), default=0) >= _DELETE_AT_ONCE
        if not self._receipts or not (force or many or waited >= _RECEIPTS_AFTER_NS):
            return
        receipts, self._receipts = self._receipts, {}
        for (consumer, fresh), ids in receipts.items():
            for first in range(0, len(ids), MAX_IDS):
                batch = ids[first : first + MAX_IDS]
                known, gone = self._outbox.receipt(consumer, batch, required=self._required)
                if fresh:
                    self._lanes.heard(consumer, known)
                self._lanes.receipted(gone, now=self._clock.mono_ns())
                self.delivered += len(gone)

    def silent(self, now: int) -> dict[str, float]:
        """Return the required consumers that owe receipts, with the seconds since their last one."""
        owed = self._lanes.oldest_owed()
        if not self.connected or owed is None:
            return {}
        limit = int(self._options.receipt_timeout_s * _NS)
        quiet = {name: now - heard for name, heard in self._heard.items() if now - heard > limit}
        return {name: round(since / _NS, 1) for name, since in quiet.items() if name in self._required}

    @property
    def parked(self) -> int:
        """How many rows were parked since the start."""
        return self._parking.count

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and no state waits."""
        return not self._under_way and self._retained.idle and not self._alarms

    def _send_state(self, now: int) -> None:
        while self._once and self._free > 0:
            topic, payload, correlation = self._once.popleft()
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            if correlation is not None:
                properties.CorrelationData = correlation
            way = _UnderWay(at=now, topic=topic, answer=(payload, correlation))
            self._send(topic, payload, way, properties=properties)
        while self._free > 0 and (waiting := self._retained.next()) is not None:
            topic, payload = waiting
            if not self._send(topic, payload, _UnderWay(at=now, topic=topic), retain=True):
                return
            self._retained.sent(topic)
        while self._free > 0 and self._alarms:
            alarm = self._alarms[0]
            if alarm.body is not None and self._names not in alarm.body[:_NAMES_WITHIN]:
                self._alarms.popleft()  # it stands under a name that the box no longer has
                continue
            way = _UnderWay(at=now, alarm=alarm)
            if not self._send(self._topics.alarm(alarm.id), alarm.body or b"", way, retain=True):
                return
            self._alarms.popleft()

    def _send_events(self, now: int) -> None:
        reserve = self._window // 10
        while (row := self._lanes.next(now=now, free=self._free, reserve=reserve)) is not None:
            if self._parking.keeps_back(row):
                continue
            if self._names not in row.body[:_NAMES_WITHIN]:
                self._parking.park(row, FOREIGN, "recorded when the box had another site or node")
                continue
            if self._max_packet is not None and len(row.body) + _TOPIC_OVERHEAD > self._max_packet:
                self._parking.park(row, UNFIT, f"larger than the broker's limit of {self._max_packet} bytes")
                continue
            properties = self._replay if self._lanes.is_history(row) else self._live
            way = _UnderWay(at=now, row=row)
            if not self._send(self._topics.event(row.kind), row.body, way, properties=properties):
                return
            self.published += 1

    @property
    def _free(self) -> int:
        return self._window - len(self._under_way)

    def _send(
        self,
        topic: str,
        payload: bytes,
        way: _UnderWay,
        *,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> bool:
        mid = self._link.publish(self._conn, topic, payload, retain=retain, properties=properties)
        if mid is None:
            # Mostly the report of a lost connection is already in the queue; if not, this makes one.
            # Either way everything goes again on the next connection.
            self.connected = False
            self._link.drop("the client did not take a message")
            return False
        self._under_way[mid] = way
        return True

    def _accepted(self, row: Row) -> None:
        if not self._required:
            self._lanes.settled(row.seq, row.priority)
            if not self._done:
                self._done_at = self._clock.mono_ns()
            self._done.append(row.seq)
        if self._parking.holds(row.kind):
            self.flush_deletes(force=True)  # what is done must not come back with what was parked
        self._parking.accepted(row)

    def _refused(self, way: _UnderWay, code: int) -> None:
        topic = way.topic or "an alarm" if way.row is None else self._topics.event(way.row.kind)
        self.last_error = f"{topic}: broker refused: {meaning(code)}"
        if way.answer is not None:
            self._answer_refused(way.topic, way.answer, code)
            return
        if way.row is None:
            _LOG.error("retained_refused", topic=topic, reason=meaning(code), fix=_LET_WRITE)
            return
        self.flush_deletes(force=True)
        self._parking.refused(way.row, code)

    def _answer_refused(self, topic: str, answer: tuple[bytes, bytes | None], code: int) -> None:
        """Answer on the box's own topic: the broker does not let it write to the one that was asked for."""
        own = self._topics.responses
        to = None if topic == own else own
        _LOG.error("answer_refused", topic=topic, reason=meaning(code), answered_on=to, fix=_LET_WRITE)
        if to is not None:
            self._once.append((to, *answer))
