"""What a broker can do: refuse a kind, say "later", allow one message at a time, throw the box out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from benchmarks.chaos.scene import BROKER, Scene
from benchmarks.rig import Watcher

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.chaos.table import Row

_RATE: Final = 200.0


def refuses(folder: Path) -> Row:
    """Sightings are denied for a while: set aside with the reason, then all go, in order."""
    denied = folder.with_suffix(".acl")
    denied.write_text("topic deny mine/north/v1/box-1/evt/sighting\ntopic readwrite #\n", encoding="ascii")
    scene = Scene(folder, receipts=True, broker=(*BROKER, f"acl_file {denied}", "allow_anonymous true"))
    scene.start_box(_RATE)
    time.sleep(4)
    scene.broker.stop()
    scene.broker.configure(BROKER)
    scene.broker.start()
    time.sleep(2)
    return scene.finish("broker denies one kind, then allows it", times=1)


def says_later(folder: Path) -> Row:
    """Every 50th acknowledgement says "quota exceeded": tried again after a pause, nothing lost."""
    scene = Scene(folder)
    scene.proxy.say_later = 50
    scene.start_box(_RATE)
    time.sleep(8)
    scene.proxy.say_later = 0
    return scene.finish("broker says quota exceeded", times=scene.proxy.refusals)


def throttles(folder: Path) -> Row:
    """One message at a time (Receive Maximum 1), over a slow link: slower than events come."""
    scene = Scene(folder, broker=("max_queued_messages 100000", "max_inflight_messages 1"))
    scene.proxy.delay_s = 0.005
    scene.start_box(_RATE)
    time.sleep(6)
    scene.proxy.delay_s = 0.0
    return scene.finish("broker throttles (Receive Maximum 1)", times=1)


def throws_out(folder: Path) -> Row:
    """Another client with the box's id takes its connection over, again and again."""
    scene = Scene(folder, receipts=True)
    scene.start_box(_RATE)
    times = 8
    for _ in range(times):
        time.sleep(1)
        rival = Watcher(scene.broker.port, client_id="dsr-north-box-1", topic="nothing")
        rival.close()
    return scene.finish("broker disconnects (client id taken over)", times=times)
