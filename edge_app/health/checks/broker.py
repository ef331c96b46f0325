"""The brokers can be reached, believe who we are, and let us hear receipts and commands.

The doctor connects under the box's credentials with a client id of its own (``...-doctor``), so that
a running daemon keeps its connection, and publishes nothing.
"""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import DsrError, LinkError
from edge_app.health.doctor import State, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    import paho.mqtt.client as mqtt

    from edge_app.clock import Clock
    from edge_app.delivery.options import BrokerOptions, DeliveryOptions
    from edge_app.health.doctor import Finding

NAME: Final = "broker"
_POLL_S: Final = 0.1
_MS: Final = 1000.0


@dataclass
class _Answers:
    """What the broker said to CONNECT and SUBSCRIBE."""

    refused: str = ""
    connected_ms: float | None = None
    limits: str = ""
    subscriptions: list[str] | None = None
    closed: str = ""
    denied: list[str] = field(default_factory=list)


def check_brokers(options: DeliveryOptions, clock: Clock) -> Iterator[Finding]:
    """Connect to every broker as the box; one that works turns the others' failures into warnings."""
    found = [_try(broker, options, clock) for broker in options.brokers]
    if any(finding.state is State.OK for finding in found):
        found = [warn(f.name, f.what, fix=f.fix) if f.state is State.FAIL else f for f in found]
    yield from found


def _try(broker: BrokerOptions, options: DeliveryOptions, clock: Clock) -> Finding:
    from edge_app.delivery.tls import context_for

    try:
        context = None if broker.tls is None else context_for(broker.tls, quality=clock.wall().quality)
        reached_ms = _reach(broker, options.connect_timeout_s, context)
        answers = _talk(broker, options, context)
    except DsrError as error:
        return fail(NAME, f"{broker.name}: [{error.code}] {error.what}", fix=error.fix)
    if answers.denied:
        return warn(
            NAME,
            f"{broker.name} took the connection, but not the subscription to {', '.join(answers.denied)}",
            fix="allow the box's user to read them (docs/deployment.md), or no receipt or command arrives",
        )
    tls = "TLS, " if broker.tls else "not encrypted, "
    return ok(
        NAME,
        f"{broker.name}: {tls}reached in {reached_ms:.0f} ms, accepted in {answers.connected_ms or 0:.0f} ms"
        f"{answers.limits}",
    )


def _reach(broker: BrokerOptions, timeout_s: float, context: ssl.SSLContext | None) -> float:
    """Open a connection, with TLS where it is asked for, and close it; return the milliseconds it took."""
    start = time.monotonic()
    try:
        with socket.create_connection((broker.host, broker.port), timeout=timeout_s) as plain:
            if context is not None:
                context.wrap_socket(plain, server_hostname=broker.host).close()
    except ssl.SSLError as error:
        raise LinkError(f"TLS failed: {error.reason or error}", fix=_tls_fix(error)) from error
    except socket.gaierror as error:
        raise LinkError(
            f"the name {broker.host} cannot be resolved: {error.strerror}",
            fix="give the broker's IP address, or mend the name service (resolvectl query)",
        ) from error
    except ConnectionRefusedError as error:
        raise LinkError(
            f"nothing listens at {broker.name}",
            fix="start the broker, or correct delivery.brokers host and port (MQTT 1883, TLS 8883)",
        ) from error
    except OSError as error:
        raise LinkError(
            f"{broker.name} cannot be reached: {error.strerror or error}",
            fix=f"ping {broker.host}; check cable, address and firewall. Events wait in the outbox meanwhile",
        ) from error
    return (time.monotonic() - start) * _MS


def _talk(broker: BrokerOptions, options: DeliveryOptions, context: ssl.SSLContext | None) -> _Answers:
    from edge_app.delivery.topics import Topics

    topics = Topics(site=options.site, node=options.node)
    wanted = [topics.receipts, topics.commands]
    answers = _Answers()
    client = _client(broker, options, context, answers)
    start = time.monotonic()
    try:
        client.connect(broker.host, broker.port, keepalive=options.keepalive_s, clean_start=True)
        if _until(client, lambda: answers.connected_ms is not None, answers, options.connect_timeout_s):
            answers.connected_ms = (time.monotonic() - start) * _MS
            client.subscribe([(topic, _qos1()) for topic in wanted])
            _until(client, lambda: answers.subscriptions is not None, answers, options.connect_timeout_s)
    except OSError as error:
        raise LinkError(f"the connection broke: {error.strerror or error}", fix=_SILENT_FIX) from error
    finally:
        client.disconnect()
        client.loop(_POLL_S)
    return _judged(answers, wanted)


