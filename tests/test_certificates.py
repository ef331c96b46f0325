"""Wrong certificates on the surface's connection and on Sparkplug's: not believed, said, and tried again.

The lossless connection has its own tests (tests/delivery/test_tls.py); all three use one context.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from benchmarks.rig import Mosquitto, Watcher, wait_until
from edge_app.clock import SystemClock, WallQuality, WallTime
from edge_app.delivery.options import BrokerOptions, TlsOptions
from edge_app.sparkplug.options import SparkplugOptions
from edge_app.sparkplug.plane import SparkplugPlane
from surface.consumer import Consumer
from surface.link import ConsumerSettings
from surface.store import open_store
from tests.delivery.test_tls import Authority
from tests.surface.conftest import arrived

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.mosquitto


class Disciplined(SystemClock):
    """A clock that a time source disciplines."""

    def wall(self) -> WallTime:
        """Return the true time."""
        return WallTime(ms=time.time_ns() // 1_000_000, quality=WallQuality.SYNC)


class Place:
    """An authority, brokers with certificates of it, and of a forger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mine, self.forger = Authority(folder, "mine"), Authority(folder, "forger")
        self.running: list[Mosquitto] = []

    def broker(self, which: str, *more: str) -> Mosquitto:
        """Start a broker whose certificate is `good`, `forged`, `expired` or of `elsewhere`."""
        authority = self.forger if which == "forged" else self.mine
        given: dict[str, Any] = {"days": -1} if which == "expired" else {}
        if which == "elsewhere":
            given = {"address": "DNS:elsewhere.example"}
        cert, key = authority.issue(f"broker-{which}", **given)
        broker = Mosquitto(self.folder, settings=(f"certfile {cert}", f"keyfile {key}", *more)).start()
        self.running.append(broker)
        return broker


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Return a place to make brokers in."""
    made = Place(tmp_path)
    yield made
    for broker in made.running:
        broker.stop()


@contextmanager
def consuming(
    folder: Path, port: int, tls: TlsOptions | None, *, share: str | None = None
) -> Iterator[Consumer]:
    """Run a consumer in a thread."""
    store = open_store(str(folder / "surface.db"))
    settings = ConsumerSettings(
        host="127.0.0.1", port=port, consumer="s", site="+", keys={"*": b"k" * 32}, tls=tls, share=share
    )
    consumer = Consumer(settings=settings, store=store)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    yield consumer
    consumer.stop()
    thread.join(20)
    store.close()


@pytest.mark.parametrize(
    ("which", "said", "advice"),
    [
        ("forged", "CERTIFICATE_VERIFY_FAILED", "give --ca-file the broker's authority"),
        ("expired", "has expired", "renew the broker's certificate"),
        ("elsewhere", "127.0.0.1", "use in --broker what stands in the broker's certificate"),
    ],
)
def test_the_surface_gives_nothing_to_a_broker_that_it_cannot_believe(
    place: Place, which: str, said: str, advice: str
) -> None:
    """Nothing is subscribed and no password sent; reason and remedy are in the log, and it tries again."""
    broker = place.broker(which)
    tls = TlsOptions(ca_file=place.mine.cert)
    with structlog.testing.capture_logs() as lines, consuming(place.folder, broker.port, tls) as consumer:
        wait_until(lambda: len([one for one in lines if one["event"] == "link_down"]) > 1, timeout=40)
        assert not consumer.subscribed
    down = [one for one in lines if one["event"] == "link_down"]
    assert all(said in one["reason"] and advice in one["fix"] for one in down), lines


def test_the_surface_says_that_its_own_certificate_has_expired(place: Place) -> None:
    """The broker hangs up without a word."""
    broker = place.broker("good", f"cafile {place.mine.cert}", "require_certificate true")
    cert, key = place.mine.issue("surface", days=-1)
    tls = TlsOptions(ca_file=place.mine.cert, cert_file=cert, key_file=key)
    with structlog.testing.capture_logs() as lines, consuming(place.folder, broker.port, tls):
        wait_until(lambda: "link_down" in [one["event"] for one in lines], timeout=40)
    (first, *_) = [one for one in lines if one["event"] == "link_down"]
    assert f"our certificate {cert} expired on 20" in first["fix"]


def test_the_surface_shows_its_own_certificate_to_whom_it_believes(place: Place) -> None:
    """With one of the mine's authority it stores; with a forger's or none the broker lets it nowhere."""
    broker = place.broker("good", f"cafile {place.mine.cert}", "require_certificate true")
    for cert, key in (place.forger.issue("stranger"), (None, None)):
        with structlog.testing.capture_logs() as lines:
            tls = TlsOptions(ca_file=place.mine.cert, cert_file=cert, key_file=key)
            with consuming(place.folder, broker.port, tls) as consumer:
                time.sleep(1.0)
                assert not consumer.subscribed
        assert "subscribed" not in [one["event"] for one in lines]
        assert cert is not None or any("client certificate" in one.get("reason", "") for one in lines), lines
    cert, key = place.mine.issue("surface")
    tls = TlsOptions(ca_file=place.mine.cert, cert_file=cert, key_file=key)
    with consuming(place.folder, broker.port, tls) as consumer:
        wait_until(lambda: consumer.subscribed, timeout=40, what="subscription")


@pytest.mark.parametrize(
    ("which", "said"), [("forged", "CERTIFICATE_VERIFY_FAILED"), ("expired", "has expired")]
)
def test_sparkplug_gives_nothing_to_a_broker_that_it_cannot_believe(
    place: Place, which: str, said: str, tmp_path: Path
) -> None:
    """It is not born there; the lossless plane would not notice."""
    broker = BrokerOptions(
        host="127.0.0.1", port=place.broker(which).port, tls=TlsOptions(ca_file=place.mine.cert)
    )
    options = SparkplugOptions(
        group_id="g", node="n", cameras=(("c", "z"),), brokers=(broker,), bdseq=tmp_path / "bdseq"
    )
    plane = SparkplugPlane(options=options, clock=Disciplined(), software="x")
    plane.start()
    wait_until(lambda: said in str(plane.status.last_error), timeout=40, what=f"an error with {said!r}")
    assert (0, False) == (plane.status.connects, plane.status.born)
    assert plane.stop(10)


def test_two_consumers_of_one_name_put_each_other_out_and_lose_nothing(place: Place) -> None:
    """A client id belongs to one: the broker ends the older connection, which comes back, and so on.

    It is a mistake of whoever set them up: the log has a line for each end, they come back ever more slowly,
    and every event is still stored, once.
    """
    broker = Mosquitto(place.folder).start()
    place.running.append(broker)
    watcher = Watcher(broker.port, topic="mine/north/v1/box-07/rcpt")
    with (
        structlog.testing.capture_logs() as lines,
        consuming(place.folder, broker.port, None, share="a") as one,
        consuming(place.folder, broker.port, None, share="a") as other,
    ):
        wanted = {arrived(seq).fields["id"]: arrived(seq).body for seq in range(1, 60)}
        deadline = time.monotonic() + 40
        while wanted and time.monotonic() < deadline:  # a box sends again what has no receipt
            for body in list(wanted.values()):
                watcher.publish("mine/north/v1/box-07/evt/test", body)
            time.sleep(0.5)
            receipts = b"".join(arrival.payload for arrival in watcher.arrivals)
            wanted = {name: body for name, body in wanted.items() if name.encode() not in receipts}
        question = "does another run as dsr-surface-s-a?"
        wait_until(lambda: any(question in one.get("fix", "") for one in lines), timeout=40, what=question)
    watcher.close()
    assert {} == wanted
    assert 59 == one.stored + other.stored
    ends = [line for line in lines if line["event"] == "link_down"]
    assert 2 <= len(ends) < 60, len(ends)
