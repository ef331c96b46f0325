"""The reference consumer: take events from the broker, commit each once, and only then receipt it.

::

    broker --> queue --> [commit a batch] --> receipts, one message a box --> broker

The order is the whole point. A receipt lets the box forget the event, so it is sent when the event is on
this machine's disk; a receipt that gets lost costs a redelivery, which is recognised by its id and
receipted again. Receipts are sent on the connection on which the subscription stands, never kept for
the next one. When it is connected the consumer says "I am here" (a receipt for nothing), and the boxes
send what is owed. A receipt repeats the correlation data of the box's newest event: that tells the box
that the subscription stood on its present connection, so that nothing overtakes what a killed broker forgot.

The MQTT session is persistent: the broker keeps what comes while the consumer restarts. For the same
reason a message is acknowledged to the broker (PUBACK) only after the commit: what was acknowledged and
not yet stored when the consumer is killed would come again from the box, but after what followed it.

**Several consumers** on one database share the events (MQTT 5's shared subscription): each gets a part,
and each receipts what it has committed. Then the session is not kept: a broker would go on giving a
part to a consumer that is not there. Whoever goes without a goodbye leaves a last will, at which the
others say "I am here" once more, and the boxes send again what that one had not receipted.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_app.clock import WallQuality
from edge_app.delivery.event import MAX_BODY_BYTES
from edge_app.delivery.link import why_ended, why_not
from edge_app.delivery.receipts import MAX_IDS, make_receipt
from edge_app.delivery.tls import context_for
from edge_app.errors import DsrError
from surface.arrive import Refused, event_of, muster_of, said_at, state_of
from surface.database import SurfaceError, Unstorable
from surface.store import Arrived, Said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_app.delivery.options import TlsOptions
    from surface.store import Store

_LOG = structlog.get_logger(__name__)

_BATCH: Final = 500
_GATHER_S: Final = 0.002
_POLL_S: Final = 0.2
#: A connection that lasts so long is one; after shorter ones the next waits longer, up to five seconds.
_STEADY_S: Final = 10.0
_EVENT_PARTS: Final = 6
_STATE_PARTS: Final = 5
_SESSION_S: Final = 7 * 86_400
#: The largest message that the broker may send us: an event, with its topic and properties.
_PACKET_BYTES: Final = MAX_BODY_BYTES + 8 * 1024
#: Messages that wait for the store. A broker with a window stays far below; a flood at QoS 0 has none.
_INBOX: Final = 20_000


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """Where the broker is, who we are, and the keys we share with boxes (by node; ``*`` for all others).

    `share` is this consumer's name among several that share the events of one `consumer`; None: it is alone.
    """

    host: str
    port: int
    consumer: str
    site: str
    keys: Mapping[str, bytes]
    username: str | None = None
    password: str | None = None
    tls: TlsOptions | None = None
    keepalive_s: int = 15
    node: str = "+"
    share: str | None = None

    @property
    def client_id(self) -> str:
        """What the broker knows us by: the same after a restart, another for each that shares."""
        return f"dsr-surface-{self.consumer}" + ("" if self.share is None else f"-{self.share}")

    @property
    def gone(self) -> str:
        """The topic of the last wills of those who share."""
        return f"dsr-surface/{self.consumer}/gone"

    @property
    def filters(self) -> tuple[str, ...]:
        """What we subscribe to; over a shared subscription comes nothing retained, so states are not."""
        base = f"mine/{self.site}/v1/{self.node}"
        if self.share is None:
            return (f"{base}/evt/#", f"{base}/state", f"{base}/muster")
        shared = f"$share/dsr-surface-{self.consumer}/{base}/evt/#"
        return (shared, f"{base}/state", f"{base}/muster", self.gone)


@dataclass(frozen=True, slots=True)
class _Incoming:
    """A message, and what is needed to acknowledge it on its connection."""

    topic: str
    payload: bytes
    conn: int
    mid: int
    qos: int
    token: bytes | None
    retained: bool = False


class Consumer:
    """Runs until `stop`; `run` is the thread that owns the store."""

    def __init__(self, *, settings: ConsumerSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._inbox: queue.SimpleQueue[_Incoming] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._client: mqtt.Client | None = None
        self._subscribed = False
        self._conn = 0
        self._greeted: set[tuple[str, str]] = set()
        self._said: dict[tuple[str, str, str], Said] = {}
        self._tokens: dict[tuple[str, str], bytes | None] = {}
        self._gate = threading.Lock()
        self._broker = f"{settings.host}:{settings.port}"
        self._ended = self._told = ""
        self._keyless: set[tuple[str, str]] = set()
        self.stored = self.duplicates = self.refused = self.receipted = self.overflowed = 0

    def stop(self) -> None:
        """Let `run` end; safe from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Connect, and serve the store, until `stop`."""
        link = threading.Thread(target=self._keep_connected, name="surface-link", daemon=True)
        link.start()
        while not self._stopping.is_set():
            batch = self._gather()
            if batch:
                self._take(batch)
        link.join(3)

    # -- the store's thread --------------------------------------------------------------------------

    def _gather(self) -> list[_Incoming]:
        """Return what has come, waiting a moment for more once something has."""
        batch: list[_Incoming] = []
        deadline = time.monotonic() + _POLL_S
        with suppress(queue.Empty):
            while len(batch) < _BATCH:
                batch.append(self._inbox.get(timeout=max(0.0, deadline - time.monotonic())))
                if len(batch) == 1:
                    deadline = time.monotonic() + _GATHER_S
        return batch

    def _take(self, batch: list[_Incoming]) -> None:
        arrived: list[Arrived] = []
        now_ms = time.time_ns() // 1_000_000
        for one in batch:
            self._sort(one, arrived, now_ms)
        if self._said:
            self._keep_said()
        if arrived:
            self._keep(arrived)
        if not self._stopping.is_set():
            self._acknowledge(batch)

    def _keep(self, arrived: list[Arrived]) -> None:
        """Commit events and receipt them, however long that takes; what can never be stored is refused."""
        while not self._stopping.is_set():
            try:
                new = self._store.add(arrived)
            except Unstorable as error:
                if len(arrived) == 1:
                    self._refuse(f"{arrived[0].site}/{arrived[0].node}", str(error))
                for one in arrived if len(arrived) > 1 else ():
                    self._keep([one])
                return
            except SurfaceError as error:
                _LOG.error("not_stored", reason=str(error))
                self._stopping.wait(1.0)
                continue
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
        except SurfaceError as error:
            _LOG.error("not_stored", reason=str(error))
        for site, node in {(one.site, one.node) for one in said.values() if one.boot is None} - self._greeted:
            self._greeted.add((site, node))
            self._send_receipt(site, node, [])

    def _acknowledge(self, batch: list[_Incoming]) -> None:
        """Tell the broker that these need not come again on this session."""
        with self._gate:
            if self._client is None:
                return
            for one in batch:
                if one.conn == self._conn and one.qos > 0:
                    self._client.ack(one.mid, one.qos)

    def _sort(self, one: _Incoming, arrived: list[Arrived], now_ms: int) -> None:
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

    def _sorted(self, one: _Incoming, arrived: list[Arrived], now_ms: int) -> None:
        parts, payload = one.topic.split("/"), one.payload
        if one.topic == self._settings.gone:
            for site, node in sorted(self._greeted):
                self._send_receipt(site, node, [])
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
        with self._gate:  # keeps the sockets open meanwhile; no callback takes it
            if self._client is None or not self._subscribed:
                return
            properties = None
            if (token := self._tokens.get((site, node))) is not None:
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                properties.CorrelationData = token
            self._client.publish(f"mine/{site}/v1/{node}/rcpt", payload, qos=1, properties=properties)
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

    # -- the network thread --------------------------------------------------------------------------

    def _keep_connected(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            client: mqtt.Client | None = None
            began, self._ended = time.monotonic(), ""
            attempt += 1
            try:
                client = self._new_client()
                self._serve(client)
            except (OSError, ValueError, DsrError) as error:
                self._ended = self._ended or why_not(error)
            except Exception as error:  # noqa: BLE001 - a broker's bytes must not end this thread
                _LOG.exception("link_failed")
                self._ended = f"{type(error).__name__}: {error}"
            if not self._stopping.is_set():
                self._say_down()
            with self._gate:
                self._subscribed = False
                self._client = None
                if client is not None:
                    client._reset_sockets()  # noqa: SLF001 - the public ways may wait
            if time.monotonic() - began >= _STEADY_S:
                attempt = 0
            self._stopping.wait(min(5.0, 0.2 * 2 ** min(attempt, 5)))

    def _say_down(self) -> None:
        """Log why there is no connection; a broker that stays away is one line, not one line an attempt."""
        reason = self._ended or "connection ended"
        tell = _LOG.warning if self._subscribed or reason != self._told else _LOG.debug
        tell(
            "link_down",
            broker=self._broker,
            reason=reason,
            fix="tried again for ever; the boxes keep their events",
        )
        self._told = reason

    def _new_client(self) -> mqtt.Client:
        settings = self._settings
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password)
        if settings.tls is not None:
            # Dates always count: a machine on the surface has a clock.
            client.tls_set_context(context_for(settings.tls, quality=WallQuality.SYNC))
        if settings.share is not None:
            client.will_set(settings.gone, settings.share.encode("ascii"), qos=1)
        client.on_connect = self._connected
        client.on_subscribe = self._on_subscribed
        client.on_disconnect = self._disconnected
        self._conn += 1
        client.on_message = self._taker(self._conn)
        client.on_socket_register_write = lambda _c, _u, _s: None  # the loop writes, never a caller
        return client

    def _taker(self, conn: int) -> Any:
        def take(_client: mqtt.Client, _data: Any, m: mqtt.MQTTMessage) -> None:
            if m.qos == 0 and self._inbox.qsize() >= _INBOX:
                self.overflowed += 1  # no box sends so: nobody waits for a receipt
                return
            token = getattr(m.properties, "CorrelationData", None)
            self._inbox.put(_Incoming(m.topic, bytes(m.payload), conn, m.mid, m.qos, token, m.retain))

        return take

    def _serve(self, client: mqtt.Client) -> None:
        settings = self._settings
        alone = settings.share is None
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _SESSION_S if alone else 0
        properties.MaximumPacketSize = _PACKET_BYTES
        client.connect(
            settings.host,
            settings.port,
            keepalive=settings.keepalive_s,
            clean_start=not alone,
            properties=properties,
        )
        self._client = client
        while client.loop(0.2) == mqtt.MQTT_ERR_SUCCESS:
            if self._stopping.is_set():
                words = "Normal disconnection" if alone else "Disconnect with will message"
                client.disconnect(reasoncode=ReasonCode(PacketTypes.DISCONNECT, words))

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._ended = f"broker refused: {code}; check --username, --password-file and its access list"
            return
        client.subscribe([(one, SubscribeOptions(qos=1)) for one in self._settings.filters])

    def _disconnected(
        self, _client: mqtt.Client, _data: Any, flags: Any, code: Any, _properties: Any
    ) -> None:
        self._ended = self._ended or why_ended(flags, code, stood=self._subscribed)

    def _on_subscribed(
        self, _client: mqtt.Client, _data: Any, _mid: int, codes: Any, _properties: Any
    ) -> None:
        if any(code.is_failure for code in codes):
            _LOG.error("subscription_refused", reasons=[str(code) for code in codes])
            return
        self._greeted = set()
        self._subscribed = True
        _LOG.info("subscribed", broker=self._broker)
