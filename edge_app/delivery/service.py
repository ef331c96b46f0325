"""Delivery: commits events to the outbox and brings them to the broker until somebody has them for good.

This is what other threads see of it; the work is done by one thread, ``delivery`` (`worker.py`).

A row is deleted when the broker acknowledges it, if no consumer that sends receipts is required: then
the promise ends at the broker, and a broker can lose it. With required consumers a row is deleted
when each of them has receipted it.
"""

from __future__ import annotations

import json
import queue
import threading
from typing import TYPE_CHECKING, Any, Final

import structlog

from edge_app.delivery.cards import CardIntake
from edge_app.delivery.committer import Committer, Submission
from edge_app.delivery.courier import Courier
from edge_app.delivery.drafter import Drafter
from edge_app.delivery.link import Link, Message
from edge_app.delivery.outbox import Outbox
from edge_app.delivery.receipts import read_key
from edge_app.delivery.retained import gone_document, muster_fields
from edge_app.delivery.topics import Topics
from edge_app.delivery.worker import BLANK, RUN, Once, Question, Worker
from edge_app.errors import OutboxCorrupt, OutboxError, OutboxFull
from edge_app.records import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from edge_app.clock import Clock
    from edge_app.delivery.event import EnvelopeContext
    from edge_app.delivery.options import DeliveryOptions, DeliveryStatus
    from edge_app.records import CardReading, PresenceSnapshot

