"""The consumer's connection to the broker: made, kept, and made again, in a thread of its own.

The MQTT session is persistent: the broker keeps what comes while the consumer restarts. For the same
reason a message is acknowledged to the broker (PUBACK) only after the commit: what was acknowledged and
not yet stored when the consumer is killed would come again from the box, but after what followed it.

**Several consumers** on one database share the events (MQTT 5's shared subscription): each gets a part,
and each receipts what it has committed. Then the session is not kept: a broker would go on giving a
part to a consumer that is not there. Whoever goes without a goodbye leaves a last will, at which the
others say "I am here" once more, and the boxes send again what that one had not receipted.

**A broker that is gone is tried every second.** On each new connection a box sends one event of each priority
and holds the rest, alarms too, until every consumer that it waits for has answered. So however long we
sleep after the broker is back, so long do its alarms wait.
"""

from __future__ import annotations

import ssl
import threading
import time
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
from edge_app.delivery.tls import context_for
from edge_app.errors import DsrError
from surface.advice import what_to_do

if TYPE_CHECKING:
    import queue
    from collections.abc import Callable, Mapping, Sequence

    from edge_app.delivery.options import TlsOptions

_LOG = structlog.get_logger(__name__)

#: A connection that lasts so long is one; after shorter ones the next waits longer.
_STEADY_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.2
#: Where nobody answers: a refused attempt costs next to nothing, and boxes hold their alarms for us.
_LONGEST_ABSENT_S: Final = 1.0
#: Where a broker answers and ends it (a password, a certificate, another with our client id): no storm.
_LONGEST_REFUSED_S: Final = 5.0
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
class Incoming:
    """A message, and what is needed to acknowledge it on its connection."""

    topic: str
    payload: bytes
    conn: int
    mid: int
    qos: int
    token: bytes | None
    retained: bool = False


def pause_s(attempt: int, *, answered: bool) -> float:
    """Return how many seconds to wait after the `attempt`-th short connection in a row (from 0).

    `answered` says whether a broker was there and ended it.
    """
    longest = _LONGEST_REFUSED_S if answered else _LONGEST_ABSENT_S
    return min(longest, _FIRST_PAUSE_S * 2.0 ** min(attempt, 10))


class SurfaceLink:
    """Keeps a connection with our subscriptions until `stopping` is set; `run` is its thread.

    Args:
        settings: where the broker is, and who we are there.
        inbox: gets every message, as it comes.
        on_subscribed: called in this thread when the subscription stands anew, before anything goes out.
        stopping: ends `run` when it is set.
    """

    def __init__(
        self,
        *,
        settings: ConsumerSettings,
        inbox: queue.SimpleQueue[Incoming],
        on_subscribed: Callable[[], None],
        stopping: threading.Event,
    ) -> None:
        self._settings = settings
        self._inbox = inbox
        self._on_subscribed = on_subscribed
        self._stopping = stopping
        self._client: mqtt.Client | None = None
        self._conn = 0
        self._gate = threading.Lock()
        self._broker = f"{settings.host}:{settings.port}"
        self._ended = self._told = ""
        self._reached = False
        self._short_ones = 0
        self.subscribed = False
        self.overflowed = 0

    def publish(self, topic: str, payload: bytes, *, token: bytes | None = None) -> bool:
        """Publish at QoS 1 with `token` as correlation data; return False where no subscription stands."""
        with self._gate:  # keeps the sockets open meanwhile; no callback takes it
            if self._client is None or not self.subscribed:
                return False
            properties = None
            if token is not None:
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                properties.CorrelationData = token
            self._client.publish(topic, payload, qos=1, properties=properties)
        return True

    def acknowledge(self, batch: Sequence[Incoming]) -> None:
        """Tell the broker that these need not come again on this session."""
        with self._gate:
            if self._client is None:
                return
            for one in batch:
                if one.conn == self._conn and one.qos > 0:
                    self._client.ack(one.mid, one.qos)

    # -- the network thread --------------------------------------------------------------------------

    def run(self) -> None:
        """Connect, again and again, until `stopping`."""
        attempt = 0
        while not self._stopping.is_set():
            client: mqtt.Client | None = None
            began, self._ended, self._reached = time.monotonic(), "", False
            attempt += 1
            try:
                client = self._new_client()
                self._serve(client)
            except (OSError, ValueError, DsrError) as error:
                self._ended = self._ended or why_not(error)
                self._reached = self._reached or not _is_absence(error)
            except Exception as error:  # noqa: BLE001 - a broker's bytes must not end this thread
                _LOG.exception("link_failed")
                self._ended = f"{type(error).__name__}: {error}"
                self._reached = True
            lasted = time.monotonic() - began >= _STEADY_S
            self._short_ones = self._short_ones + 1 if self.subscribed and not lasted else 0
            if not self._stopping.is_set():
                self._say_down()
            with self._gate:
                self.subscribed = False
                self._client = None
                if client is not None:
                    client._reset_sockets()  # noqa: SLF001 - the public ways may wait
            if lasted:
                attempt = 0
            self._stopping.wait(pause_s(attempt, answered=self._reached))

    def _say_down(self) -> None:
        """Log why there is no connection; a broker that stays away is one line, not one line an attempt."""
        reason = self._ended or "connection ended"
        tell = _LOG.warning if self.subscribed or reason != self._told else _LOG.debug
        tell(
            "link_down",
            broker=self._broker,
            reason=reason,
            fix=what_to_do(reason, self._settings, thrown_out=self._short_ones > 1),
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
        client.on_subscribe = self._answered
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
            self._inbox.put(Incoming(m.topic, bytes(m.payload), conn, m.mid, m.qos, token, m.retain))

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
        self._client, self._reached = client, True
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
        self._ended = self._ended or why_ended(flags, code, stood=self.subscribed)

    def _answered(self, _client: mqtt.Client, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
        if any(code.is_failure for code in codes):
            _LOG.error("subscription_refused", reasons=[str(code) for code in codes])
            return
        self._on_subscribed()
        self.subscribed = True
        _LOG.info("subscribed", broker=self._broker)


def _is_absence(error: Exception) -> bool:
    """Return whether `error` says that nobody answers; a handshake of TLS that fails is an answer."""
    return isinstance(error, OSError) and not isinstance(error, ssl.SSLError)
