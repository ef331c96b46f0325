"""The doctor's broker check against real mosquitto brokers: open, closed, silent, strict, and under TLS."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_app.clock import SystemClock
from edge_app.delivery.options import BrokerOptions, DeliveryOptions, OutboxOptions, TlsOptions
from edge_app.health.checks.broker import check_brokers
from edge_app.health.doctor import Finding, State

if TYPE_CHECKING:
    from collections.abc import Callable

ACL = """
user box
topic write mine/m1/v1/b1/#
topic read mine/m1/v1/b1/rcpt
topic read mine/m1/v1/b1/cmd/+
"""


def look(*brokers: BrokerOptions) -> list[Finding]:
    """Run the check as box m1/b1."""
    options = DeliveryOptions(
        site="m1",
        node="b1",
        outbox=OutboxOptions(path=Path("unused.db")),
        brokers=brokers,
        connect_timeout_s=2.0,
    )
    return list(check_brokers(options, SystemClock()))


def secret(folder: Path, text: str) -> Path:
    """Write a password file that only its owner can read."""
    path = folder / "password"
    path.write_text(f"{text}\n", encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture
def strict(mosquitto_in: Callable[..., int], tmp_path: Path) -> int:
    """A broker with user `box` (password ``pw``) and an access list."""
    (tmp_path / "acl").write_text(ACL, encoding="utf-8")
    (tmp_path / "acl").chmod(0o644)
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "box", "pw"], check=True)
    users.chmod(0o644)
    lines = ["allow_anonymous false", f"password_file {users}", f"acl_file {tmp_path / 'acl'}", "user root"]
    return mosquitto_in(*lines)


@pytest.mark.mosquitto
def test_a_broker_that_takes_the_box_is_ok(mosquitto_in: Callable[..., int]) -> None:
    """TCP, CONNECT and both subscriptions."""
    port = mosquitto_in("allow_anonymous true")
    (finding,) = look(BrokerOptions(host="127.0.0.1", port=port))
    assert State.OK is finding.state
    assert f"127.0.0.1:{port}: not encrypted, reached in" in finding.what


@pytest.mark.mosquitto
def test_the_brokers_limits_are_shown(mosquitto_in: Callable[..., int]) -> None:
    """They bound the window of messages in flight."""
    port = mosquitto_in("allow_anonymous true", "max_inflight_messages 7")
    (finding,) = look(BrokerOptions(host="127.0.0.1", port=port))
    assert "receive maximum 7" in finding.what


@pytest.mark.mosquitto
def test_a_running_daemon_keeps_its_connection(mosquitto_in: Callable[..., int]) -> None:
    """The doctor has a client id of its own; the same one would throw the daemon out."""
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    gone = threading.Event()
    port = mosquitto_in("allow_anonymous true")
    daemon = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="dsr-m1-b1", protocol=mqtt.MQTTv5)
    daemon.on_disconnect = lambda *_: gone.set()
    daemon.connect("127.0.0.1", port)
    daemon.loop_start()
    assert [State.OK] == [f.state for f in look(BrokerOptions(host="127.0.0.1", port=port))]
    assert not gone.wait(0.3)
    daemon.disconnect()
    daemon.loop_stop()


@pytest.mark.mosquitto
def test_the_boxes_own_user_passes_the_access_list(strict: int, tmp_path: Path) -> None:
    """With exactly the rights that the deployment page asks for."""
    file = secret(tmp_path, "pw")
    (finding,) = look(BrokerOptions(host="127.0.0.1", port=strict, username="box", password_file=file))
    assert State.OK is finding.state, finding


@pytest.mark.mosquitto
def test_a_wrong_password_is_told(strict: int, tmp_path: Path) -> None:
    """By the broker's own reason."""
    file = secret(tmp_path, "wrong")
    (finding,) = look(BrokerOptions(host="127.0.0.1", port=strict, username="box", password_file=file))
    assert State.FAIL is finding.state
    assert "refused the box: Not authorized" in finding.what
    assert "password_file" in finding.fix


