"""The connection to the broker: it is made, watched and made again in a thread of its own.

Every connection is a new client object. paho keeps what was published in memory and sends it again
on its own after a reconnect, beyond any window; a new client knows nothing of what was before, and
what must be sent again comes from the outbox, where it is safe.

The callbacks do nothing but put a value into the owner's queue: an exception in one of them would
kill the network thread while the client still says that it is connected. Values of an old connection
are told by its number.
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_app.delivery.tls import context_for
from edge_app.delivery.validity import expired_on
from edge_app.errors import DsrError, LinkError
from edge_app.secret_files import read_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.clock import Clock
    from edge_app.delivery.options import BrokerOptions, DeliveryOptions

_LOG = structlog.get_logger(__name__)

_FIRST_DELAY_S: Final = 0.25
_STEADY_S: Final = 10.0
#: After so many connections in a row that stood for less than that, somebody else may have our id.
_THROWN_OUT: Final = 3
_POLL_S: Final = 0.2
#: What the broker may send us in one packet: receipts and commands are small.
_INCOMING_BYTES: Final = 128 * 1024


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A connection stands. `receive_maximum` and `max_packet` are the broker's limits."""

    conn: int
    broker: str
    receive_maximum: int
    max_packet: int | None


@dataclass(frozen=True, slots=True)
class LinkDown:
    """A connection has ended, or could not be made (`was_up` False)."""

    conn: int
    reason: str
    was_up: bool


@dataclass(frozen=True, slots=True)
class Ack:
    """The broker's PUBACK for the message `mid`; `code` is MQTT 5's reason code."""

    conn: int
    mid: int
    code: int


@dataclass(frozen=True, slots=True)
class Message:
    """Something arrived on a topic that we subscribed to."""

    conn: int
    topic: str
    payload: bytes
    response_topic: str | None
    correlation: bytes | None


LinkReport = LinkUp | LinkDown | Ack | Message


class _Packed(Properties):
    """Properties that are packed once: the library would do it again for every message."""

    def pack(self) -> bytes:
        """Return the bytes on the wire."""
        if "_packed" not in self.__dict__:
            object.__setattr__(self, "_packed", super().pack())  # type: ignore[no-untyped-call]
        packed: bytes = self.__dict__["_packed"]
        return packed


