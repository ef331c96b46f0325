"""TLS against a real mosquitto: who is believed, who is not, and what a wrong clock changes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.authority import Authority
from benchmarks.rig import wait_until
from edge_app.clock import SystemClock, WallQuality, WallTime
from edge_app.delivery.options import BrokerOptions, CheckDates, TlsOptions
from edge_app.delivery.tls import context_for
from edge_app.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.rig import Mosquitto
    from edge_app.delivery.service import Delivery


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return the mine's authority."""
    return Authority(tmp_path, "mine")


class NoClock(SystemClock):
    """The monotonic clock goes; nobody knows the time."""

    def wall(self) -> WallTime:
        """Return no time."""
        return WallTime(ms=None, quality=WallQuality.NONE)


class Synchronised(SystemClock):
    """A clock that a time source disciplines."""

    def wall(self) -> WallTime:
        """Return the true time."""
        return WallTime(ms=time.time_ns() // 1_000_000, quality=WallQuality.SYNC)


@pytest.fixture
def to_tls(mosquitto: Callable[..., Mosquitto], deliver: Callable[..., Delivery]) -> Callable[..., Delivery]:
    """Return a starter of deliveries to a broker with the given certificate."""

    def start(server: tuple[Path, Path], *more: str, clock: Any = None, **tls: Any) -> Delivery:
        broker = mosquitto(f"certfile {server[0]}", f"keyfile {server[1]}", *more)
        options = BrokerOptions(host="127.0.0.1", port=broker.port, tls=TlsOptions(**tls))
        return deliver(brokers=(options,), clock=clock or Synchronised())

    return start


def refused(delivery: Delivery, reason: str) -> bool:
    """Return whether the link failed for `reason`, and stays down."""
    wait_until(lambda: reason in str(delivery.status().last_error), what=f"an error with {reason!r}")
    return delivery.status().connects == 0


@pytest.mark.mosquitto
def test_broker_of_the_mines_authority_is_believed(
    authority: Authority, to_tls: Callable[..., Delivery]
) -> None:
    """The way it should be."""
    delivery = to_tls(authority.issue("broker"), ca_file=authority.cert)
    wait_until(lambda: delivery.status().connected, what="connection")


@pytest.mark.mosquitto
def test_broker_of_another_authority_is_not(
    authority: Authority, to_tls: Callable[..., Delivery], tmp_path: Path
) -> None:
    """A forger's certificate."""
    forger = Authority(tmp_path, "forger")
    assert refused(to_tls(forger.issue("broker"), ca_file=authority.cert), "CERTIFICATE_VERIFY_FAILED")


@pytest.mark.mosquitto
def test_broker_with_another_name_is_not(authority: Authority, to_tls: Callable[..., Delivery]) -> None:
    """The right authority, but issued for another machine."""
    server = authority.issue("broker", address="DNS:elsewhere.example")
    assert refused(to_tls(server, ca_file=authority.cert), "127.0.0.1")


@pytest.mark.mosquitto
@pytest.mark.parametrize(
    ("dates", "clock", "connects"),
    [
        (CheckDates.ALWAYS, Synchronised, False),
        (CheckDates.ALWAYS, NoClock, False),
        (CheckDates.WHEN_SYNCHRONISED, Synchronised, False),
        (CheckDates.WHEN_SYNCHRONISED, NoClock, True),
    ],
)
def test_expired_certificate_is_believed_only_without_a_clock_and_if_the_operator_chose_so(
    dates: CheckDates,
    clock: type[SystemClock],
    connects: bool,
    authority: Authority,
    to_tls: Callable[..., Delivery],
) -> None:
    """The documented trade-off, and nothing beyond it."""
    delivery = to_tls(
        authority.issue("broker", days=-1), ca_file=authority.cert, check_dates=dates, clock=clock()
    )
    if connects:
        wait_until(lambda: delivery.status().connected, what="connection")
    else:
        assert refused(delivery, "certificate has expired")


@pytest.mark.mosquitto
def test_without_a_clock_another_authority_is_still_not_believed(
    authority: Authority, to_tls: Callable[..., Delivery], tmp_path: Path
) -> None:
    """Ignoring dates ignores nothing else."""
    forger = Authority(tmp_path, "forger")
    options = {"ca_file": authority.cert, "check_dates": CheckDates.WHEN_SYNCHRONISED, "clock": NoClock()}
    assert refused(to_tls(forger.issue("broker"), **options), "CERTIFICATE_VERIFY_FAILED")


@pytest.mark.mosquitto
def test_broker_that_wants_a_client_certificate_gets_it(
    authority: Authority, to_tls: Callable[..., Delivery]
) -> None:
    """With it the box connects; without it it does not."""
    server, (cert, key) = authority.issue("broker"), authority.issue("box-01")
    demand = (f"cafile {authority.cert}", "require_certificate true")
    delivery = to_tls(server, *demand, ca_file=authority.cert, cert_file=cert, key_file=key)
    wait_until(lambda: delivery.status().connected, what="connection")
    delivery.stop()
    bare = to_tls(server, *demand, ca_file=authority.cert)
    wait_until(lambda: bare.status().last_error is not None, what="a refusal")
    assert 0 == bare.status().connects


@pytest.mark.mosquitto
def test_own_certificate_that_has_expired_is_named(
    authority: Authority, to_tls: Callable[..., Delivery]
) -> None:
    """The broker hangs up without a word, and whoever reads the log must not look for it there."""
    server, (cert, key) = authority.issue("broker"), authority.issue("box-01", days=-1)
    demand = (f"cafile {authority.cert}", "require_certificate true")
    delivery = to_tls(server, *demand, ca_file=authority.cert, cert_file=cert, key_file=key)
    assert refused(delivery, "our own certificate expired on 20")


@pytest.mark.mosquitto
def test_missing_certificate_file_is_said_and_tried_again(
    authority: Authority, to_tls: Callable[..., Delivery], tmp_path: Path
) -> None:
    """The daemon goes on recording; when the file is there, it connects."""
    later = tmp_path / "later.crt"
    delivery = to_tls(authority.issue("broker"), ca_file=later)
    assert refused(delivery, "TLS files cannot be used")
    later.write_bytes(authority.cert.read_bytes())
    wait_until(lambda: delivery.status().connected, what="connection")


def test_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    """They go together."""
    with pytest.raises(ConfigError, match="both cert_file and key_file"):
        TlsOptions(cert_file=tmp_path / "a.crt")


def test_private_key_that_others_may_read_is_refused(authority: Authority) -> None:
    """As every other secret is, whichever connection uses it."""
    cert, key = authority.issue("box-01")
    key.chmod(0o640)
    with pytest.raises(ConfigError, match=r"private key .* may be read by others .*0640"):
        context_for(TlsOptions(cert_file=cert, key_file=key), quality=WallQuality.SYNC)
