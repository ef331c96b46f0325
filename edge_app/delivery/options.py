"""What delivery is told: where its store is, which brokers, who receipts. Plain values, checked when made."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from edge_app.errors import ConfigError
from edge_app.records import NAME

if TYPE_CHECKING:
    from pathlib import Path


class CheckDates(str, Enum):
    """Whether a broker's certificate must be valid *now*.

    ``always`` refuses every broker while the box's clock is wrong (1970: "not yet valid"). With
    ``when_synchronised`` the dates count only while a time source disciplines the clock; the chain, the
    host name and the client's own certificate count always. The price: a stolen certificate that has
    expired is believed by a box without a clock.
    """

    ALWAYS = "always"
    WHEN_SYNCHRONISED = "when_synchronised"


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How to know the broker (`ca_file`, the system's authorities if None), and how it knows the box."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    check_dates: CheckDates = CheckDates.ALWAYS

    def __post_init__(self) -> None:
        """A certificate and its key go together."""
        if (self.cert_file is None) != (self.key_file is None):
            raise ConfigError(
                "a client certificate needs both cert_file and key_file", fix="give both, or neither"
            )


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """One broker. `password_file` must be readable by its owner alone."""

    host: str
    port: int = 1883
    tls: TlsOptions | None = None
    username: str | None = None
    password_file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what no socket could connect to."""
        if not self.host or not 1 <= self.port <= 65535:  # noqa: PLR2004 - a TCP port
            raise ConfigError(
                f"not a broker: host {self.host!r}, port {self.port}",
                fix="give a host and a port of 1..65535",
            )

    @property
    def name(self) -> str:
        """``host:port``, for logs and the status."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """A consumer that sends receipts, authenticated with the key in `key_file` (32 bytes or more)."""

    id: str
    key_file: Path
    required: bool = True

    def __post_init__(self) -> None:
        """Refuse ids that a receipt could not carry."""
        if not NAME.fullmatch(self.id):
            raise ConfigError(
                f"consumer id {self.id!r:.60} does not match {NAME.pattern}", fix="choose another id"
            )


@dataclass(frozen=True, slots=True)
class OutboxOptions:
    """Where the events are kept, and how many at most: bytes, rows and days; the tightest counts.

    `max_days` works only while the wall clock is synchronised: a clock that is set wrongly must not
    make everything look old.
    """

    path: Path
    max_mb: int = 1024
    max_rows: int = 5_000_000
    max_days: float | None = None

    def __post_init__(self) -> None:
        """Refuse bounds in which nothing could be kept."""
        if self.max_mb < 1 or self.max_rows < 1 or (self.max_days is not None and self.max_days <= 0):
            raise ConfigError(
                f"an outbox of {self.max_mb} MB, {self.max_rows} rows and {self.max_days} days keeps nothing",
                fix="delivery.max_mb must be at least 1",
            )


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """Everything that `Delivery` is told.

    `history_per_s` throttles what was recorded while the link was down (None: as fast as it goes); what
    happens now is never throttled. `window` bounds the messages without PUBACK, `receipt_window` those
    without receipt (keep it below the broker's queue for an absent consumer: mosquitto drops beyond
    1,000).
    """

    site: str
    node: str
    outbox: OutboxOptions
    brokers: tuple[BrokerOptions, ...]
    consumers: tuple[ConsumerOptions, ...] = ()
    client_id: str = ""
    keepalive_s: int = 15
    connect_timeout_s: float = 5.0
    puback_timeout_s: float = 20.0
    receipt_timeout_s: float = 10.0
    reconnect_max_s: float = 30.0
    window: int = 100
    receipt_window: int = 800
    history_per_s: float | None = 2000.0
    queue: int = 10_000
    version: str = "0"
    state_every_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuse a box without a broker, and names that MQTT forbids."""
        for what, name in (("box.site", self.site), ("box.node", self.node)):
            if not NAME.fullmatch(name):
                raise ConfigError(
                    f"{what} is {name!r:.60}; it becomes part of an MQTT topic and must match {NAME.pattern}",
                    fix="use letters, digits, - and _ only, 32 at most",
                )
        if not self.brokers:
            raise ConfigError("no broker is configured", fix="give delivery.brokers at least one host")

    @property
    def required_consumers(self) -> frozenset[str]:
        """Ids of the consumers without whose receipt no event is deleted."""
        return frozenset(consumer.id for consumer in self.consumers if consumer.required)

    @property
    def mqtt_client_id(self) -> str:
        """The client id at the broker: `client_id`, or one of site and node."""
        return self.client_id or f"dsr-{self.site}-{self.node}"


def _default() -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """What delivery says about itself; counts are since the start of the process but `backlog`.

    `backlog` are events committed and not yet delivered, by priority; `oldest_ns` is the monotonic time
    of the oldest of them that was recorded in this boot. `silent` names required consumers that owe
    receipts and for how many seconds they have sent none. `uncommitted` events are in memory only: for a
    moment each, and for longer while the disk takes nothing.
    """

    connected: bool
    broker: str | None
    backlog: tuple[int, int, int, int]
    backlog_bytes: int
    oldest_age_s: float | None
    submitted: int
    committed: int
    published: int
    delivered: int
    parked: int
    lost: int
    rejected_receipts: int
    connects: int
    last_error: str | None
    silent: dict[str, float] = field(default_factory=_default)
    uncommitted: int = 0

    @property
    def waiting(self) -> int:
        """Events committed and not yet delivered."""
        return sum(self.backlog)
