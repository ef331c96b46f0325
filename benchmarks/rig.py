"""What delivery is tested and measured with: a real mosquitto, a watcher, a box in a process of its own.

`benchmarks.proxy` breaks the link between them. Shared by tests/delivery, benchmarks/delivery.py and
benchmarks/chaos. Loopback only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final
from uuid import uuid4

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.processes.nursery import NURSERY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.processes.nursery import Forked

ROOT: Final = Path(__file__).resolve().parent.parent
HOST: Final = "127.0.0.1"
_SESSION_S: Final = 3600


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, timeout: float = 10.0, what: str = "it") -> float:
    """Wait until `condition`; return the seconds that took.

    Raises:
        TimeoutError: it did not become true; the message names `what`.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout:
            msg = f"{what} did not happen within {timeout:.0f} s"
            raise TimeoutError(msg)
        time.sleep(0.01)
    return time.monotonic() - began


def mosquitto_path() -> str | None:
    """Return where the broker is; Debian keeps it in sbin."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class Mosquitto:
    """A mosquitto of our own on a port of the loopback, or of all addresses with `everywhere`.

    `settings` are further lines of its configuration; `configure` exchanges them for the next start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Sequence[str] = (),
        port: int | None = None,
        everywhere: bool = False,
    ) -> None:
        self.port = port or free_port()
        self._address = "0.0.0.0" if everywhere else HOST  # noqa: S104 - a broker that a test ends
        self._folder = folder
        self._config = folder / f"mosquitto-{self.port}.conf"
        self._log = folder / f"mosquitto-{self.port}.log"
        self.configure(settings)
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, settings: Sequence[str]) -> None:
        """Write the configuration."""
        allow = (
            () if any(line.startswith("allow_anonymous") for line in settings) else ("allow_anonymous true",)
        )
        # Started by root it would become another user, who may not read our folder.
        allow = (*allow, "user root") if os.geteuid() == 0 else allow
        lines = (f"listener {self.port} {self._address}", *allow, *settings)
        self._config.write_text("\n".join((*lines, "")), encoding="utf-8")

    def start(self) -> Mosquitto:
        """Start it and wait until it accepts connections."""
        program = mosquitto_path()
        if program is None:
            raise FileNotFoundError("mosquitto is not installed")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([program, "-c", str(self._config)], stdout=log, stderr=log)
        wait_until(self._accepts, what=f"mosquitto (log {self._log}) accepting connections")
        return self

    def _accepts(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
            return True
        return False

    def kill(self) -> None:
        """End it as a power cut would: no session is stored, no client told."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it stop answering while its sockets stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None


@dataclass
class Arrival:
    """A message that a watcher got."""

    topic: str
    payload: bytes
    retained: bool
    replay: bool
    at: float
    token: bytes | None = None

    @property
    def event(self) -> dict[str, Any]:
        """The payload as JSON."""
        decoded: dict[str, Any] = json.loads(self.payload)
        return decoded


@dataclass
class Watcher:
    """An independent subscriber; with `persistent` the broker keeps messages for it while it is away."""

    port: int
    topic: str = "mine/#"
    persistent: bool = False
    arrivals: list[Arrival] = field(default_factory=list)
    hook: Callable[[Arrival], None] | None = None
    client_id: str = field(default_factory=lambda: f"watcher-{uuid4().hex[:8]}")
    user: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        """Connect and wait for the subscription to stand."""
        self._ready = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.client_id, protocol=mqtt.MQTTv5)
        self.client.reconnect_delay_set(1, 1)
        if self.user is not None:
            self.client.username_pw_set(*self.user)
        self.client.on_connect = lambda c, _u, _f, _r, _p: c.subscribe(self.topic, qos=1)
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._got
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _SESSION_S if self.persistent else 0
        self.client.connect(
            HOST, self.port, keepalive=10, clean_start=not self.persistent, properties=properties
        )
        self.client.loop_start()
        if not self._ready.wait(10):
            raise TimeoutError("no subscription within 10 s")

    def _got(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        pairs = getattr(message.properties, "UserProperty", [])
        arrival = Arrival(
            topic=message.topic,
            payload=bytes(message.payload),
            retained=message.retain,
            replay=("replay", "1") in pairs,
            at=time.monotonic(),
            token=getattr(message.properties, "CorrelationData", None),
        )
        self.arrivals.append(arrival)
        if self.hook is not None:
            self.hook(arrival)

    def events(self) -> list[dict[str, Any]]:
        """Return the events that arrived, in order, duplicates included."""
        return [arrival.event for arrival in list(self.arrivals) if "/evt/" in arrival.topic]

    def last(self, suffix: str) -> Arrival | None:
        """Return the last arrival whose topic ends with `suffix`."""
        return next((a for a in reversed(list(self.arrivals)) if a.topic.endswith(suffix)), None)

    def publish(self, topic: str, payload: bytes, *, token: bytes | None = None) -> None:
        """Publish something, e.g. a receipt that repeats an event's `token`."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if token is not None:
            properties.CorrelationData = token
        self.client.publish(topic, payload, qos=1, properties=properties)

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()


class BoxProcess:
    """A box in a process of its own (`benchmarks/processes/box.py`), to be killed.

    It submits events at `rate` a second and appends the id of every event to `ledger` after `flush` said
    that it is committed. With `before` (a command that runs another) or `environment` it is a fresh
    interpreter; without, a fork of one, which starts at once.
    """

    #: Those that were started and not ended, for whoever cleans up after a test that failed.
    alive: ClassVar[set[BoxProcess]] = set()

    def __init__(
        self,
        *,
        outbox: Path,
        port: int,
        ledger: Path,
        rate: float,
        extra: Sequence[str] = (),
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.outbox, self.ledger = outbox, ledger
        words = ["--outbox", str(outbox), "--port", str(port), "--ledger", str(ledger)]
        words += ["--rate", str(rate), *extra]
        self._output = ledger.with_suffix(".ready")
        self._output.unlink(missing_ok=True)
        self.process: Forked | subprocess.Popen[bytes]
        if before or environment:
            with self._output.open("wb") as output:
                self.process = subprocess.Popen(
                    [*before, sys.executable, str(ROOT / "benchmarks" / "processes" / "box.py"), *words],
                    env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
                    stdout=output,
                    stderr=subprocess.DEVNULL,
                )
        else:
            self.process = NURSERY.fork("box", words, output=self._output)
        self.alive.add(self)

    def is_ready(self) -> bool:
        """Return whether it submits events."""
        return self._output.exists() and self._output.stat().st_size > 0

    def wait_ready(self) -> None:
        """Wait until it submits events."""
        wait_until(self.is_ready, what="the box's start")

    def kill(self) -> None:
        """End it as a power cut would end the process."""
        self.process.kill()
        self.process.wait(10)
        self.alive.discard(self)

    def stop(self) -> None:
        """End it in order."""
        self.process.terminate()
        self.process.wait(20)
        self.alive.discard(self)

    def committed(self) -> list[str]:
        """Return the ids of which the box said that they are committed."""
        if not self.ledger.exists():
            return []
        lines = self.ledger.read_text(encoding="ascii").split("\n")
        return [line for line in lines[:-1] if line]


def violations(events: Sequence[dict[str, Any]]) -> list[tuple[str, int, int, int]]:
    """Return what came, for the first time, after one of its priority with a higher number.

    Each as node, priority, number, and the highest number that had come.
    """
    highest: dict[tuple[str, int], int] = {}
    seen: set[str] = set()
    bad: list[tuple[str, int, int, int]] = []
    for event in events:
        if event["id"] in seen:
            continue
        seen.add(event["id"])
        lane = (event["node"], event["priority"])
        if event["seq"] < highest.get(lane, 0):
            bad.append((*lane, event["seq"], highest[lane]))
        highest[lane] = max(highest.get(lane, 0), event["seq"])
    return bad


def order_violations(events: Sequence[dict[str, Any]]) -> int:
    """Return how many `violations` there are."""
    return len(violations(events))
