"""The Sparkplug plane: a thread that keeps an edge node alive at the mine's broker.

It only listens to the box: what happens is put into a bounded queue by whoever knows it, and nobody
waits for this plane. Whatever goes wrong here (no broker, no host, hostile commands, a mistake of
ours) ends a connection of its own and begins another; the lossless plane does not notice.
"""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from edge_app.delivery.link import why_not
from edge_app.errors import DsrError
from edge_app.sparkplug.bdseq import BdSeq
from edge_app.sparkplug.codec import PayloadError, decode_command, require_protobuf
from edge_app.sparkplug.connection import Connection
from edge_app.sparkplug.host import PrimaryHost
from edge_app.sparkplug.metrics import DEVICE_REBIRTH, REBIRTH, Picture, of_box, of_muster
from edge_app.sparkplug.node import EdgeNode
from edge_app.sparkplug.topics import state_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge_app.clock import Clock
    from edge_app.delivery.event import EnvelopeContext
    from edge_app.delivery.options import BrokerOptions, DeliveryStatus
    from edge_app.records import Event, PresenceSnapshot
    from edge_app.sparkplug.connection import Arrived
    from edge_app.sparkplug.metrics import Change
    from edge_app.sparkplug.node import Outgoing
    from edge_app.sparkplug.options import SparkplugOptions

_LOG = structlog.get_logger(__name__)

_FIRST_DELAY_S: Final = 0.25
_STEADY_S: Final = 10.0
_WAIT_S: Final = 0.1
_BOX_EVERY_NS: Final = 5_000_000_000
#: Births asked for more often than this are sent once: commands are not authenticated.
_REBIRTH_EVERY_S: Final = 1.0
#: Changes that wait to be looked at; the thread takes them ten times a second.
_INBOX: Final = 20_000


@dataclass(slots=True)
class SparkplugStatus:
    """What the plane says about itself; counts are since the start of the process."""

    connected: bool = False
    born: bool = False
    broker: str | None = None
    connects: int = 0
    births: int = 0
    published: int = 0
    commands: int = 0
    refused: int = 0
    faults: int = 0
    last_error: str | None = None


