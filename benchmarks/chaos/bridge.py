"""mosquitto's own bridge beside the box: the same load, the same kills, and what survives of either.

::

    bridge:  publisher --> mosquitto on the box --bridge--> mosquitto of the mine --> persistent subscriber
    ours:    box with its outbox -------------------------> mosquitto of the mine --> consumer that receipts

Both lines get events at the same rate, and the same kills at the same moments: of what runs on the box, of
the mine's broker, of the consumer. The bridge is tried as it is shipped, and set up as well as its manual
allows: persistence, saved every second, queues of 100,000. ``python3 run.py chaos --only bridge`` runs it.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.chaos.scene import BROKER, Scene
from benchmarks.rig import HOST, Mosquitto, Watcher, mosquitto_path, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOPIC: Final = "mine/north/v1/box-1/evt/sighting"
_TARGETS: Final = ("box", "broker", "consumer")
_PERSISTENT: Final = ("persistence true", "autosave_interval 1", "max_inflight_messages 100")
_SETTLE_S: Final = 20.0


class BridgeLine:
    """Two mosquittos joined by mosquitto's bridge; what is PUBACKed by the box's own counts as committed."""

    def __init__(self, folder: Path, *, autosave: bool) -> None:
        self._folder = folder
        for name in ("box", "mine"):
            (folder / name).mkdir(parents=True)
        kept = (*_PERSISTENT, "max_queued_messages 100000") if autosave else ()
        self.mine = Mosquitto(
            folder / "mine",
            settings=(*kept, *((f"persistence_location {folder}/mine/",) if autosave else ())),
        ).start()
        bridge = (
            "connection mine",
            f"address {HOST}:{self.mine.port}",
            f"topic {TOPIC} out 1",
            "cleansession false",
            "restart_timeout 1 2",
        )
        where = (f"persistence_location {folder}/box/",) if autosave else ()
        self.box = Mosquitto(folder / "box", settings=(*kept, *where, *bridge)).start()
        self._subscribe()
        self.committed: set[int] = set()
        self._under_way: dict[int, int] = {}
        self._publisher = self._new_publisher()

    def _subscribe(self) -> None:
        self.watcher = Watcher(self.mine.port, topic="mine/#", persistent=True, client_id="scada")

    def _new_publisher(self) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="camera", clean_session=False)
        client.max_queued_messages_set(0)
        client.reconnect_delay_set(1, 1)
        client.on_publish = lambda _c, _u, mid, _r, _p: self._acknowledged(mid)
        client.connect(HOST, self.box.port)
        client.loop_start()
        return client

    def _acknowledged(self, mid: int) -> None:
        if (number := self._under_way.pop(mid, None)) is not None:
            self.committed.add(number)

    def submit(self, number: int) -> None:
        """Publish event `number` at the box's broker, which acknowledges it when it has it."""
        info = self._publisher.publish(TOPIC, json.dumps({"n": number}), qos=1)
        self._under_way[info.mid] = number

    def kill(self, target: str) -> None:
        """Kill one of the three and start it again."""
        if target == "consumer":
            arrived = self.watcher.arrivals
            with suppress(OSError):
                sock = self.watcher.client.socket()
                if sock is not None:
                    sock.close()
            self.watcher.client.loop_stop()
            self._subscribe()
            self.watcher.arrivals[:0] = arrived
            return
        broker = self.box if target == "box" else self.mine
        broker.kill()
        broker.start()

    def survived(self) -> set[int]:
        """Wait for the rest and return the numbers of what arrived."""
        before = -1
        while before != (before := len(self.watcher.arrivals)):
            time.sleep(_SETTLE_S / 4)
        got = {json.loads(a.payload)["n"] for a in self.watcher.arrivals if a.topic == TOPIC}
        self._publisher.loop_stop()
        self.watcher.close()
        self.box.stop()
        self.mine.stop()
        return got & self.committed


class OurLine:
    """The box with its outbox, and the reference consumer; events come at the rate of the box process."""

    def __init__(self, folder: Path, *, rate: float) -> None:
        self._rate = rate
        self._scene = Scene(folder, receipts=True, broker=BROKER)
        self._scene.start_box(rate, port=self._scene.broker.port)

    def kill(self, target: str) -> None:
        """Kill one of the three and start it again."""
        scene = self._scene
        if target == "box" and scene.box is not None:
            scene.box.kill()
            scene.start_box(self._rate, port=scene.broker.port)
        elif target == "broker":
            scene.broker.kill()
            scene.broker.start()
        elif scene.surface is not None:
            scene.surface.kill()
            scene.surface.start()

    def survived(self) -> tuple[int, int]:
        """Let the rest be delivered; return how many were committed, and how many of them arrived."""
        row = self._scene.finish("kills", times=0)
        return row.committed, row.committed - row.lost