@pytest.mark.mosquitto
def test_a_password_that_others_can_read_is_not_sent(strict: int, tmp_path: Path) -> None:
    """The same refusal that the daemon would give."""
    file = secret(tmp_path, "pw")
    file.chmod(0o644)
    (finding,) = look(BrokerOptions(host="127.0.0.1", port=strict, username="box", password_file=file))
    assert State.FAIL is finding.state
    assert "[DSR-100]" in finding.what


@pytest.mark.mosquitto
def test_a_denied_subscription_is_named(mosquitto_in: Callable[..., int], tmp_path: Path) -> None:
    """Under MQTT 5 a broker may say so; mosquitto does with its dynamic security plugin."""
    (plugin,) = Path("/usr/lib").glob("*/mosquitto_dynamic_security.so")
    rights = {
        "publishClientSend": True,
        "publishClientReceive": True,
        "subscribe": False,
        "unsubscribe": True,
    }
    config = {"defaultACLAccess": rights, "clients": [], "groups": [], "roles": []}
    (tmp_path / "rights.json").write_text(json.dumps(config), encoding="utf-8")
    lines = [
        "allow_anonymous true",
        f"plugin {plugin}",
        f"plugin_opt_config_file {tmp_path}/rights.json",
        "user root",
    ]
    port = mosquitto_in(*lines)
    (finding,) = look(BrokerOptions(host="127.0.0.1", port=port))
    assert State.WARN is finding.state, finding
    assert "subscription to mine/m1/v1/b1/rcpt, mine/m1/v1/b1/cmd/+" in finding.what


def test_nobody_listening_is_told(free_port: Callable[[], int]) -> None:
    """With the address."""
    port = free_port()
    (finding,) = look(BrokerOptions(host="127.0.0.1", port=port))
    assert f"127.0.0.1:{port}: [DSR-700] nothing listens at 127.0.0.1:{port}" == finding.what


def test_a_name_that_does_not_resolve_is_told() -> None:
    """The reserved top-level domain never does."""
    (finding,) = look(BrokerOptions(host="broker.invalid"))
    assert "the name broker.invalid cannot be resolved" in finding.what


def test_a_server_that_is_no_broker_is_told() -> None:
    """TCP is taken, and then nothing is said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (finding,) = look(BrokerOptions(host="127.0.0.1", port=port))
    assert "does not answer MQTT 5" in finding.what
    assert "see the check `certificates`" in finding.fix


@pytest.mark.mosquitto
def test_one_working_broker_makes_the_others_a_warning(
    free_port: Callable[[], int], mosquitto_in: Callable[..., int]
) -> None:
    """The daemon runs; the spare is broken."""
    port = mosquitto_in("allow_anonymous true")
    found = look(
        BrokerOptions(host="127.0.0.1", port=free_port()), BrokerOptions(host="127.0.0.1", port=port)
    )
    assert [State.WARN, State.OK] == [finding.state for finding in found]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for the host name ``localhost`` that signs itself, and its key."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    key.chmod(0o644)
    return cert, key


@pytest.mark.mosquitto
@pytest.mark.parametrize(
    ("expected", "advice", "host", "trusted"),
    [
        (State.OK, "", "localhost", True),
        (State.FAIL, "set tls.ca_file", "localhost", False),
        (State.FAIL, "the host name that stands in the broker's certificate", "127.0.0.1", True),
    ],
)
def test_tls_is_checked_with_the_daemons_own_context(
    mosquitto_in: Callable[..., int],
    certificate: tuple[Path, Path],
    expected: State,
    advice: str,
    host: str,
    *,
    trusted: bool,
) -> None:
    """Trust and name, each with its own advice."""
    cert, key = certificate
    lines = ["allow_anonymous true", f"certfile {cert}", f"keyfile {key}", "user root"]
    port = mosquitto_in(*lines)
    tls = TlsOptions(ca_file=cert if trusted else None)
    (finding,) = look(BrokerOptions(host=host, port=port, tls=tls))
    assert expected is finding.state, finding
    assert advice in finding.fix
