"""Delivery: commits events to the outbox and brings them to the broker until somebody has them for good.

One thread, ``delivery``, owns the outbox, the window of messages under way, and every publish; paho's
callbacks and all other threads only put values into its queue. So there is no lock to hold while
publishing, and no moment in which store and window disagree.

A row is deleted when the broker acknowledges it, if no consumer that sends receipts is required: then
the promise ends at the broker, and a broker can lose it. With required consumers a row is deleted
when each of them has receipted it.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from edge_app.delivery.cards import CardIntake
from edge_app.delivery.committer import Committer, Submission
from edge_app.delivery.courier import Courier
from edge_app.delivery.event import EnvelopeContext, draft
from edge_app.delivery.link import Ack, Link, LinkDown, LinkUp, Message
from edge_app.delivery.measure import measured
from edge_app.delivery.options import DeliveryStatus
from edge_app.delivery.outbox import Outbox
from edge_app.delivery.receipts import read_key
from edge_app.delivery.retained import gone_document, muster_document, muster_fields, state_document
from edge_app.delivery.spool import take
from edge_app.delivery.timefix import TimeFixer, wall_at
from edge_app.delivery.topics import Topics
from edge_app.delivery.uuid7 import Uuid7Maker
from edge_app.errors import OutboxCorrupt, OutboxError, OutboxFull
from edge_app.records import Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from edge_app.clock import Clock
    from edge_app.delivery.event import Draft
    from edge_app.delivery.options import DeliveryOptions
    from edge_app.records import CardReading, PresenceSnapshot

_LOG = structlog.get_logger(__name__)

_IDLE_S: Final = 0.25
_TICK_NS: Final = 500_000_000
_SLOW_TICK_NS: Final = 30_000_000_000
_MUSTER_EVERY_NS: Final = 1_000_000_000
_NS: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_BATCH: Final = 2000
_GOODBYE_TURNS: Final = 100
#: The note by which a start tells whether the last run said goodbye.
_RUN: Final = "run"


@dataclass(frozen=True, slots=True)
class _Question:
    event_id: UUID
    answer: queue.SimpleQueue[bool]


@dataclass(frozen=True, slots=True)
class _Once:
    topic: str
    payload: bytes
    correlation: bytes | None


class Delivery:
    """Brings events of one box to its brokers.

    Args:
        options: store, brokers, consumers, bounds.
        context: what every event says about the box; see `set_context`.
        clock: monotonic and wall time.
        on_beat: called by the delivery thread at least twice a second while it works.
        on_command: gets what arrives under ``cmd/``; called by the delivery thread, must return at once.
        on_cards: gets readings of positioning cards; likewise.
    """

    def __init__(
        self,
        *,
        options: DeliveryOptions,
        context: EnvelopeContext,
        clock: Clock,
        on_beat: Callable[[], None] = lambda: None,
        on_command: Callable[[Message], None] | None = None,
        on_cards: Callable[[tuple[CardReading, ...]], None] | None = None,
    ) -> None:
        self._options = options
        self._context = context
        self._clock = clock
        self._on_beat = on_beat
        self._on_command = on_command
        self._cards = None if on_cards is None else CardIntake(clock=clock, on_cards=on_cards)
        self._topics = Topics(site=options.site, node=options.node)
        self._ids = Uuid7Maker()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._room = threading.BoundedSemaphore(options.queue)
        self._muster: PresenceSnapshot | None = None
        self._muster_at = 0
        self._tick_at = self._slow_at = self._state_at = 0
        self._submitted = 0
        self._stopping = False
        self._stood: tuple[str, ...] = ()
        self._fault: str | None = None
        self._status = DeliveryStatus(*(False, None, (0, 0, 0, 0), 0, None, 0, 0, 0, 0, 0, 0, 0, 0, None))
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    # -- for other threads -------------------------------------------------------------------------

    def start(self) -> None:
        """Open the outbox and start; an unreachable broker is no error, the link keeps trying.

        Raises:
            OutboxLocked: another process owns the outbox.
            OutboxError: it cannot be opened.
            ConfigError: a consumer's key cannot be read.
        """
        keys = {one.id: read_key(one.key_file, consumer=one.id) for one in self._options.consumers}
        self._outbox = Outbox(options=self._options.outbox)
        self._stood = tuple(alarm.id for alarm in self._outbox.alarms() if alarm.body is not None)
        self._clean_before = self._outbox.note(_RUN, "running") in {None, "stopped"}
        known = self._outbox.note_boot(self._context.boot, None)
        self._fixer = TimeFixer(clock=self._clock, known_ms=known)
        subscriptions = (
            *((self._topics.receipts,) if keys else ()),
            *((self._topics.commands,) if self._on_command else ()),
            *((self._topics.cards,) if self._cards else ()),
        )
        self._link = Link(
            options=self._options,
            clock=self._clock,
            report=self._inbox.put,
            will=(self._topics.state, gone_document(context=self._context, reason="lost")),
            subscriptions=subscriptions,
        )
        self._courier = Courier(
            options=self._options,
            outbox=self._outbox,
            topics=self._topics,
            link=self._link,
            clock=self._clock,
            keys=keys,
        )
        self._committer = Committer(
            outbox=self._outbox, clock=self._clock, draft=self._draft, release=self._room.release
        )
        self._thread.start()
        self._link.start()

    def submit(self, event: Event, *, timeout: float = 30.0) -> UUID:
        """Hand over `event` to be committed with the next group (5 to 50 ms; alarms at once); return its id.

        Safe from any thread; returns at once unless `DeliveryOptions.queue` events wait for a disk that
        does not take them. It is an event that survives once it is committed: see `flush`.

        Raises:
            EventError: it does not fit the schema.
            OutboxFull: the queue stayed full for `timeout` seconds.
            OutboxError: delivery has ended.
        """
        self._require_alive()
        made = self._draft(event)
        if not self._room.acquire(timeout=timeout):
            raise OutboxFull(
                f"{self._options.queue} events wait and the outbox takes none: {self._status.last_error}",
                fix="free space on the outbox's disk",
            )
        self._submitted += 1
        self._inbox.put(Submission(draft=made))
        return made.event_id

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything submitted before is committed; return whether it is."""
        done = threading.Event()
        self._inbox.put(done)
        return done.wait(timeout)

    def publish_muster(self, snapshot: PresenceSnapshot, *, as_event: bool = False) -> None:
        """Let `snapshot` stand retained as the muster; with `as_event` also commit it as an event."""
        self._muster = snapshot
        if as_event:
            self.submit(Event(kind="muster", mono_ns=snapshot.mono_ns, data=muster_fields(snapshot)))

    def set_context(self, context: EnvelopeContext) -> None:
        """Let events submitted from now on say `context` about the box."""
        self._context = context

    @property
    def clean_before(self) -> bool:
        """Whether the run before this one ended with a goodbye, or there was none; known after `start`."""
        return self._clean_before

    def standing_alarms(self) -> tuple[str, ...]:
        """Return the ids of the alarms that stood in the outbox at `start`: an earlier run raised them."""
        return self._stood

    def contains(self, event_id: UUID, *, timeout: float = 5.0) -> bool:
        """Return whether the event waits in the outbox or to be committed; True if nobody answers in time."""
        asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._inbox.put(_Question(event_id=event_id, answer=asked))
        try:
            return asked.get(timeout=timeout)
        except queue.Empty:
            return True

    def answer(self, topic: str, payload: bytes, correlation: bytes | None) -> None:
        """Publish an answer to a command, once, if there is a connection."""
        self._inbox.put(_Once(topic=topic, payload=payload, correlation=correlation))

    def status(self) -> DeliveryStatus:
        """Return what delivery says about itself, at most half a second old."""
        return self._status

    def stop(self, timeout: float = 5.0) -> bool:
        """Commit everything, say goodbye, disconnect and close; return whether that was done in time."""
        if not self._thread.is_alive():
            return self._fault is None
        self._stopping = True
        self._inbox.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive() and self._fault is None

    def _require_alive(self) -> None:
        if self._fault is not None or self._stopping:
            raise OutboxError(
                f"delivery has ended: {self._fault or 'it was stopped'}", fix="restart the daemon"
            )

    def _draft(self, event: Event, event_id: UUID | None = None) -> Draft:
        wall = wall_at(event.mono_ns, clock=self._clock)
        if event_id is None:
            event_id = self._ids.make(ms=event.mono_ns // _NS_PER_MS if wall.ms is None else max(0, wall.ms))
        return draft(event, event_id=event_id, wall=wall, context=self._context, now_ns=self._clock.mono_ns())

    # -- the delivery thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn(self._idle_s())
            self._finish()
        except Exception as error:  # noqa: BLE001 - the beats end with this thread, and the watchdog restarts the daemon
            self._fault = f"{type(error).__name__}: {error}"
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
        elif isinstance(item, _Question):
            waits = self._committer.waiting > 0 or self._outbox.contains(item.event_id.bytes)
            item.answer.put(waits)
        elif isinstance(item, _Once):
            self._courier.once(item.topic, item.payload, item.correlation)

    def _arrived(self, message: Message) -> None:
        if message.topic == self._topics.receipts:
            self._courier.receipt(message.payload, message.correlation)
        elif message.topic == self._topics.cards:
            if self._cards is not None:
                self._cards.arrived(message.payload)
        elif self._on_command is not None and message.topic != self._topics.responses:
            self._on_command(message)

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
        self._status = self._measured(now)
        self._spool(now)
        if (fix := self._fixer.check()) is not None:
            self._committer.add(Submission(draft=self._draft(fix), counted=False))
            self._outbox.note_boot(self._context.boot, self._fixer.offset_ms)
        self._courier.grown(self._committer.report_losses(now))
        snapshot = self._muster
        if snapshot is not None and now - self._muster_at >= _MUSTER_EVERY_NS:
            self._muster, self._muster_at = None, now
            wall = wall_at(snapshot.mono_ns, clock=self._clock)
            self._courier.retain(
                self._topics.muster, muster_document(context=self._context, snapshot=snapshot, wall=wall)
            )
        if now - self._state_at >= int(self._options.state_every_s * _NS) and not self._stopping:
            self._say_state()

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
        self._state_at = now
        self._status = self._measured(now)
        document = state_document(
            context=self._context,
            status=self._status,
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
        self._courier.retain(self._topics.state, gone_document(context=self._context, reason="stopped"))
        for _ in range(_GOODBYE_TURNS):
            if not self._courier.connected or self._courier.idle:
                break
            self._turn(0.02)
        self._take(0)
        if self._committer.waiting:
            self._committer.commit(self._clock.mono_ns())
        self._courier.flush_deletes(force=True)
        self._courier.flush_receipts(force=True)
        self._outbox.note(_RUN, "stopped")
