"""Fixtures: a real broker, a tap before it, a host that listens, and planes that are ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_app.clock import SystemClock
from edge_app.delivery.options import BrokerOptions
from edge_app.sparkplug.options import SparkplugOptions
from edge_app.sparkplug.plane import SparkplugPlane
from tests.sparkplug.hosts import GROUP, NODE, SparkplugHost
from tests.sparkplug.wire import Tap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.rig import Mosquitto


@pytest.fixture
def tap(broker: Mosquitto) -> Iterator[Tap]:
    """Return a tap before that broker."""
    tap = Tap(broker.port)
    yield tap
    tap.close()


@pytest.fixture
def host(broker: Mosquitto) -> Iterator[SparkplugHost]:
    """Return a host at that broker."""
    host = SparkplugHost(broker.port)
    yield host
    host.close()


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., SparkplugOptions]:
    """Return a maker of options: two cameras, brokers at the given ports, short times."""

    def make(*ports: int, **changes: Any) -> SparkplugOptions:
        settings: dict[str, Any] = {
            "group_id": GROUP,
            "node": NODE,
            "cameras": (("cam1", "z1"), ("cam2", "z2")),
            "brokers": tuple(BrokerOptions(host="127.0.0.1", port=port) for port in ports or (1,)),
            "bdseq": tmp_path / "bdseq",
            "connect_timeout_s": 2.0,
            "reconnect_max_s": 0.5,
            "host_wait_s": 1.0,
        }
        return SparkplugOptions(**{**settings, **changes})

    return make


@pytest.fixture
def start(options: Callable[..., SparkplugOptions]) -> Iterator[Callable[..., SparkplugPlane]]:
    """Return a starter of planes; all are stopped at the end, and none may have had a fault."""
    started: list[SparkplugPlane] = []

    def make(*ports: int, **changes: Any) -> SparkplugPlane:
        plane = SparkplugPlane(
            options=options(*ports, **changes), clock=SystemClock(), software="dsr-edge 1.2.3"
        )
        plane.start()
        started.append(plane)
        return plane

    yield make
    for plane in started:
        assert plane.stop(5)
    assert 0 == sum(plane.status.faults for plane in started), [plane.status for plane in started]
