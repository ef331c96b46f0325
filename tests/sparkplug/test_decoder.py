"""Everything that the node publishes, read by somebody else's decoder: npm's sparkplug-payload 1.0.3."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.rig import wait_until
from edge_app.clock import SystemClock
from edge_app.records import CameraState, Event, PersonSeen, PresenceSnapshot
from edge_app.sparkplug.metrics import DEVICE_METRICS, NODE_METRICS
from tests.sparkplug.hosts import value_of
from tooling.decoder import decoder_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.sparkplug.plane import SparkplugPlane
    from tests.sparkplug.hosts import Heard, SparkplugHost
    from tests.sparkplug.wire import Tap

ROOT = Path(__file__).resolve().parents[2]
INT64, DATETIME = 4, 13

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(
        shutil.which("node") is None or not (decoder_folder(ROOT) / "installed").is_file(),
        reason="the independent Sparkplug decoder is not installed (Node.js; python3 run.py setup)",
    ),
]


def decoded(messages: list[Heard]) -> list[dict[str, Any]]:
    """Return what sparkplug-payload makes of each message."""
    lines = b"".join(base64.b64encode(message.raw) + b"\n" for message in messages)
    done = subprocess.run(
        ["node", str(ROOT / "tests/sparkplug/decoder/decode.js")],
        input=lines,
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, "NODE_PATH": str(decoder_folder(ROOT) / "node_modules")},
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def number(value: Any) -> Any:
    """Return a 64-bit number of JavaScript's `long` as one of ours; anything else as it is."""
    if isinstance(value, dict) and {"low", "high"} <= set(value):
        whole = (value["high"] & 0xFFFFFFFF) << 32 | value["low"] & 0xFFFFFFFF
        return whole - (1 << 64) if not value["unsigned"] and whole >= 1 << 63 else whole
    return value


def live_a_little(plane: SparkplugPlane, host: SparkplugHost, tap: Tap) -> None:
    """Let the node publish every kind of message and every metric at least once with a value."""
    now = SystemClock().mono_ns
    host.wait("DBIRTH", 2)
    seen = {"decision": "named", "person_ref": "矿工-1", "score": 0.1 + 0.2, "quality": 0.5, "track": "t"}
    unknown = {**seen, "decision": "unknown", "score": -0.25, "reason": "below_threshold"}
    for data in (seen, unknown):
        plane.observe(Event("sighting", now(), camera="cam1", zone="z1", data=data))
    people = (PersonSeen("CARD-1", "t1", "z1", "cam1", now(), now(), 0.5),)
    plane.muster(PresenceSnapshot(now(), people, (), (CameraState("cam1", "z1"),)))
    alarm = {"id": "camera_blind.cam2", "state": "active", "since_ns": now()}
    blind = {"reason": "no_picture", "alarm": alarm}
    plane.observe(Event("camera_blind", now(), camera="cam2", zone="z2", data=blind))
    host.wait("DDEATH")
    tap.cut()
    wait_until(lambda: not plane.status.connected, what="the loss of the connection")
    plane.observe(Event("sighting", now(), camera="cam1", zone="z1", data=seen))
    host.wait("NBIRTH", 2)
    time.sleep(0.5)
    plane.stop()
    host.wait("NDEATH", 2)


def test_the_decoder_of_the_specifications_authors_reads_every_message(
    start: Callable[..., SparkplugPlane], host: SparkplugHost, tap: Tap
) -> None:
    """Name, type, alias, flags and value of every metric are what protobuf itself reads: none is lost."""
    live_a_little(start(tap.port), host, tap)
    messages = host.edge()
    theirs = decoded(messages)

    assert {"NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH", "NDEATH"} == {m.verb for m in messages}
    assert len(messages) == len(theirs)
    valued = set()
    for message, payload in zip(messages, theirs, strict=True):
        ours = message.payload
        assert (ours.seq if ours.HasField("seq") else None) == number(payload.get("seq"))
        assert len(ours.metrics) == len(payload["metrics"])
        for mine, other in zip(ours.metrics, payload["metrics"], strict=True):
            assert (mine.name or None) == other.get("name")
            assert (mine.alias or None) == number(other.get("alias"))
            assert mine.timestamp == number(other["timestamp"])
            assert bool(mine.is_historical) == bool(other.get("isHistorical"))
            assert value_of(mine) == number(other["value"]), mine
            valued |= {mine.datatype} if value_of(mine) is not None else set()
    assert {4, 10, 11, 12, 13} == valued


def test_without_the_data_type_that_decoder_reads_no_value(
    start: Callable[..., SparkplugPlane], host: SparkplugHost
) -> None:
    """Why saying it is the default, although the specification would rather have it left out."""
    plane = start(host.client.port, send_datatype=False)
    host.wait("DBIRTH", 2)
    seen = {"decision": "named", "person_ref": "P", "score": 0.5, "quality": 0.5, "track": "t"}
    plane.observe(Event("sighting", SystemClock().mono_ns(), camera="cam1", zone="z1", data=seen))
    message = host.wait("DDATA")

    assert "P" in [value_of(metric) for metric in message.payload.metrics]
    assert {None} == {metric["value"] for metric in decoded([message])[0]["metrics"]}


def test_every_type_of_the_tables_was_read() -> None:
    """The tables use no type that the first test did not see with a value."""
    assert {4, 10, 11, 12, 13} == {int(kind) for _, kind, _ in (*NODE_METRICS, *DEVICE_METRICS)}
