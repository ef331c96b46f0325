"""The delivery thread: owns the outbox, the window of messages under way, and every publish.

paho's callbacks and all other threads only put values into its queue. So there is no lock to hold while
publishing, and no moment in which store and window disagree.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from edge_app.delivery.committer import Submission
from edge_app.delivery.link import Ack, LinkDown, LinkUp, Message
from edge_app.delivery.measure import measured
from edge_app.delivery.options import DeliveryStatus
from edge_app.delivery.retained import gone_document, muster_document, state_document
from edge_app.delivery.room import ALARM_ID, RoomAlarm
from edge_app.delivery.spool import take
from edge_app.delivery.timefix import TimeFixer, wall_at
from edge_app.errors import OutboxCorrupt, OutboxError, OutboxFull
from edge_app.records import PresenceSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from edge_app.clock import Clock
    from edge_app.delivery.committer import Committer
    from edge_app.delivery.courier import Courier
    from edge_app.delivery.drafter import Drafter
    from edge_app.delivery.link import Link
    from edge_app.delivery.options import DeliveryOptions
    from edge_app.delivery.outbox import Outbox
    from edge_app.delivery.topics import Topics

_LOG = structlog.get_logger(__name__)

#: The note by which a start tells whether the last run said goodbye.
RUN: Final = "run"
#: What is said of a delivery that has not begun.
BLANK: Final = DeliveryStatus(*(False, None, (0, 0, 0, 0), 0, None, 0, 0, 0, 0, 0, 0, 0, 0, None))
_IDLE_S: Final = 0.25
_TICK_NS: Final = 500_000_000
_SLOW_TICK_NS: Final = 30_000_000_000
#: How measures of a box's health are called that count what was asked of it.
_COUNTS: Final = ("_done", "_failed", "_refused")
_MUSTER_EVERY_NS: Final = 1_000_000_000
_NS: Final = 1_000_000_000
_BATCH: Final = 2000
_GOODBYE_TURNS: Final = 100


@dataclass(frozen=True, slots=True)
class Question:
    """Whether an event waits in the outbox or to be committed."""

    event_id: UUID
    answer: queue.SimpleQueue[bool]


@dataclass(frozen=True, slots=True)
class Once:
    """A message to publish once, if there is a connection."""

    topic: str
    payload: bytes
    correlation: bytes | None


class Worker:
    """What the delivery thread does, turn by turn.

    Args:
        options: store, brokers, consumers, bounds.
        outbox: the store, closed at the end.
        link: the connection, ended at the end.
        courier: what knows what is under way.
        committer: what commits in groups.
        draft: encodes the events that this thread makes itself.
        topics: this box's topics.
        clock: monotonic and wall time.
        inbox: submissions, `Question`, `Once`, a muster to let stand, an event to set when all before it is
            committed, and what the link reports.
        on_beat: called every turn.
        on_message: gets what arrives and is no receipt; must return at once.
    """

    def __init__(
        self,
        *,
        options: DeliveryOptions,
        outbox: Outbox,
        link: Link,
        courier: Courier,
        committer: Committer,
        draft: Drafter,
        topics: Topics,
        clock: Clock,
        inbox: queue.SimpleQueue[Any],
        on_beat: Callable[[], None],
        on_message: Callable[[Message], None],
    ) -> None:
        self._options = options
        self._outbox = outbox
        self._link = link
        self._courier = courier
        self._committer = committer
        self._draft = draft
        self._topics = topics
        self._clock = clock
        self._inbox = inbox
        self._on_beat = on_beat
        self._on_message = on_message
        known = outbox.note_boot(draft.context.boot, None)
        self._fixer = TimeFixer(clock=clock, known_ms=known)
        stands = any(alarm.id == ALARM_ID and alarm.body for alarm in outbox.alarms())
        self._disk = RoomAlarm(outbox.path.parent, stands=stands)
        self._muster: PresenceSnapshot | None = None
        self._muster_at = self._tick_at = self._slow_at = self._state_at = self._file_due = 0
        self._told: dict[str, float] = {}
        self._submitted = 0
        self.stopping = False
        self.fault: str | None = None
        self.status = BLANK

    def run(self) -> None:
        """Work until `stopping`, then say goodbye and close."""
        try:
            while not self.stopping:
                self._turn(self._idle_s())
            self._finish()
        except Exception as error:  # noqa: BLE001 - the beats end with this thread, and the watchdog restarts the daemon
            self.fault = f"{type(error).__name__}: {error}"
            _LOG.exception("delivery_failed")
        finally:
            self._link.stop(2.0)
            self._outbox.close()

    def _turn(self, wait_s: float) -> None:
        self._on_beat()
        try:
            self._take(wait_s)
            self._work(self._clock.mono_ns())
        except OutboxCorrupt as error:
            _LOG.error("outbox_corrupt", error=str(error))
            saved = self._outbox.recover()
            _LOG.warning("outbox_recovered", rows=saved)
            self._courier.restart()
        except OutboxFull as error:
            self._courier.last_error = error.what

    def _idle_s(self) -> float:
        waits = (
            self._committer.due_in_ns(self._clock.mono_ns()),
            self._courier.due_in_ns(self._clock.mono_ns()),
        )
        return min([_IDLE_S, *(max(0, wait) / _NS for wait in waits if wait is not None)])

    def _take(self, wait_s: float) -> None:
        try:
            item = self._inbox.get(timeout=wait_s) if wait_s > 0 else self._inbox.get_nowait()
            for _ in range(_BATCH):
                self._handle(item)
                item = self._inbox.get_nowait()
            self._handle(item)
        except queue.Empty:
            pass

    def _handle(self, item: Any) -> None:
        if isinstance(item, Ack):
            self._courier.acked(item)
        elif isinstance(item, Submission):
            self._submitted += item.counted
            self._committer.add(item)
        elif isinstance(item, threading.Event):
            self._committer.flush(item)
        elif isinstance(item, LinkUp):
            self._say_state()
            self._courier.up(item)
        elif isinstance(item, LinkDown):
            self._courier.down(item)
        elif isinstance(item, Message):
            self._arrived(item)
        elif isinstance(item, Question):
            waits = self._committer.waiting > 0 or self._outbox.contains(item.event_id.bytes)
            item.answer.put(waits)
        elif isinstance(item, PresenceSnapshot):
            self._muster = item
        elif isinstance(item, Once):
            self._courier.once(item.topic, item.payload, item.correlation)

    def _arrived(self, message: Message) -> None:
        if message.topic == self._topics.receipts:
            self._courier.receipt(message.payload, message.correlation)
        else:
            self._on_message(message)

    def _work(self, now: int) -> None:
        if self._committer.is_due(now):
            self._courier.grown(self._committer.commit(now))
        self._courier.work(now)
        if now - self._tick_at >= _TICK_NS:
            self._tick_at = now
            self._tick(now)
        if now - self._slow_at >= _SLOW_TICK_NS:
            self._slow_at = now
            self._courier.probe()
            self._evict_old(now)

    def _tick(self, now: int) -> None:
        self.status = self._measured(now)
        self._spool(now)
        if now >= self._file_due:
            self._keep_file(now)
        if (full := self._disk.check(now)) is not None:
            _LOG.warning("disk_full", alarm=full.data["alarm"], folder=str(self._outbox.path.parent))
            self._committer.add(Submission(draft=self._draft(full), counted=False))
        if (fix := self._fixer.check()) is not None:
            self._committer.add(Submission(draft=self._draft(fix), counted=False))
            self._outbox.note_boot(self._draft.context.boot, self._fixer.offset_ms)
        self._courier.grown(self._committer.report_losses(now))
        snapshot = self._muster
        if snapshot is not None and now - self._muster_at >= _MUSTER_EVERY_NS:
            self._muster, self._muster_at = None, now
            wall = wall_at(snapshot.mono_ns, clock=self._clock)
            self._courier.retain(
                self._topics.muster,
                muster_document(context=self._draft.context, snapshot=snapshot, wall=wall),
            )
        due = now - self._state_at >= int(self._options.state_every_s * _NS)
        if (due or self._counts() != self._told) and not self.stopping:
            self._say_state()

    def _keep_file(self, now: int) -> None:
        """Put the outbox's file back where somebody deleted or replaced it: what waits would go with us."""
        if not self._outbox.taken_away():
            return
        _LOG.error(
            "outbox_taken_away", path=str(self._outbox.path), fix="find out who deleted or replaced it"
        )
        try:
            self._outbox.put_back()
        except OutboxError as error:
            _LOG.error("outbox_not_put_back", error=error.what, fix=error.fix)
            self._file_due = now + _SLOW_TICK_NS
        else:
            _LOG.warning("outbox_put_back", rows=sum(n for n, _ in self._outbox.tally().values()))

    def _counts(self) -> dict[str, float]:
        """Return what was done and refused: a change of it is told at once."""
        return {name: count for name, count in self._draft.measures.items() if name.endswith(_COUNTS)}

    def _spool(self, now: int) -> None:
        events, refused = take(self._options.outbox.path, now_ns=now)
        for path, reason in refused:
            _LOG.warning("spool_refused", file=str(path), reason=reason)
            path.replace(path.with_suffix(".refused"))
        for spooled in events:
            if self._outbox.contains(spooled.event_id.bytes) or self._committer.holds(spooled.path):
                continue
            try:
                made = self._draft(spooled.event, spooled.event_id)
            except (ValueError, TypeError) as error:
                _LOG.warning("spool_refused", file=str(spooled.path), reason=str(error))
                spooled.path.replace(spooled.path.with_suffix(".refused"))
                continue
            self._committer.add(Submission(draft=made, counted=False, spooled=spooled.path))

    def _evict_old(self, now: int) -> None:
        days = self._options.outbox.max_days
        wall = self._clock.wall()
        if days is not None and wall.ms is not None and wall.quality.value == "sync":
            while self._outbox.evict_older(wall.ms - int(days * 86_400_000)):
                self._courier.reread()
        self._courier.grown(self._committer.report_losses(now))

    def _say_state(self) -> None:
        now = self._clock.mono_ns()
        self._state_at, self._told = now, self._counts()
        self.status = self._measured(now)
        document = state_document(
            context=self._draft.context,
            status=self.status,
            measures=self._draft.measures,
            version=self._options.version,
            mono_ns=now,
            wall=self._clock.wall(),
        )
        self._courier.retain(self._topics.state, document)

    def _measured(self, now: int) -> DeliveryStatus:
        return measured(
            now=now,
            wall=self._clock.wall(),
            outbox=self._outbox,
            committer=self._committer,
            courier=self._courier,
            submitted=self._submitted,
        )

    def _finish(self) -> None:
        """Commit what was submitted, let the goodbye stand, wait shortly for the acknowledgements."""
        self._take(0)
        for _ in range(_GOODBYE_TURNS):
            if not self._committer.waiting:
                break
            self._turn(0.02)
        self._muster_at = 0
        self._tick(self._clock.mono_ns())
        self._courier.closing = True
        self._courier.retain(self._topics.state, gone_document(context=self._draft.context, reason="stopped"))
        for _ in range(_GOODBYE_TURNS):
            if not self._courier.connected or self._courier.idle:
                break
            self._turn(0.02)
        self._take(0)
        if self._committer.waiting:
            self._committer.commit(self._clock.mono_ns())
        self._courier.flush_deletes(force=True)
        self._courier.flush_receipts(force=True)
        self.status = self._measured(self._clock.mono_ns())
        self._outbox.note(RUN, "stopped")