def event_properties(token: bytes, *, replay: bool) -> Properties:
    """Return the MQTT 5 properties of an event; its body is the same bytes always.

    Args:
        token: correlation data: what a receipt repeats to prove that its event came on this connection.
        replay: mark a redelivery with the user property ``replay`` = ``1``.
    """
    properties = _Packed(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.CorrelationData = token
    if replay:
        properties.UserProperty = ("replay", "1")
    return properties


class Link:
    """Keeps a connection to the first broker of `options.brokers` that can be reached.

    Args:
        options: the brokers in order, and the times allowed.
        clock: tells how far certificates' dates can be checked.
        report: gets every `LinkReport`; called from the network thread, must return at once.
        will: topic and payload of the retained last will.
        subscriptions: topic filters, subscribed at QoS 1 on every connection; what stands retained there is
            not asked for: what was said before is not said now.
    """

    def __init__(
        self,
        *,
        options: DeliveryOptions,
        clock: Clock,
        report: Callable[[LinkReport], None],
        will: tuple[str, bytes],
        subscriptions: tuple[str, ...],
    ) -> None:
        self._options = options
        self._clock = clock
        self._report = report
        self._will = will
        self._subscriptions = subscriptions
        self._conn = 0
        self._gate = threading.Lock()
        self._client: mqtt.Client | None = None
        self._up = False
        self._reason = ""
        self._told = ""
        self._short_ones = 0
        self._drop: str | None = None
        self._stopping = threading.Event()
        self._jitter = random.Random()  # noqa: S311 - spreads reconnects, guards nothing
        self._thread = threading.Thread(target=self._run, name="mqtt-link", daemon=True)

    def start(self) -> None:
        """Start trying to connect."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Disconnect in order (no last will is sent) and end the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def drop(self, reason: str) -> None:
        """Give up the present connection, because the owner sees no progress on it."""
        self._drop = reason

    def publish(
        self,
        conn: int,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> int | None:
        """Hand a message to connection `conn` at QoS 1; return its packet id, None if `conn` is gone."""
        # The gate keeps the sockets open meanwhile. No callback takes it, so paho's own locks cannot
        # close a circle with it.
        with self._gate:
            if self._client is None or conn != self._conn or not self._up:
                return None
            info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
            return None if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS else info.mid

    # -- the network thread ------------------------------------------------------------------------

    def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            for broker in self._options.brokers:
                began = time.monotonic()
                was_up = self._one_connection(broker)
                if was_up or self._stopping.is_set():
                    break
            if was_up and time.monotonic() - began >= _STEADY_S:
                attempt = 0
            ceiling = min(self._options.reconnect_max_s, _FIRST_DELAY_S * 2 ** min(attempt, 10))
            attempt += 1
            self._stopping.wait(ceiling * self._jitter.uniform(0.5, 1.0))

    def _one_connection(self, broker: BrokerOptions) -> bool:
        """Connect to `broker` and serve the connection to its end; return whether it ever stood."""
        self._conn += 1
        self._up, self._reason, self._drop = False, "", None
        client: mqtt.Client | None = None
        was_up, began = False, time.monotonic()
        try:
            client = self._new_client(broker)
            self._client = client
            was_up = self._serve(client, broker)
        except (OSError, ssl.SSLError, ValueError, DsrError) as error:
            self._reason = self._reason or why_not(error)
        except Exception as error:  # noqa: BLE001 - a broker's bytes must not end this thread
            _LOG.exception("link_failed", broker=broker.name)
            self._reason = f"{type(error).__name__}: {error}"
        was_up = was_up or self._up
        with self._gate:
            self._up = False
            self._client = None
            if client is not None:
                _close(client)
        self._short_ones = self._short_ones + 1 if was_up and time.monotonic() - began < _STEADY_S else 0
        hint = self._hint(broker, was_up=was_up)
        reason = f"{broker.name}: {self._reason or 'connection ended'}{'' if hint is None else f'; {hint}'}"
        if not self._stopping.is_set():
            # A broker that stays away is one line, not one line an attempt.
            tell = _LOG.warning if was_up or reason != self._told else _LOG.debug
            tell("link_down", broker=broker.name, reason=reason, was_up=was_up)
            self._told = reason
        self._report(LinkDown(conn=self._conn, reason=reason, was_up=was_up))
        return was_up

    def _hint(self, broker: BrokerOptions, *, was_up: bool) -> str | None:
        """Return what a broker does not say: that our own certificate has expired, or another has our id."""
        if self._short_ones >= _THROWN_OUT:
            return f"again and again: does another client call itself {self._options.mqtt_client_id}?"
        wall = self._clock.wall()
        if was_up or broker.tls is None or wall.ms is None:
            return None
        now = datetime.fromtimestamp(wall.ms / 1000, tz=timezone.utc)
        ended = expired_on(broker.tls.cert_file, now)
        return None if ended is None else f"our own certificate expired on {ended:%Y-%m-%d}"

    def _new_client(self, broker: BrokerOptions) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._options.mqtt_client_id,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(0)  # the window is the owner's
        client.max_queued_messages_set(0)
        client.connect_timeout = self._options.connect_timeout_s
        client.will_set(*self._will, qos=1, retain=True)
        if broker.username is not None:
            secret = None
            if broker.password_file is not None:
                secret = read_secret(broker.password_file, what="the broker's password file").decode("utf-8")
            client.username_pw_set(broker.username, secret)
        if broker.tls is not None:
            client.tls_set_context(context_for(broker.tls, quality=self._clock.wall().quality))
        conn = self._conn
        client.on_connect = self._connected(conn, broker)
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        client.on_publish = lambda _c, _u, mid, code, _p: self._report(
            Ack(conn=conn, mid=mid, code=code.value)
        )
        client.on_message = lambda _c, _u, message: self._report(_message(conn, message))
        # With this callback set, publish() in the owner's thread queues and wakes, and never writes to
        # the socket itself: a TLS socket must not be used by two threads at once.
        client.on_socket_register_write = lambda _c, _u, _s: None
        return client

    def _serve(self, client: mqtt.Client, broker: BrokerOptions) -> bool:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = _INCOMING_BYTES
        client.connect(
            broker.host,
            broker.port,
            keepalive=self._options.keepalive_s,
            clean_start=True,
            properties=properties,
        )
        deadline = time.monotonic() + self._options.connect_timeout_s
        while True:
            status = client.loop(_POLL_S)
            if status != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._reason = self._reason or mqtt.error_string(status)
                return self._up
            if self._drop is not None:
                self._reason = self._drop
                return self._up
            if self._stopping.is_set():
                self._goodbye(client)
                return self._up
            if not self._up and time.monotonic() > deadline:
                raise LinkError(f"no CONNACK within {self._options.connect_timeout_s:.0f} s")

    def _goodbye(self, client: mqtt.Client) -> None:
        client.disconnect()
        for _ in range(10):
            if client.loop(0.05) != MQTTErrorCode.MQTT_ERR_SUCCESS or not client.want_write():
                return

    def _connected(self, conn: int, broker: BrokerOptions) -> mqtt.CallbackOnConnect_v2:
        def on_connect(client: mqtt.Client, _data: Any, _flags: Any, code: Any, properties: Any) -> None:
            if code.is_failure:
                self._reason = f"broker refused: {code}"
                return
            if self._subscriptions:
                new_only = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
                client.subscribe([(topic, new_only) for topic in self._subscriptions])
            self._up = True
            self._report(
                LinkUp(
                    conn=conn,
                    broker=broker.name,
                    receive_maximum=int(getattr(properties, "ReceiveMaximum", 65535)),
                    max_packet=getattr(properties, "MaximumPacketSize", None),
                )
            )

        return on_connect

    def _subscribed(self, _client: mqtt.Client, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
        for topic, code in zip(self._subscriptions, codes, strict=False):
            if code.is_failure:
                _LOG.error("subscription_refused", topic=topic, reason=str(code))

    def _disconnected(
        self, _client: mqtt.Client, _data: Any, flags: Any, code: Any, _properties: Any
    ) -> None:
        if not self._reason:
            self._reason = why_ended(flags, code, stood=self._up)


def _message(conn: int, message: mqtt.MQTTMessage) -> Message:
    properties = message.properties
    return Message(
        conn=conn,
        topic=message.topic,
        payload=bytes(message.payload),
        response_topic=getattr(properties, "ResponseTopic", None),
        correlation=getattr(properties, "CorrelationData", None),
    )


def _close(client: mqtt.Client) -> None:
    """Close the sockets whatever state the client is in; its public ways may wait."""
    try:
        client._reset_sockets()  # noqa: SLF001 - see above
    except OSError:
        _LOG.debug("socket_did_not_close", exc_info=True)


def why_ended(flags: Any, code: Any, *, stood: bool) -> str:
    """Return in words why a connection ended; the library has none where the broker has none."""
    if flags.is_disconnect_packet_from_server or str(code) != "Unspecified error":
        return str(code)
    if stood:
        return "connection lost"
    return "the broker hung up before it answered: does it want TLS on this port, or a client certificate?"


def why_not(error: Exception) -> str:
    """Return in words why a connection could not be made."""
    if isinstance(error, DsrError):
        return error.what
    if isinstance(error, ConnectionRefusedError):
        return "refused: nothing listens there"
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({error.strerror})"
    if isinstance(error, TimeoutError):
        return "no answer"
    return str(error) or type(error).__name__
