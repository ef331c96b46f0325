"""The real daemon as systemd sees it: READY, beats, none when a stage freezes, and a goodbye on SIGTERM.

Real detector, real pictures, a real broker; the recogniser is a small network of the real kind.
"""

from __future__ import annotations

import json
import queue
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edge_app.config import Config

    Box = Callable[..., tuple[Path, Config]]

pytestmark = pytest.mark.mosquitto
ROOT = Path(__file__).resolve().parents[2]
#: The limit that the service manager sets here; the daemon then feeds it every two seconds.
WATCHDOG_S = 6.0


class Listener:
    """A subscriber of everything that the box says."""

    def __init__(self, port: int) -> None:
        self._messages: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = lambda _c, _u, message: self._messages.put(
            (message.topic, bytes(message.payload))
        )
        self.client.on_connect = lambda client, *_: client.subscribe("mine/mine-1/v1/box-01/#", qos=1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def until(self, end: str, seconds: float) -> dict[str, Any]:
        """Return the first message whose topic ends with `end`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                topic, payload = self._messages.get(timeout=left)
            except queue.Empty:
                break
            if topic.endswith(end):
                return dict(json.loads(payload))
        pytest.fail(f"no message on .../{end} within {seconds} s")

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def camera(tmp_path: Path, demo_photos: Mapping[str, Path]) -> dict[str, object]:
    """A camera that shows one photographed person, five times a second, for ever."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = cv2.imread(str(demo_photos["obama"]))
    assert picture is not None
    cv2.imwrite(str(folder / "a.png"), cv2.resize(picture, None, fx=0.5, fy=0.5))
    source = {"kind": "folder", "path": str(folder), "fps": 5, "pace": "realtime", "loop": True}
    return {"name": "in", "zone": "portal", "source": source}


@pytest.fixture
def broker(mosquitto_in: Callable[..., int]) -> int:
    """A broker that takes anybody; returns its port."""
    return mosquitto_in("allow_anonymous true")


@pytest.fixture
def listener(broker: int) -> Iterator[Listener]:
    """Somebody who hears everything."""
    listener = Listener(broker)
    yield listener
    listener.close()


@pytest.fixture
def config(
    box: Box, camera: dict[str, object], broker: int, centerface: Path, tiny_recogniser: Path
) -> tuple[Path, Config]:
    """The configuration of a whole box, and its file."""
    return box(
        cameras=[camera],
        detector={"model": str(centerface), "dust_model": None, "long_side": 320},
        recogniser={"model": str(tiny_recogniser)},
        delivery={"brokers": [{"host": "127.0.0.1", "port": broker}]},
    )


def test_ready_beats_and_a_clean_stop_that_commits_and_says_goodbye(
    config: tuple[Path, Config], listener: Listener, service_manager: Any
) -> None:
    """What `systemctl start`, a while of work, and `systemctl stop` are."""
    path, values = config
    manager = service_manager(watchdog_s=WATCHDOG_S)
    manager.start(sys.executable, "-m", "edge_app.cli.main", "run", "--config", str(path), "--log-json")
    assert "READY=1" in manager.listen(40, until="READY=1")
    assert "WATCHDOG=1" in manager.listen(WATCHDOG_S / 2, until="WATCHDOG=1")
    assert "box_start" == listener.until("evt/box_start", 10)["kind"]
    assert "unknown" == listener.until("evt/sighting", 20)["decision"]

    manager.process.send_signal(signal.SIGTERM)
    assert "STOPPING=1" in manager.listen(20, until="STOPPING=1")
    assert 0 == manager.process.wait(20), manager.log()
    assert "SIGTERM" == listener.until("evt/box_stop", 5)["reason"]
    assert listener.until("/state", 5)["online"] is False
    with closing(sqlite3.connect(values.delivery.outbox)) as db:
        assert (0,) == db.execute("SELECT COUNT(*) FROM outbox").fetchone()
    records = [json.loads(line) for line in manager.log().splitlines()]
    assert "decision" in {record["record"] for record in records}


def test_no_beat_while_one_stage_hangs_although_the_others_work(
    config: tuple[Path, Config], listener: Listener, service_manager: Any
) -> None:
    """The process lives, its other threads beat, and systemd is told nothing: it would restart it."""
    path, _ = config
    manager = service_manager(watchdog_s=1.5)
    script = ROOT / "tests/health/freezing_daemon.py"
    manager.start(sys.executable, str(script), "run", "--config", str(path), "--log-json")
    assert "READY=1" in manager.listen(40, until="READY=1")
    assert 2 <= manager.listen(1.5).count("WATCHDOG=1")

    manager.process.send_signal(signal.SIGUSR1)
    heard = manager.listen(10, until="STATUS=silent")
    assert heard[-1].startswith("STATUS=silent: recognise (")
    assert [] == manager.listen(2.0)
    assert manager.process.poll() is None

    manager.process.send_signal(signal.SIGABRT)  # what systemd does when WatchdogSec is over
    manager.process.wait(10)
    silent = [json.loads(line) for line in manager.log().splitlines() if '"stage silent"' in line]
    assert ["recognise"] == [record["stage"] for record in silent]
    assert any("frozen_take" in call or "taken" in call for call in silent[0]["stands_at"])