class SparkplugPlane:
    """Reports one box to the mine's Sparkplug hosts.

    Args:
        options: ids, cameras, brokers.
        clock: monotonic and wall time.
        software: program and version, for the birth certificate.
        standing_alarms: ids of alarms that an earlier run raised and did not clear.
        on_beat: called by the plane's thread several times a second while it works.

    Raises:
        ConfigError: the protobuf runtime is not installed.
    """

    def __init__(
        self,
        *,
        options: SparkplugOptions,
        clock: Clock,
        software: str,
        standing_alarms: Iterable[str] = (),
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        require_protobuf()
        self._options = options
        self._clock = clock
        self._on_beat = on_beat
        self._cameras = tuple(camera for camera, _ in options.cameras)
        self._picture = Picture(alarms=set(standing_alarms))
        self._node = EdgeNode(options=options, clock=clock, software=software)
        self._bdseq = BdSeq(options.bdseq)
        self._hosts: dict[str, PrimaryHost] = {}
        self._inbox: deque[Change] = deque(maxlen=_INBOX)
        self._node.begin(self._picture.of_alarms(clock.mono_ns()))
        self._boxed_ns: int | None = None
        self._again: set[str | None] = set()
        self._born_at = 0.0
        self._told = ""
        self._stopping = threading.Event()
        self._jitter = random.Random()  # noqa: S311 - spreads reconnects, guards nothing
        self.status = SparkplugStatus()
        self._thread = threading.Thread(target=self._run, name="sparkplug", daemon=True)

    # -- for other threads -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start; an unreachable broker is no error."""
        self._thread.start()

    def observe(self, event: Event) -> None:
        """Take note of an event that was submitted; returns at once and never fails."""
        self._observe(lambda: self._picture.of_event(event))

    def muster(self, snapshot: PresenceSnapshot) -> None:
        """Take note of who is there; returns at once and never fails."""
        self._observe(lambda: of_muster(snapshot, self._cameras))

    def box(self, status: DeliveryStatus, context: EnvelopeContext, measures: Mapping[str, float]) -> None:
        """Take note of the box's own state, every five seconds; returns at once and never fails."""
        now = self._clock.mono_ns()
        if self._boxed_ns is None or now - self._boxed_ns >= _BOX_EVERY_NS:
            self._boxed_ns = now
            quality = self._clock.wall().quality
            self._observe(
                lambda: of_box(
                    mono_ns=now, status=status, quality=quality, context=context, measures=measures
                )
            )

    def counts(self) -> dict[str, int]:
        """Return what was refused, as a number of the box's health; any thread."""
        return {"sparkplug_refused": self.status.refused}

    def stop(self, timeout: float = 5.0) -> bool:
        """Send the death certificate, disconnect and end; return whether that was done in time."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _observe(self, changes: Callable[[], Iterable[Change]]) -> None:
        try:
            self._inbox.extend(changes())
        except Exception as error:  # noqa: BLE001 - whoever tells us something must not suffer for it
            self._fault(error)

    def _fault(self, error: Exception) -> None:
        self.status.faults += 1
        self.status.last_error = f"{type(error).__name__}: {error}"
        _LOG.error("sparkplug_fault", exc_info=error)

    # -- the plane's thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            for broker in self._options.brokers:
                began = time.monotonic()
                walk = self._session(broker)
                if self._stopping.is_set():
                    return
                if walk:
                    attempt = 0
                elif time.monotonic() - began >= _STEADY_S:
                    attempt = 0
                    break
            ceiling = min(self._options.reconnect_max_s, _FIRST_DELAY_S * 2 ** min(attempt, 10))
            attempt += 1
            self._pause(ceiling * self._jitter.uniform(0.5, 1.0))

    def _session(self, broker: BrokerOptions) -> bool:
        """Hold one connection to its end; return whether it was left because the host is not there."""
        connection: Connection | None = None
        bdseq = self._bdseq.take()
        walk = False
        self.status.broker = broker.name
        try:
            self._work_off()
            connection = self._connect(broker, bdseq)
            walk = self._serve(connection, broker, bdseq)
            if walk or self._stopping.is_set():
                connection.goodbye(born=self._node.born)
                if walk:
                    self.status.last_error = f"primary host {self._options.primary_host} is not online"
            elif connection.reason is not None:
                self.status.last_error = connection.reason
        except (OSError, ssl.SSLError, ValueError, DsrError) as error:
            self.status.last_error = why_not(error)
        except Exception as error:  # noqa: BLE001 - a broker's bytes, or a mistake of ours, end a connection only
            self._fault(error)
        finally:
            if connection is not None:
                connection.close()
            if not self._stopping.is_set() and (self.status.connected or not walk):
                self._say_down(broker)
            self._node.unborn()
            self.status.connected = self.status.born = False
        return walk

    def _say_down(self, broker: BrokerOptions) -> None:
        """Log why there is no session; a broker that stays away is one line, not one line an attempt."""
        reason = f"{broker.name}: {self.status.last_error}"
        tell = _LOG.warning if self.status.connected or reason != self._told else _LOG.debug
        tell("sparkplug_down", broker=broker.name, reason=self.status.last_error)
        self._told = reason

    def _connect(self, broker: BrokerOptions, bdseq: int) -> Connection:
        topics = self._node.topics
        host = self._options.primary_host
        return Connection(
            options=self._options,
            broker=broker,
            death=self._node.death(bdseq),
            subscriptions=(
                topics.of_node("NCMD"),
                *(topics.of_device("DCMD", camera) for camera in self._cameras),
                *((state_topic(host),) if host is not None else ()),
            ),
            quality=self._clock.wall().quality,
        )

    def _serve(self, connection: Connection, broker: BrokerOptions, bdseq: int) -> bool:
        host = self._host(broker)
        self._again.clear()
        began = time.monotonic()
        while connection.turn():
            self._on_beat()
            if self._stopping.is_set():
                return False
            if not connection.ready:
                continue
            self._listen(connection, host)
            if host is not None and not host.online and self._gone(began):
                return True
            if (host is None or host.online) and not self._node.born:
                self._be_born(connection, broker, bdseq)
            elif self._again and time.monotonic() - self._born_at >= _REBIRTH_EVERY_S:
                self._be_born_again(connection, broker, bdseq)
            self._tell(connection)
        return False

    def _host(self, broker: BrokerOptions) -> PrimaryHost | None:
        """Return what is known of the primary host at `broker`: its last time, not whether it is on."""
        if self._options.primary_host is None:
            return None
        host = self._hosts.setdefault(broker.name, PrimaryHost(self._options.primary_host))
        host.online = False
        return host

    def _gone(self, began: float) -> bool:
        """Whether to leave: the host went, or does not come and there is another broker to look at."""
        waited = time.monotonic() - began
        return self._node.born or (len(self._options.brokers) > 1 and waited > self._options.host_wait_s)

    def _be_born(self, connection: Connection, broker: BrokerOptions, bdseq: int) -> None:
        self._again.clear()
        self._work_off()
        self._born_at = time.monotonic()
        self._publish(connection, self._node.birth(bdseq))
        if not self.status.born:
            self.status.connects += 1
            _LOG.info("sparkplug_born", broker=broker.name, bdseq=bdseq, waiting=self._node.waiting)
        self.status.births += 1
        self.status.connected = self.status.born = True

    def _be_born_again(self, connection: Connection, broker: BrokerOptions, bdseq: int) -> None:
        """Send the certificates that were asked for; before the first birth there is nothing to repeat."""
        if not self._node.born:
            self._again.clear()
        elif None in self._again:
            self._be_born(connection, broker, bdseq)
        else:
            self._born_at = time.monotonic()
            for device in self._again:
                self._publish(connection, self._node.rebirth_of(str(device)))
            self._again.clear()

    def _tell(self, connection: Connection) -> None:
        """Publish what has changed, then some history; hold both back while the broker does not take them."""
        while self._inbox and not (self._node.born and connection.congested):
            self._publish(connection, self._node.apply(self._inbox.popleft()))
        if self._node.born and not connection.congested:
            self._publish(connection, self._node.replay())

    def _work_off(self) -> None:
        """Bring the node up to date while nobody listens: it becomes history."""
        while self._inbox:
            self._node.apply(self._inbox.popleft())

    def _publish(self, connection: Connection, messages: Iterable[Outgoing]) -> None:
        for message in messages:
            connection.publish(message)
            self.status.published += 1

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping.is_set() and time.monotonic() < until:
            self._on_beat()
            self._work_off()
            self._stopping.wait(_WAIT_S)

    def _listen(self, connection: Connection, host: PrimaryHost | None) -> None:
        arrived, connection.arrived = connection.arrived, []
        for message in arrived:
            if host is not None and message.topic == state_topic(host.host_id):
                before = host.online
                if not host.heard(message.payload):
                    self._refuse(message.topic, "no state, or an older one")
                elif host.online is not before:
                    _LOG.info("sparkplug_host", host=host.host_id, online=host.online)
            elif (refused := self._obey(message)) is not None:
                self._refuse(message.topic, refused)

    def _refuse(self, topic: str, reason: str) -> None:
        self.status.refused += 1
        if self.status.refused.bit_count() == 1:  # the 1st, 2nd, 4th ...: a flood fills no disk
            _LOG.warning("sparkplug_refused", topic=topic, reason=reason, refused=self.status.refused)

    def _obey(self, message: Arrived) -> str | None:
        """Do what a command asks; return why some of it is nothing that a host may ask, None if all is."""
        topics = self._node.topics
        device = topics.device_of(message.topic)
        if device is None and message.topic != topics.of_node("NCMD"):
            return "no topic of this node"
        try:
            written = decode_command(message.payload)
        except PayloadError as error:
            return str(error)
        self.status.commands += 1
        names = [(self._node.written(device, metric), metric.value) for metric in written]
        for name, value in names:
            if name == REBIRTH and value is True:
                self._again.add(None)
            elif name == DEVICE_REBIRTH and value is True:
                self._again.add(device)
        allowed = names and all(name in (REBIRTH, DEVICE_REBIRTH) for name, _ in names)
        return None if allowed else "it writes something else than a rebirth"
