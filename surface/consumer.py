"""The reference consumer: take events from the broker, commit each once, and only then receipt it.

::

    broker --> queue --> [commit a batch] --> receipts, one message a box --> broker

The order is the whole point. A receipt lets the box forget the event, so it is sent when the event is on
this machine's disk; a receipt that gets lost costs a redelivery, which is recognised by its id and
receipted again. Receipts are sent on the connection on which the subscription stands, never kept for
the next one. When it is connected the consumer says "I am here" (a receipt for nothing), and the boxes
send what is owed. A receipt repeats the correlation data of the box's newest event: that tells the box
that the subscription stood on its present connection, so that nothing overtakes what a killed broker forgot.

The connection itself, and what several consumers on one database share, are `link.py`'s.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from edge_app.delivery.receipts import MAX_IDS, make_receipt
from surface.arrive import Refused, event_of, muster_of, said_at, state_of
from surface.database import SurfaceError, Unstorable
from surface.link import Incoming, SurfaceLink
from surface.records import Said
from surface.store import Arrived

if TYPE_CHECKING:
    from surface.link import ConsumerSettings
    from surface.store import Store

_LOG = structlog.get_logger(__name__)

_BATCH: Final = 500
_GATHER_S: Final = 0.002
_POLL_S: Final = 0.2
_TELL_EVERY_S: Final = 60.0
_EVENT_PARTS: Final = 6
_NODE: Final = 3
_STATE_PARTS: Final = 5


class Consumer:
    """Runs until `stop`; `run` is the thread that owns the store."""

    def __init__(self, *, settings: ConsumerSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._inbox: queue.SimpleQueue[Incoming] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._greeted: set[tuple[str, str]] = set()
        self._said: dict[tuple[str, str, str], Said] = {}
        self._tokens: dict[tuple[str, str], bytes | None] = {}
        self._keyless: set[tuple[str, str]] = set()
        self._failing_since: float | None = None
        self._told, self._told_at = "", 0.0
        self._link = SurfaceLink(
            settings=settings, inbox=self._inbox, on_subscribed=self._greet_anew, stopping=self._stopping
        )
        self.stored = self.duplicates = self.refused = self.receipted = 0

    @property
    def subscribed(self) -> bool:
        """Whether our subscriptions stand at the broker now."""
        return self._link.subscribed

    @property
    def overflowed(self) -> int:
        """How many messages at QoS 0 were not read, because too many waited for the store."""
        return self._link.overflowed

    def stop(self) -> None:
        """Let `run` end; safe from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Connect, and serve the store, until `stop`."""
        link = threading.Thread(target=self._link.run, name="surface-link", daemon=True)
        link.start()
        while not self._stopping.is_set():
            batch = self._gather()
            if batch:
                self._take(batch)
        link.join(3)

    def _greet_anew(self) -> None:
        """Let every box that says something be told "I am here", because the subscription is a new one."""
        self._greeted = set()

    # -- the store's thread --------------------------------------------------------------------------

    def _gather(self) -> list[Incoming]:
        """Return what has come, waiting a moment for more once something has."""
        batch: list[Incoming] = []
        deadline = time.monotonic() + _POLL_S
        with suppress(queue.Empty):
            while len(batch) < _BATCH:
                batch.append(self._inbox.get(timeout=max(0.0, deadline - time.monotonic())))
                if len(batch) == 1:
                    deadline = time.monotonic() + _GATHER_S
        return batch

    def _take(self, batch: list[Incoming]) -> None:
        arrived: list[Arrived] = []
        now_ms = time.time_ns() // 1_000_000
        for one in batch:
            self._sort(one, arrived, now_ms)
        if self._said:
            self._keep_said()
        if arrived:
            self._keep(arrived)
        if not self._stopping.is_set():
            self._link.acknowledge(batch)

    def _keep(self, arrived: list[Arrived]) -> None:
        """Commit events and receipt them, however long that takes; what can never be stored is refused."""
        while not self._stopping.is_set():
            try:
                new = self._store.add(arrived, live=True)
            except Unstorable as error:
                if len(arrived) == 1:
                    self._refuse(f"{arrived[0].site}/{arrived[0].node}", str(error))
                for one in arrived if len(arrived) > 1 else ():
                    self._keep([one])
                return
            except SurfaceError as error:
                self._say_not_stored(error)
                self._stopping.wait(1.0)
                continue
            self._say_stores()
            self.stored += new
            self.duplicates += len(arrived) - new
            self._receipt(arrived)
            return

    def _keep_said(self) -> None:
        """Commit what boxes said about themselves, and say "I am here" to those that were not heard before.

        What a store that does not serve loses of it is said again: a muster every second, a state every 30.
        """
        said, self._said = self._said, {}
        try:
            self._store.say(said.values())
            self._say_stores()
        except SurfaceError as error:
            self._say_not_stored(error)
        for site, node in {(one.site, one.node) for one in said.values() if one.boot is None} - self._greeted:
            self._greeted.add((site, node))
            self._send_receipt(site, node, [])

    def _say_not_stored(self, error: SurfaceError) -> None:
        """Log why the store does not serve: when it begins, when the reason changes, and once a minute."""
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if str(error) != self._told or now - self._told_at >= _TELL_EVERY_S:
            self._told, self._told_at = str(error), now
            _LOG.error("not_stored", reason=error.what, fix=error.fix)

    def _say_stores(self) -> None:
        """Log that the store serves again."""
        if self._failing_since is not None:
            _LOG.info("stores_again", after_s=round(time.monotonic() - self._failing_since, 1))
            self._failing_since, self._told = None, ""

    def _sort(self, one: Incoming, arrived: list[Arrived], now_ms: int) -> None:
        """Take one message; whatever is wrong with it ends with it."""
        try:
            self._sorted(one, arrived, now_ms)
        except Refused as error:
            self._refuse(one.topic, str(error))
        except Exception as error:  # noqa: BLE001 - it would come again, and end us again
            self._refuse(one.topic, f"{type(error).__name__}: {error}")

    def _refuse(self, topic: str, reason: str) -> None:
        self.refused += 1
        if self.refused.bit_count() == 1:  # the 1st, 2nd, 4th ...: a flood fills no disk
            _LOG.warning("refused", topic=topic[:100], reason=reason[:300], refused=self.refused)

    def _sorted(self, one: Incoming, arrived: list[Arrived], now_ms: int) -> None:
        parts, payload = one.topic.split("/"), one.payload
        if one.topic == self._settings.gone:
            for site, node in sorted(self._greeted):
                self._send_receipt(site, node, [])
        elif len(parts) > _NODE and not self._is_ours(parts[1], parts[3]):
            return  # a filter of before stands in the broker's session: another consumer has it now
        elif len(parts) == _EVENT_PARTS and parts[4] == "evt":
            fields = event_of(payload, site=parts[1], node=parts[3], kind=parts[5])
            arrived.append(
                Arrived(site=parts[1], node=parts[3], fields=fields, body=payload, arrived_ms=now_ms)
            )
            self._tokens[parts[1], parts[3]] = one.token
        elif len(parts) == _STATE_PARTS and parts[4] == "state":
            fields = state_of(payload, site=parts[1], node=parts[3])
            at_ms = said_at(fields, now_ms) if one.retained else now_ms
            self._said[parts[1], parts[3], "state"] = Said(parts[1], parts[3], payload.decode("utf-8"), at_ms)
        elif len(parts) == _STATE_PARTS and parts[4] == "muster":
            fields = muster_of(payload, site=parts[1], node=parts[3])
            moment = (fields["boot"], fields["mono_ns"])
            said = Said(parts[1], parts[3], payload.decode("utf-8"), said_at(fields, now_ms), *moment)
            self._said[parts[1], parts[3], "muster"] = said
        else:
            raise Refused("not a topic of a box")

    def _is_ours(self, site: str, node: str) -> bool:
        """Return whether this consumer takes what comes of a box, and receipts it."""
        return self._settings.site in {"+", site} and self._settings.node in {"+", node}

    def _receipt(self, arrived: list[Arrived]) -> None:
        by_box: dict[tuple[str, str], list[str]] = {}
        for one in arrived:
            by_box.setdefault((one.site, one.node), []).append(one.fields["id"])
        for (site, node), ids in by_box.items():
            for first in range(0, len(ids), MAX_IDS):
                self._send_receipt(site, node, ids[first : first + MAX_IDS])

    def _send_receipt(self, site: str, node: str, ids: list[str]) -> None:
        key = self._settings.keys.get(node, self._settings.keys.get("*"))
        if key is None:
            self._say_keyless(site, node)
            return
        payload = make_receipt(key=key, site=site, node=node, consumer=self._settings.consumer, ids=ids)
        token = self._tokens.get((site, node))
        if self._link.publish(f"mine/{site}/v1/{node}/rcpt", payload, token=token):
            self.receipted += len(ids)

    def _say_keyless(self, site: str, node: str) -> None:
        """Log once that a box gets no receipts: nothing else would tell why it forgets nothing."""
        if (site, node) not in self._keyless:
            self._keyless.add((site, node))
            _LOG.error(
                "no_key",
                site=site,
                node=node,
                fix=f"put {node} or default into --keys; it gets no receipts meanwhile",
            )
