"""The status page of a running box: off unless asked for, and then what the box really sees."""

from __future__ import annotations

import json
import socket
import urllib.request
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from benchmarks.rig import free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daemon.rig import BoxRig, Listener

pytestmark = pytest.mark.mosquitto


def get(port: int, path: str) -> bytes:
    """Return what the page answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        body: bytes = answer.read()
    return body


def test_the_page_shows_the_face_before_the_camera_and_ends_with_the_box(
    rig: BoxRig, listener: Listener, clip: Path
) -> None:
    """Stages, broker, an unknown person inside, and a picture in which the face is boxed."""
    port = free_port()
    rig.watch(clip, fps=10, loop=True)
    rig.config["web"] = {"port": port}
    daemon = rig.start()
    listener.wait_for(lambda: listener.of("sighting"), timeout=60)

    def now() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(get(port, "/status.json"))
        return found

    wait_until(lambda: bool(now()["unknown"]), timeout=30, what="somebody on the page")
    shown = now()
    assert ("m1", "b1", "cam") == (
        shown["about"]["site"],
        shown["about"]["node"],
        shown["cameras"][0]["name"],
    )
    assert {"capture:cam", "faces:cam", "recognise", "delivery"} == {one["name"] for one in shown["stages"]}
    assert all(one["alive"] for one in shown["stages"])
    assert shown["outbox"]["broker"].startswith("127.0.0.1:")
    picture = cv2.imdecode(np.frombuffer(get(port, "/camera/cam.jpg"), np.uint8), cv2.IMREAD_COLOR)
    assert 360 == picture.shape[0]
    daemon.terminate()
    assert 0 == daemon.wait(60)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_without_a_port_there_is_no_page(rig: BoxRig, listener: Listener, clip: Path) -> None:
    """Off is the default, and the log says nothing of it."""
    rig.watch(clip, fps=10)
    assert 0 == rig.start().wait(90), rig.log()
    assert "status_page" not in rig.log()