def outage(folder: Path, *, rate: float, seconds: float, autosave: bool) -> tuple[int, int]:
    """The mine's broker is away, and the box loses its power in the middle; return committed and arrived."""
    line = BridgeLine(folder, autosave=autosave)
    line.mine.stop()
    _feed(line.submit, rate, seconds / 2)
    wait_until(lambda: len(line.committed) >= rate * seconds / 2 * 0.9, timeout=30, what="PUBACKs of the box")
    line.kill("box")
    time.sleep(2)
    _feed(line.submit, rate, seconds / 2, first=100_000)
    time.sleep(2)
    line.mine.start()
    return len(line.committed), len(line.survived())


def our_outage(folder: Path, *, rate: float, seconds: float) -> tuple[int, int]:
    """The same for the box with its outbox."""
    scene = Scene(folder, receipts=True, broker=BROKER)
    port = scene.broker.port
    scene.broker.stop()
    box = scene.start_box(rate, port=port)
    time.sleep(seconds / 2)
    box.kill()
    scene.start_box(rate, port=port)
    time.sleep(seconds / 2)
    scene.broker.start()
    row = scene.finish("outage", times=1)
    return row.committed, row.committed - row.lost


def kills(folder: Path, *, n: int, rate: float, seed: int, autosave: bool) -> tuple[int, int]:
    """Kill parts of the bridge's line at random; return committed and arrived."""
    rng, line = random.Random(seed), BridgeLine(folder, autosave=autosave)  # noqa: S311 - a seed makes it repeatable
    number = 0
    for _ in range(n):
        number = _feed(line.submit, rate, rng.uniform(0.5, 1.5), first=number)
        line.kill(rng.choice(_TARGETS))
    time.sleep(3)
    return len(line.committed), len(line.survived())


def our_kills(folder: Path, *, n: int, rate: float, seed: int) -> tuple[int, int]:
    """Kill parts of the box's line at the same moments; return committed and arrived."""
    rng, line = random.Random(seed), OurLine(folder, rate=rate)  # noqa: S311 - a seed makes it repeatable
    for _ in range(n):
        time.sleep(rng.uniform(0.5, 1.5))
        line.kill(rng.choice(_TARGETS))
    time.sleep(3)
    return line.survived()


def _feed(submit: Callable[[int], None], rate: float, seconds: float, *, first: int = 0) -> int:
    """Submit events at `rate` for `seconds`, numbered from `first`; return the next number."""
    began, number = time.monotonic(), first
    while (now := time.monotonic() - began) < seconds:
        while number - first < now * rate:
            submit(number)
            number += 1
        time.sleep(0.01)
    return number


def run(folder: Path, *, n: int, rate: float, seconds: float, seed: int) -> bool:
    """Measure all and print it; return whether the box lost nothing."""
    program = str(mosquitto_path())
    version = subprocess.run(
        [program, "-h"], check=False, capture_output=True, text=True
    ).stdout.splitlines()[0]
    print(f"{version}, {rate:.0f} events a second")
    print(f"{'':58} {'committed':>10} {'survived':>9}")
    folder.mkdir()
    cut = f"{seconds:.0f} s outage, power cut midway"
    tuned = "  bridge with persistence, saved every second"
    long = {"rate": rate, "seconds": seconds}
    _said(f"{cut}: bridge as shipped", *outage(folder / "a", **long, autosave=False))
    _said(tuned, *outage(folder / "b", **long, autosave=True))
    ours = [_said("  the box", *our_outage(folder / "c", **long))]
    _said(f"{n} kills: bridge as shipped", *kills(folder / "d", n=n, rate=rate, seed=seed, autosave=False))
    _said(tuned, *kills(folder / "e", n=n, rate=rate, seed=seed, autosave=True))
    ours.append(_said("  the box", *our_kills(folder / "f", n=n, rate=rate, seed=seed)))
    return min(ours) == 1.0


def _said(what: str, committed: int, survived: int) -> float:
    share = survived / max(1, committed)
    print(f"{what:58} {committed:10,} {survived:9,} {share:7.1%}", flush=True)
    return share
