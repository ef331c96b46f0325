"""What a link can do: break in the middle of a packet, look alive, lose answers, vanish without a word."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Final

from benchmarks.chaos.scene import Scene
from benchmarks.chaos.table import not_done

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.chaos.table import Row

_RATE: Final = 200.0
_TIMES: Final = 3


def cut_in_packets(folder: Path) -> Row:
    """Every connection is closed after 20,000 bytes, in the middle of a packet."""
    scene = Scene(folder)
    scene.proxy.cut_after = 20_000
    scene.start_box(_RATE)
    time.sleep(6)
    scene.proxy.cut_after = None
    return scene.finish("link cut in the middle of packets", times=scene.proxy.cuts)


def half_open(folder: Path) -> Row:
    """Nothing passes, and nobody is told: longer than the box waits for a PUBACK."""
    scene = Scene(folder, receipts=True)
    scene.start_box(_RATE)
    for _ in range(_TIMES):
        time.sleep(1)
        scene.proxy.stalled = True
        time.sleep(4)
        scene.proxy.cut()
        scene.proxy.stalled = False
    return scene.finish("half-open connection", times=_TIMES)


def pubacks_withheld(folder: Path) -> Row:
    """The broker gets everything and its answers get lost."""
    scene = Scene(folder)
    scene.start_box(_RATE)
    for _ in range(_TIMES):
        time.sleep(1)
        scene.proxy.swallow_down = True
        time.sleep(4)
        scene.proxy.cut()
        scene.proxy.swallow_down = False
    return scene.finish("PUBACKs withheld", times=_TIMES)


def receipts_withheld(folder: Path) -> Row:
    """The consumer stands still for longer than the box waits for a receipt."""
    scene = Scene(folder, receipts=True)
    scene.start_box(_RATE)
    for _ in range(_TIMES):
        time.sleep(1)
        if scene.surface is not None:
            scene.surface.pause()
            time.sleep(4)
            scene.surface.resume()
    return scene.finish("receipts withheld", times=_TIMES)


def namespace(folder: Path) -> Row:
    """The box in a network namespace of its own, whose only cable is pulled and put in again."""
    fault = "cable pulled (network namespace)"
    if why_not := _no_namespace():
        return not_done(fault, why_not)
    name = f"dsr{os.getpid()}"
    ours, theirs = f"a{name}"[:15], f"b{name}"[:15]
    scene = Scene(folder, receipts=True, everywhere=True)
    try:
        for words in (
            f"netns add {name}",
            f"link add {ours} type veth peer name {theirs}",
            f"link set {theirs} netns {name}",
            f"addr add 10.255.254.1/30 dev {ours}",
            f"link set {ours} up",
            f"-n {name} addr add 10.255.254.2/30 dev {theirs}",
            f"-n {name} link set {theirs} up",
            f"-n {name} link set lo up",
        ):
            _ip(words)
        scene.start_box(
            _RATE,
            extra=("--host", "10.255.254.1"),
            before=("ip", "netns", "exec", name),
            port=scene.broker.port,
        )
        for _ in range(_TIMES):
            time.sleep(1.5)
            _ip(f"link set {ours} down")
            time.sleep(4)
            _ip(f"link set {ours} up")
        time.sleep(3)
        return scene.finish(fault, times=_TIMES)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _no_namespace() -> str:
    """Return why this machine allows no network namespace, empty if it does."""
    if shutil.which("ip") is None:
        return "there is no ip program (apt-get install iproute2)"
    probe = f"dsrprobe{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", probe], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        return f"no network namespace: {done.stderr.strip()[:60]} (needs root)"
    pair = subprocess.run(
        ["ip", "-n", probe, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"],
        check=False,
        capture_output=True,
        text=True,
    )
    _ip(f"netns del {probe}")
    return "" if pair.returncode == 0 else f"no veth pair: {pair.stderr.strip()[:60]}"


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)
