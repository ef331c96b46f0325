"""The access lists of the documentation at a real mosquitto: with exactly these rights everything works.

What a broker denies is seen by nobody but whoever reads its log, so the log is read here.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.processes.surface import Surface
from benchmarks.rig import Mosquitto, wait_until
from edge_app.cli.main import main
from edge_app.sparkplug import sparkplug_b_pb2
from tests.daemon.rig import BoxRig, Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.mosquitto

DOCS = Path(__file__).resolve().parent.parent / "docs"


def rights(page: str) -> str:
    """Return the access list on a page: the lines of code from ``user`` on."""
    (found,) = re.findall(
        r"^( {4}user \S+\n(?: {4}topic .*\n)+)", (DOCS / page).read_text("utf-8"), re.MULTILINE
    )
    return "\n".join(line.strip() for line in found.splitlines())


def command_line(page: str, start: str) -> list[str]:
    """Return the words of the command on a page that begins so; a backslash at a line's end continues it."""
    text = (DOCS / page).read_text("utf-8").replace("\\\n", " ")
    (line,) = re.findall(rf"^ {{4}}({re.escape(start)}.*)$", text, re.MULTILINE)
    return shlex.split(line.split(" > ")[0])


class Guarded:
    """A broker with the access lists of some pages, and somebody who may listen to everything."""

    def __init__(self, folder: Path, *pages: str) -> None:
        lists = [*map(rights, pages), "user listener\ntopic read #\ntopic write spBv1.0/#"]
        (folder / "acl").write_text("\n\n".join(lists) + "\n", encoding="utf-8")
        (folder / "acl").chmod(0o644)
        settings = [f"acl_file {folder / 'acl'}", "log_type all", "max_queued_messages 100000"]
        self.broker = Mosquitto(folder, settings=settings).start()
        self.log = folder / f"mosquitto-{self.broker.port}.log"

    def denied(self) -> list[str]:
        """Return what the broker's log says that it denied."""
        return [line for line in self.log.read_text("utf-8").splitlines() if "Denied" in line]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    """Return a starter of brokers with the lists of pages."""
    made: list[Guarded] = []

    def start(*pages: str) -> Guarded:
        made.append(Guarded(tmp_path, *pages))
        return made[-1]

    yield start
    for one in made:
        one.broker.stop()