def _judged(answers: _Answers, wanted: list[str]) -> _Answers:
    if answers.refused:
        raise LinkError(
            f"refused the box: {answers.refused}",
            fix="correct username and password_file of delivery.brokers, and the broker's list of users",
        )
    if answers.connected_ms is None:
        raise LinkError(
            f"takes TCP, but does not answer MQTT 5 ({answers.closed or 'silent'})", fix=_SILENT_FIX
        )
    codes = answers.subscriptions or []
    answers.denied = [topic for topic, code in zip(wanted, codes, strict=False) if code != "Granted QoS 1"]
    return answers


_SILENT_FIX: Final = (
    "check that the port is the broker's MQTT port, that TLS is set where the broker wants it (cert_file and "
    "key_file, if it asks for the box's certificate, a valid one: see the check `certificates`), and "
    "that it speaks MQTT 5 (mosquitto 1.6 or newer)"
)


def _client(
    broker: BrokerOptions, options: DeliveryOptions, context: ssl.SSLContext | None, answers: _Answers
) -> mqtt.Client:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    from edge_app.delivery.link import why_ended
    from edge_app.secret_files import read_secret

    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"{options.mqtt_client_id}-doctor",
        protocol=mqtt.MQTTv5,
        reconnect_on_failure=False,
    )
    client.connect_timeout = options.connect_timeout_s
    if broker.username is not None:
        password = None
        if broker.password_file is not None:
            password = read_secret(broker.password_file, what="the broker's password file").decode("utf-8")
        client.username_pw_set(broker.username, password)
    if context is not None:
        client.tls_set_context(context)

    def on_connect(_client: Any, _data: Any, _flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            answers.refused = str(code)
        else:
            answers.connected_ms = 0.0
            answers.limits = _limits(properties)

    def on_subscribe(_client: Any, _data: Any, _mid: Any, codes: Any, _properties: Any) -> None:
        answers.subscriptions = [str(code) for code in codes]

    def on_disconnect(_client: Any, _data: Any, flags: Any, code: Any, _properties: Any) -> None:
        answers.closed = why_ended(flags, code, stood=True)

    client.on_connect, client.on_subscribe, client.on_disconnect = on_connect, on_subscribe, on_disconnect
    return client


def _until(client: mqtt.Client, done: Any, answers: _Answers, timeout_s: float) -> bool:
    """Serve the connection until `done`, a refusal, its end, or the time is over; return whether done."""
    deadline = time.monotonic() + timeout_s
    while not done() and not answers.refused and time.monotonic() < deadline:
        if client.loop(_POLL_S) != 0:
            break
    return bool(done())


def _limits(properties: Any) -> str:
    """Return what the broker bounds, where that is less than MQTT allows."""
    known = {
        "ReceiveMaximum": "receive maximum",
        "MaximumPacketSize": "largest packet",
        "MaximumQoS": "QoS up to",
    }
    said = [
        f"{word} {value}"
        for key, word in known.items()
        if (value := getattr(properties, key, None)) is not None
    ]
    return f" ({', '.join(said)})" if said else ""


def _qos1() -> Any:
    from paho.mqtt.subscribeoptions import SubscribeOptions

    return SubscribeOptions(qos=1)


def _tls_fix(error: ssl.SSLError) -> str:
    text = str(error).lower()
    if "not yet valid" in text or "expired" in text:
        return "set the box's clock (see the check `clock`), or renew the broker's certificate"
    if "hostname" in text or "ip address mismatch" in text:
        return "use in delivery.brokers the host name that stands in the broker's certificate"
    if "self-signed" in text or "self signed" in text or "unable to get local issuer" in text:
        return "set tls.ca_file to the authority that signed the broker's certificate"
    return "check tls.ca_file, cert_file and key_file, and that the port is the broker's TLS port"