_LOG = structlog.get_logger(__name__)
_FIRST: Final = "at a box's first start nothing; else its state is gone: docs/deployment.md, Another disk"


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
        self._clock = clock
        self._on_beat = on_beat
        self._on_command = on_command
        self._cards = None if on_cards is None else CardIntake(clock=clock, on_cards=on_cards)
        self._topics = Topics(site=options.site, node=options.node)
        self._draft = Drafter(context=context, clock=clock)
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._room = threading.BoundedSemaphore(options.queue)
        self._stood: dict[str, str] = {}
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None

    def start(self, *, patience_s: float = 0.0) -> None:
        """Open the outbox and start; an unreachable broker is no error, the link keeps trying.

        Args:
            patience_s: how long to wait for a command that has the outbox (`emit`, `drain`).

        Raises:
            OutboxLocked: another process owns the outbox.
            OutboxError: it cannot be opened.
            ConfigError: a consumer's key cannot be read.
        """
        keys = {one.id: read_key(one.key_file, consumer=one.id) for one in self._options.consumers}
        outbox = Outbox(options=self._options.outbox, alive=self._on_beat, patience_s=patience_s)
        try:
            link = self._assemble(outbox, keys)
        except OutboxCorrupt as error:  # a file that opens may still be damaged in a table that is read now
            _LOG.error("outbox_corrupt", error=str(error))
            outbox.recover()
            link = self._assemble(outbox, keys)
        if self._thread is not None:
            self._thread.start()
        link.start()

    def _assemble(self, outbox: Outbox, keys: dict[str, bytes]) -> Link:
        self._stood = {one.id: _reason_of(one.body) for one in outbox.alarms() if one.body is not None}
        link = self._new_link(receipts=bool(keys))
        self._worker = self._new_worker(outbox, link, keys)
        before = outbox.note(RUN, "running")
        self._clean_before = before in {None, "stopped"}
        if before is None and outbox.next_seq == 1:
            _LOG.warning("outbox_new", path=str(outbox.path), fix=_FIRST)
        self._thread = threading.Thread(target=self._worker.run, name="delivery", daemon=True)
        return link

    def _new_link(self, *, receipts: bool) -> Link:
        subscriptions = (
            *((self._topics.receipts,) if receipts else ()),
            *((self._topics.commands,) if self._on_command else ()),
            *((self._topics.cards,) if self._cards else ()),
        )
        return Link(
            options=self._options,
            clock=self._clock,
            report=self._inbox.put,
            will=(self._topics.state, gone_document(context=self._draft.context, reason="lost")),
            subscriptions=subscriptions,
        )

    def _new_worker(self, outbox: Outbox, link: Link, keys: dict[str, bytes]) -> Worker:
        courier = Courier(
            options=self._options,
            outbox=outbox,
            topics=self._topics,
            link=link,
            clock=self._clock,
            keys=keys,
        )
        committer = Committer(outbox=outbox, clock=self._clock, draft=self._draft, release=self._room.release)
        return Worker(
            options=self._options,
            outbox=outbox,
            link=link,
            courier=courier,
            committer=committer,
            draft=self._draft,
            topics=self._topics,
            clock=self._clock,
            inbox=self._inbox,
            on_beat=self._on_beat,
            on_message=self._arrived,
        )

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
                f"{self._options.queue} events wait and the outbox takes none: {self.status().last_error}",
                fix="free space on the outbox's disk",
            )
        self._inbox.put(Submission(draft=made))
        return made.event_id

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything submitted before is committed; return whether it is."""
        done = threading.Event()
        self._inbox.put(done)
        return done.wait(timeout)

    def publish_muster(self, snapshot: PresenceSnapshot, *, as_event: bool = False) -> None:
        """Let `snapshot` stand retained as the muster; with `as_event` also commit it as an event."""
        self._inbox.put(snapshot)
        if as_event:
            self.submit(Event(kind="muster", mono_ns=snapshot.mono_ns, data=muster_fields(snapshot)))

    def set_context(self, context: EnvelopeContext) -> None:
        """Let events submitted from now on say `context` about the box."""
        self._draft.context = context

    @property
    def refused_cards(self) -> int:
        """How many messages on the cards' topic were none; 0 where none are read."""
        return 0 if self._cards is None else self._cards.refused

    def set_measures(self, measures: Mapping[str, float]) -> None:
        """Let the box's state say these numbers about its health."""
        self._draft.measures = measures

    @property
    def clean_before(self) -> bool:
        """Whether the run before this one ended with a goodbye, or there was none; known after `start`."""
        return self._clean_before

    def standing_alarms(self) -> tuple[str, ...]:
        """Return the ids of the alarms that stood in the outbox at `start`: an earlier run raised them."""
        return tuple(self._stood)

    def standing_reason(self, alarm_id: str) -> str | None:
        """Return why an alarm was raised that stood in the outbox at `start`; None if it did not."""
        return self._stood.get(alarm_id)

    def contains(self, event_id: UUID, *, timeout: float = 5.0) -> bool:
        """Return whether the event waits in the outbox or to be committed; True if nobody answers in time."""
        asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._inbox.put(Question(event_id=event_id, answer=asked))
        try:
            return asked.get(timeout=timeout)
        except queue.Empty:
            return True

    def answer(self, topic: str, payload: bytes, correlation: bytes | None) -> None:
        """Publish an answer to a command, once, if there is a connection."""
        self._inbox.put(Once(topic=topic, payload=payload, correlation=correlation))

    def status(self) -> DeliveryStatus:
        """Return what delivery says about itself, at most half a second old."""
        return BLANK if self._worker is None else self._worker.status

    def stop(self, timeout: float = 5.0) -> bool:
        """Commit everything, say goodbye, disconnect and close; return whether that was done in time."""
        if self._worker is None or self._thread is None:
            return True
        if self._thread.is_alive():
            self._worker.stopping = True
            self._inbox.put(None)
            self._thread.join(timeout)
        return not self._thread.is_alive() and self._worker.fault is None

    def _require_alive(self) -> None:
        worker = self._worker
        if worker is not None and (worker.fault is not None or worker.stopping):
            raise OutboxError(
                f"delivery has ended: {worker.fault or 'it was stopped'}", fix="restart the daemon"
            )

    def _arrived(self, message: Message) -> None:
        if message.topic == self._topics.cards:
            if self._cards is not None:
                self._cards.arrived(message.payload)
        elif self._on_command is not None and message.topic != self._topics.responses:
            self._on_command(message)


def _reason_of(body: bytes) -> str:
    """Return the reason that an alarm's event gives."""
    return str(json.loads(body).get("reason", ""))
