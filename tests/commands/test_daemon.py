"""Signed commands to the real daemon over a real broker, signed by the command line."""

from __future__ import annotations

import contextlib
import io
import json
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.rig import wait_until
from edge_app.cli.main import main
from edge_app.faces.preprocess import PREPROCESS_SHA256
from edge_app.identity.export import export_people
from edge_app.identity.gallery import Gallery
from edge_app.identity.people import NewPhoto
from edge_app.records import Embedding, Quality
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
        wait_until(lambda: len(self.answers) > before, timeout=60, what=f"an answer to {verb}")
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
        assert "failed" == engine["outcome"]
        assert "there is no engine to go back to" in engine["reason"]
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
        ("muster", "done"),
        ("engine", "failed"),
        ("reload", "done"),
    ]
    assert [*done, ("dance", "refused"), ("identify", "done")] == outcomes
    assert {"control-room"} == {e["by"] for e in listener.of("command") if "by" in e}


def a_bundle(folder: Path, key: Path) -> str:
    """Write a bundle of one person, whom another model embedded; return its SHA-256."""
    gallery = Gallery(path=folder / "elsewhere.db")
    gallery.create()
    pixels = np.random.default_rng(5).integers(0, 256, (224, 224, 3), np.uint8)
    quality = Quality(
        face_px=90.0, sharpness=9.0, brightness=99.0, contrast=50.0, yaw=3.0, pitch=0.0, roll=0.0, score=0.8
    )
    embedding = Embedding(np.eye(1, 64, dtype=np.float32)[0], "e" * 64, PREPROCESS_SHA256)
    gallery.add(
        ref="card-7", name="Li Wei", photos=[NewPhoto("li.jpg", "1" * 64, quality, embedding, pixels)]
    )
    key_bytes = bytes.fromhex(key.read_text(encoding="ascii"))
    return export_people(gallery=gallery, out=folder / "li.bundle", key=key_bytes, site="m1").sha256


def told(listener: Listener) -> tuple[int | None, int | None]:
    """Return how many commands were done and failed, as the box's state says now."""
    measures = listener.states()[-1].get("measures", {})
    return measures.get("commands_done"), measures.get("commands_failed")


def test_the_register_of_a_running_box_is_changed_by_command(
    rig: BoxRig, broker: Mosquitto, listener: Listener, clip: Path, tmp_path: Path
) -> None:
    """A bundle that lies there is taken over by its digest, embedded again; another is not; then removed."""
    assert 0 == main(["command", "keygen", "--out", str(tmp_path / "room.pem")])
    key = tmp_path / "bundle.key"
    key.write_text("5a" * 32, encoding="ascii")
    key.chmod(0o600)
    sha256 = a_bundle(tmp_path, key)
    rig.watch(clip, pace="realtime", fps=5, loop=True)
    rig.config["commands"] = {"keys": [{"name": "room", "public_file": str(tmp_path / "room.pub")}]}
    rig.config["gallery"] = {"bundle_key": str(key), "bundles": str(tmp_path)}
    process = rig.start()
    listener.wait_for(lambda: listener.of("box_start"), timeout=60)
    room = ControlRoom(broker.port)

    def ask(*words: str) -> dict[str, Any]:
        return room.ask("gallery", signed(tmp_path / "room.pem", "gallery", *words))

    try:
        wrong = ask("--arg", "bundle=li.bundle", "--arg", f"sha256={'0' * 64}")
        assert ("failed", True) == (wrong["outcome"], "not the file that was named" in wrong["reason"])
        done = ask("--arg", "bundle=li.bundle", "--arg", f"sha256={sha256}")
        assert ("done", 1, 1) == (done["outcome"], done["data"]["added"], done["data"]["embedded"]), done
        listener.wait_for(lambda: [e["registered"] for e in listener.of("gallery_changed")] == [1])
        assert "done" == ask("--arg", "remove=card-7")["outcome"]
        listener.wait_for(lambda: (2, 1) == told(listener))
        listener.wait_for(lambda: [e["registered"] for e in listener.of("gallery_changed")] == [1, 0])
    finally:
        room.close()
    process.terminate()
    assert 0 == process.wait(30), rig.log()
    notes = [event.get("note", "") for event in listener.of("command")]
    assert [
        "",
        f"gallery: +1 ~0 -0 by bundle {sha256[:12]}; version 1",
        "gallery: removed card-7; version 2",
    ] == notes
    assert "Li Wei" not in str([arrival.payload for arrival in listener.arrivals])


def test_signing_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the desk of whoever signs, not at the box."""
    key = tmp_path / "k.pem"
    assert 0 == main(["command", "keygen", "--out", str(key)])
    common = ["command", "sign", "--key", str(key), "--site", "m1", "--node", "b1"]

    assert 2 == main([*common, "--verb", "a/b"])
    assert "verb must match" in capsys.readouterr().err
    assert 2 == main([*common, "--verb", "engine", "--arg", "novalue"])
    assert "NAME=VALUE" in capsys.readouterr().err
    for seconds in ("0", "86401"):
        assert 2 == main([*common, "--verb", "muster", "--valid-s", seconds])
        assert "1 to 86400 seconds" in capsys.readouterr().err
    assert 0 == main([*common, "--verb", "engine", "--arg", "n=-5", "--arg", "t=true", "--arg", "s=a=b"])
    assert {"n": "-5", "t": True, "s": "a=b"} == json.loads(capsys.readouterr().out)["args"]
