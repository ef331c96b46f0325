"""The whole box with Sparkplug switched on: a real camera's pictures to a Sparkplug host."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.daemon.conftest import clip, listener, rig
from tests.sparkplug.hosts import SparkplugHost

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.rig import Mosquitto
    from tests.daemon.rig import BoxRig, Listener

__all__ = ["clip", "listener", "rig"]

pytestmark = pytest.mark.mosquitto


def test_a_host_sees_the_box_its_camera_and_whom_it_recognises(
    rig: BoxRig,
    broker: Mosquitto,
    listener: Listener,
    clip: Path,
    demo_photos: Mapping[str, Path],
) -> None:
    """Born, person named with score and zone, headcount, gallery, and a goodbye; the other plane is whole."""
    rig.register("CARD-1", [demo_photos["obama"], demo_photos["obama3"]])
    rig.watch(clip, pace="realtime", fps=10, loop=True)
    # Who is recognised how well is another test's question: here everybody is the one who is registered.
    rig.config["recogniser"]["threshold"] = -1.0
    rig.config["sparkplug"] = {"group_id": "Mine", "primary_host": "scada"}
    host = SparkplugHost(broker.port)
    host.state(online=True)
    box = rig.start()
    host.wait_value("Sighting/Person", "CARD-1", device="cam", timeout=60)
    host.wait_value("Presence/People", "CARD-1")
    host.wait_value("Sees", True, device="cam")
    host.wait_value("Delivery/Connected", True)
    values = host.values() | host.values("cam")
    box.send_signal(signal.SIGTERM)
    assert 0 == box.wait(30), rig.log()
    host.wait("NDEATH")
    host.close()

    assert (1, "z1") == (values["Presence/Headcount"], values["Sighting/Zone"])
    assert -1 <= values["Sighting/Score"] <= 1
    assert values["Gallery/Version"] > 0
    assert values["Engine/Backend"] in {state.get("backend") for state in listener.states()}
    assert values["Clock/Quality"] in {"sync", "holdover"}
    listener.wait_for(lambda: listener.of("box_stop"))
    assert sorted(event["seq"] for event in listener.events()) == list(range(1, len(listener.events()) + 1))


def test_a_sparkplug_plane_that_cannot_connect_costs_no_event(
    rig: BoxRig, listener: Listener, clip: Path
) -> None:
    """Its broker refuses; every event of the box is delivered, and it stops in order."""
    rig.watch(clip, fps=10)
    rig.config["sparkplug"] = {"group_id": "Mine", "brokers": [{"host": "127.0.0.1", "port": 9}]}
    assert 0 == rig.start().wait(60), rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))

    events = listener.events()
    assert sorted(event["seq"] for event in events) == list(range(1, len(events) + 1))
    assert "sparkplug_fault" not in rig.log()
    assert json.dumps(events)
