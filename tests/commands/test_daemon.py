"""Signed commands to the real daemon over a real broker, signed by the command line."""

from __future__ import annotations

import contextlib
import io
import json
import threading
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.rig import wait_until
from edge_app.cli.main import main
from tests.daemon.conftest import clip, listener, rig

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.rig import Mosquitto
    from tests.daemon.rig import BoxRig, Listener

__all__ = ["clip", "listener", "rig"]

pytestmark = pytest.mark.mosquitto


def signed(key: Path, verb: str, *more: str, node: str = "b1") -> bytes:
    """Return a command as the command line signs it."""
    words = ["command", "sign", "--key", str(key), "--site", "m1", "--node", node, "--verb", verb, *more]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert 0 == main(words)
    return said.getvalue().strip().encode("ascii")


class ControlRoom:
    """Publishes commands, and keeps the answers."""

    def __init__(self, port: int) -> None:
        ready = threading.Event()
        self.answers: list[dict[str, Any]] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_message = lambda _c, _u, m: self.answers.append(
            {**json.loads(m.payload), "correlation": m.properties.CorrelationData}
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe("mine/m1/room/resp", qos=1)
        assert ready.wait(10)

    def ask(self, verb: str, payload: bytes, *, answered: bool = True) -> dict[str, Any]:
        """Publish a command; return its answer."""
        before = len(self.answers)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic, properties.CorrelationData = "mine/m1/room/resp", b"\x01\xfe"
        self.client.publish(f"mine/m1/v1/b1/cmd/{verb}", payload, qos=1, properties=properties)
        if not answered:
            return {}
        wait_until(lambda: len(self.answers) > before, timeout=20, what=f"an answer to {verb}")
        return self.answers[-1]

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()


def test_a_running_box_obeys_its_operator_and_nobody_else(
    rig: BoxRig, broker: Mosquitto, listener: Listener, clip: Path, tmp_path: Path
) -> None:
    """Its name, a muster and an engine are done and recorded; a replay, a stranger and junk are not."""
    keys = {name: tmp_path / f"{name}.pem" for name in ("room", "stranger")}
    for key in keys.values():
        assert 0 == main(["command", "keygen", "--out", str(key)])
    rig.watch(clip, pace="realtime", fps=5, loop=True)
    rig.config["commands"] = {"keys": [{"name": "control-room", "public_file": str(tmp_path / "room.pub")}]}
    process = rig.start()
    listener.wait_for(lambda: listener.of("box_start"), timeout=60)
    room = ControlRoom(broker.port)
    try:
        first = signed(keys["room"], "identify")
        answer = room.ask("identify", first)
        assert ("done", "b1", b"\x01\xfe") == (answer["outcome"], answer["node"], answer["correlation"])
        assert [{"camera": "cam", "zone": "z1"}] == answer["data"]["cameras"]
        assert "replayed" == room.ask("identify", first)["reason"]

        musters = len(listener.of("muster"))
        assert "headcount" in room.ask("muster", signed(keys["room"], "muster"))["data"]
        listener.wait_for(lambda: len(listener.of("muster")) > musters)
        engine = room.ask("engine", signed(keys["room"], "engine", "--arg", "rollback=true"))
        assert ("done", None) == (engine["outcome"], engine["data"]["active"])
        rig.config["quality"] = {"min_face_px": 4000}
        rig.config["decide"] = {"min_views": 5}
        rig.command("run")  # writes the changed file
        reload = room.ask("reload", signed(keys["room"], "reload"))
        assert ["decide.min_views", "quality.min_face_px"] == reload["data"]["taken"]
        assert "unknown_verb" == room.ask("dance", signed(keys["room"], "dance"))["reason"]

        answered = len(room.answers)
        for payload in (
            signed(keys["stranger"], "identify"),
            signed(keys["room"], "identify", node="b2"),
            *(b"", b"\xff" * 1000, b"[" * 16_000, b'{"v":1}', b"x" * 120_000),
        ):
            room.ask("identify", payload, answered=False)
        room.ask("identify", signed(keys["room"], "identify"))
        assert answered + 1 == len(room.answers)
        listener.wait_for(lambda: any("refused;" in e.get("reason", "") for e in listener.of("command")))
    finally:
        room.close()
    process.terminate()
    assert 0 == process.wait(30), rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))

    outcomes = [(e["verb"], e["outcome"]) for e in listener.of("command") if e["verb"] != "none"]
    done = [
        ("identify", "done"),
        ("identify", "refused"),
        *((v, "done") for v in ("muster", "engine", "reload")),
    ]
    assert [*done, ("dance", "refused"), ("identify", "done")] == outcomes
    assert {"control-room"} == {e["by"] for e in listener.of("command") if "by" in e}


def test_signing_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the desk of whoever signs, not at the box."""
    key = tmp_path / "k.pem"
    assert 0 == main(["command", "keygen", "--out", str(key)])
    common = ["command", "sign", "--key", str(key), "--site", "m1", "--node", "b1"]

    assert 2 == main([*common, "--verb", "a/b"])
    assert "verb must match" in capsys.readouterr().err
    assert 2 == main([*common, "--verb", "engine", "--arg", "novalue"])
    assert "NAME=VALUE" in capsys.readouterr().err
    assert 0 == main([*common, "--verb", "engine", "--arg", "n=-5", "--arg", "t=true", "--arg", "s=a=b"])
    assert {"n": -5, "t": True, "s": "a=b"} == json.loads(capsys.readouterr().out)["args"]