@pytest.fixture
def box(tmp_path: Path, centerface: Path) -> Iterator[Callable[[int], BoxRig]]:
    """Return a maker of the box ``box-01`` of ``mine-1`` that sees a picture without faces."""
    made: list[BoxRig] = []

    def make(port: int) -> BoxRig:
        import cv2
        import numpy as np

        (tmp_path / "clip").mkdir()
        cv2.imwrite(str(tmp_path / "clip" / "0.jpg"), np.full((360, 640, 3), 90, np.uint8))
        made.append(BoxRig(tmp_path, detector=centerface, port=port))
        made[-1].watch(tmp_path / "clip", pace="realtime", fps=2, loop=True)
        made[-1].config["box"] = {"site": "mine-1", "node": "box-01"}
        made[-1].config["delivery"]["brokers"][0]["username"] = "box-01"
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_command_sent_as_documented_is_answered_with_the_documented_rights(
    guarded: Callable[..., Guarded], box: Callable[[int], BoxRig], tmp_path: Path
) -> None:
    """Signed and published by the commands of the page; the answer comes where they say."""
    place = guarded("deployment.md", "commands.md")
    listener = Listener(place.broker.port, user=("listener", ""))
    rig = box(place.broker.port)
    assert 0 == main(["command", "keygen", "--out", str(tmp_path / "control-room.pem")])
    public = str(tmp_path / "control-room.pub")
    rig.config["commands"] = {"keys": [{"name": "control-room", "public_file": public}]}
    rig.start()
    listener.wait_for(lambda: listener.of("box_start"), timeout=60)

    sign = command_line(
        "commands.md", "dsr-edge command sign --key control-room.pem --site mine-1 --node box-01"
    )
    signed = subprocess.run(
        [*rig.command()[:3], *sign[1:]], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    (tmp_path / "muster.json").write_bytes(signed)
    publish = command_line("commands.md", "mosquitto_pub -h broker")
    publish[publish.index("broker")] = "127.0.0.1"
    more = ["-p", str(place.broker.port), "-u", "control-room"]
    subprocess.run([*publish, *more], cwd=tmp_path, check=True)

    room = publish[publish.index("response-topic") + 1]
    listener.wait_for(lambda: listener.last(room))
    answer = listener.last(room)
    assert answer is not None
    assert ("done", "muster") == (answer.event["outcome"], answer.event["verb"])
    assert b"7" == answer.token
    listener.close()
    assert [] == place.denied()


def test_surfaces_that_share_need_the_documented_rights_and_no_others(
    guarded: Callable[..., Guarded], box: Callable[[int], BoxRig], tmp_path: Path
) -> None:
    """They store, receipt, hear of each other's end, and say so to the boxes; nothing is denied."""
    place = guarded("deployment.md", "surface.md")
    listener = Listener(place.broker.port, topic="#", user=("listener", ""))
    key = tmp_path / "surface.key"
    key.write_text("ab" * 32, encoding="ascii")
    key.chmod(0o600)
    rig = box(place.broker.port)
    rig.config["delivery"]["consumers"] = [{"id": "surface", "key_file": str(key)}]
    surfaces = [
        Surface(
            folder=tmp_path,
            port=place.broker.port,
            key=key,
            extra=("--username", "surface", "--share", name),
        )
        for name in "ab"
    ]
    rig.start()
    try:
        wait_until(lambda: bool(surfaces[1].ids()), timeout=60, what="the first event in the store")
        listener.wait_for(lambda: listener.last("/rcpt"))
        greeted = len([one for one in listener.arrivals if b'"ids":[]' in one.payload])
        surfaces[0].kill()
        listener.wait_for(lambda: listener.last("dsr-surface/surface/gone"))
        listener.wait_for(
            lambda: len([one for one in listener.arrivals if b'"ids":[]' in one.payload]) > greeted
        )
    finally:
        for one in surfaces:
            one.kill()
        listener.close()
    assert [] == place.denied()


def test_a_sparkplug_node_needs_the_documented_rights_and_no_others(
    guarded: Callable[..., Guarded], box: Callable[[int], BoxRig]
) -> None:
    """It is born with its camera, hears a host, and is born again when the host asks."""
    place = guarded("deployment.md", "sparkplug.md")
    listener = Listener(place.broker.port, topic="spBv1.0/#", user=("listener", ""))
    rig = box(place.broker.port)
    rig.config["sparkplug"] = {"group_id": "Mine", "primary_host": "scada"}
    rig.start()
    now_ms = int(time.time() * 1000)
    online = json.dumps({"online": True, "timestamp": now_ms}).encode()

    def births() -> list[str]:
        return [one.topic.split("/")[2] for one in listener.arrivals if "BIRTH" in one.topic]

    end = time.monotonic() + 60
    while len(births()) < 2 and time.monotonic() < end:  # nothing of it is retained here
        listener.publish("spBv1.0/STATE/scada", online)
        time.sleep(0.5)
    assert ["NBIRTH", "DBIRTH"] == births()
    payload = sparkplug_b_pb2.Payload(timestamp=now_ms)
    payload.metrics.add(name="Node Control/Rebirth", timestamp=now_ms, datatype=11, boolean_value=True)
    listener.publish("spBv1.0/Mine/NCMD/box-01", payload.SerializeToString())
    listener.wait_for(lambda: births() == ["NBIRTH", "DBIRTH"] * 2)
    listener.close()
    assert [] == place.denied()
