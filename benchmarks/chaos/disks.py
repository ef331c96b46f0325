"""What a disk can do: be full, and give back other bytes than were written."""

from __future__ import annotations

import random
import subprocess
import time
from typing import TYPE_CHECKING, Final

from benchmarks.chaos.scene import Scene
from benchmarks.chaos.table import not_done

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.chaos.table import Row

_RATE: Final = 400.0
_DISK_MB: Final = 24
_PAGE: Final = 4096


def full(folder: Path) -> Row:
    """The outbox's disk is filled by somebody else while there is no link; later there is room again."""
    fault = "disk full"
    disk = folder.with_suffix(".disk")
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(disk)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        return not_done(fault, f"no disk of our own: {done.stderr.strip()[:60]} (needs root)")
    try:
        scene = Scene(folder)
        scene.outbox = disk / "box.db"
        scene.proxy.refuse = True
        scene.start_box(_RATE)
        time.sleep(3)
        _fill(disk / "somebody-else")
        time.sleep(6)
        (disk / "somebody-else").unlink()
        time.sleep(3)
        scene.proxy.refuse = False
        return scene.finish(fault, times=1)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def _fill(path: Path) -> None:
    """Write until the disk takes nothing more."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 65536):
                pass
        except OSError:
            return


def corrupt(folder: Path, *, seed: int) -> Row:
    """Pages of a backlog are overwritten while the box is down: set aside, salvaged, the loss reported."""
    rng = random.Random(seed)  # noqa: S311 - a seed makes it repeatable
    scene = Scene(folder, receipts=True)
    scene.proxy.refuse = True
    times = 4
    for _ in range(times):
        box = scene.start_box(_RATE)
        time.sleep(2)
        box.stop()
        _scribble(scene.outbox, rng)
    scene.proxy.refuse = False
    scene.start_box(0)
    time.sleep(2)
    return scene.finish("pages of the file overwritten", times=times)


def _scribble(path: Path, rng: random.Random) -> None:
    """Overwrite a page in fifty, never the first two (without them nothing could be known to be missing)."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        for page in range(2, size // _PAGE):
            if rng.random() < 0.02:  # noqa: PLR2004 - one in fifty
                file.seek(page * _PAGE)
                file.write(rng.randbytes(_PAGE))
