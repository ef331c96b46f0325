"""One MQTT connection of the Sparkplug plane, driven by the plane's own thread.

Nothing here has a thread: `turn` lets paho read and write for a moment, and calls back on the way.
The will is the death certificate; what we publish is QoS 0; an end that we choose asks the broker to
send the will as well (MQTT 5's reason code 4), as the specification wants.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_app.delivery.link import why_ended
from edge_app.delivery.tls import context_for
from edge_app.errors import LinkError
from edge_app.secret_files import read_secret

if TYPE_CHECKING:
    from edge_app.clock import WallQuality
    from edge_app.delivery.options import BrokerOptions
    from edge_app.sparkplug.node import Outgoing
    from edge_app.sparkplug.options import SparkplugOptions

_LOG = structlog.get_logger(__name__)

_TURN_S: Final = 0.1
_GOODBYE_S: Final = 1.0
#: What the broker may send us in one packet: commands and states are small.
_INCOMING_BYTES: Final = 128 * 1024
#: Messages read and not yet looked at; who sends more is not answered faster.
_INBOX: Final = 1000


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message on a topic that we subscribed to."""

    topic: str
    payload: bytes


class Connection:
    """A connection to `broker` whose will is `death`; it is tried when it is made.

    Args:
        options: ids and times allowed.
        broker: where to.
        death: topic and payload of the will.
        subscriptions: exact topics, subscribed at QoS 1.
        quality: how far certificates' dates can be checked now.

    Raises:
        OSError: the broker cannot be reached (`ssl.SSLError` and time-outs are of this kind).
        ConfigError: a secret or a certificate cannot be read.
    """

    def __init__(
        self,
        *,
        options: SparkplugOptions,
        broker: BrokerOptions,
        death: Outgoing,
        subscriptions: tuple[str, ...],
        quality: WallQuality,
    ) -> None:
        self._options = options
        self._death = death
        self._subscriptions = subscriptions
        self._began = time.monotonic()
        self._acked = False
        self.ready = False
        self.reason: str | None = None
        self.arrived: list[Arrived] = []
        self._client = self._new_client(broker, quality)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = _INCOMING_BYTES
        properties.SessionExpiryInterval = 0
        try:
            self._client.connect(
                broker.host,
                broker.port,
                keepalive=options.keepalive_s,
                clean_start=True,
                properties=properties,
            )
        except BaseException:
            self.close()
            raise

    def _new_client(self, broker: BrokerOptions, quality: WallQuality) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._options.mqtt_client_id,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._options.connect_timeout_s
        client.will_set(self._death.topic, self._death.payload, qos=1, retain=False)
        if broker.username is not None:
            secret = None
            if broker.password_file is not None:
                secret = read_secret(broker.password_file, what="the broker's password file").decode("utf-8")
            client.username_pw_set(broker.username, secret)
        if broker.tls is not None:
            client.tls_set_context(context_for(broker.tls, quality=quality))
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_disconnect = self._disconnected
        client.on_message = self._message
        client.on_publish = self._published
        return client

    def turn(self) -> bool:
        """Read and write for a tenth of a second; return whether the connection goes on.

        Raises:
            LinkError: the broker did not answer in time.
        """
        status = self._client.loop(_TURN_S)
        if status != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.reason = self.reason or mqtt.error_string(status)
            return False
        if not self.ready and time.monotonic() - self._began > self._options.connect_timeout_s * 2:
            raise LinkError("the broker accepts the connection and does not answer")
        return self.reason is None

    @property
    def congested(self) -> bool:
        """Whether the broker does not take what was published before."""
        return bool(self._client.want_write())

    def publish(self, message: Outgoing) -> None:
        """Hand over a message, QoS 0 and not retained."""
        self._client.publish(message.topic, message.payload, qos=0, retain=False)

    def goodbye(self, *, born: bool) -> None:
        """Publish the death certificate if there was a birth, and disconnect so that the will says it too."""
        if born:
            self._acked = False
            self._client.publish(self._death.topic, self._death.payload, qos=1, retain=False)
            self._until(lambda: self._acked)
        code = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")
        self._client.disconnect(reasoncode=code)
        self._until(lambda: not self._client.want_write())

    def close(self) -> None:
        """Close the sockets whatever state the client is in; its public ways may wait."""
        try:
            self._client._reset_sockets()  # noqa: SLF001 - see above
        except OSError:
            _LOG.debug("socket_did_not_close", exc_info=True)

    def _until(self, done: Any) -> None:
        deadline = time.monotonic() + _GOODBYE_S
        while not done() and time.monotonic() < deadline:
            if self._client.loop(0.02) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return

    # -- paho's callbacks, on the plane's own thread -----------------------------------------------------

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self.reason = f"broker refused: {code}"
            return
        client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._subscriptions])

    def _subscribed(self, _client: Any, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
        for topic, code in zip(self._subscriptions, codes, strict=False):
            if code.is_failure:
                _LOG.error("subscription_refused", topic=topic, reason=str(code))
        self.ready = True

    def _disconnected(self, _client: Any, _data: Any, flags: Any, code: Any, _properties: Any) -> None:
        self.reason = self.reason or why_ended(flags, code, stood=self.ready)

    def _message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        if len(self.arrived) < _INBOX:
            self.arrived.append(Arrived(topic=message.topic, payload=bytes(message.payload)))

    def _published(self, _client: Any, _data: Any, _mid: int, _code: Any, _properties: Any) -> None:
        self._acked = True
