"""A clock that says 1970, and one that says 2031: for the box's whole process, TLS library included."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.authority import Authority
from benchmarks.chaos.scene import BROKER, Scene
from benchmarks.chaos.table import not_done
from benchmarks.rig import Watcher, wait_until

if TYPE_CHECKING:
    from benchmarks.chaos.table import Row

_HERE: Final = Path(__file__).resolve().parent
_RATE: Final = 100.0
_2031: Final = 1_922_000_000


def in_1970(folder: Path) -> Row:
    """The broker's certificate is "not yet valid"; events have no time until a fix dates them."""
    return _wrong(folder, "clock of 1970, set right later (TLS)", to=10_000)


def in_2031(folder: Path) -> Row:
    """The broker's certificate has "expired"; the times of events are corrected by a fix."""
    return _wrong(folder, "clock of 2031, set right later (TLS)", to=_2031)


def _wrong(folder: Path, fault: str, *, to: int) -> Row:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or shutil.which("openssl") is None:
        return not_done(fault, "there is no C compiler, or no openssl program")
    shelf = folder.with_suffix(".tls")
    shelf.mkdir()
    library, clock = shelf / "clock.so", shelf / "clock"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_HERE / "wrong_clock.c"), "-ldl"],
        check=True,
    )
    authority = Authority(shelf, "mine")
    cert, key = authority.issue("broker")
    scene = Scene(folder, broker=())
    # One listener for the box, with TLS, and one for who counts.
    scene.broker.stop()
    scene.broker.configure(
        (*BROKER, f"listener {scene.tls_port} 127.0.0.1", f"certfile {cert}", f"keyfile {key}")
    )
    scene.broker.start()
    if scene.watcher is not None:
        scene.watcher.close()
    scene.watcher = Watcher(scene.broker.port, topic="mine/+/v1/+/evt/#", persistent=True)
    shift = to - int(time.time())
    clock.write_text(str(shift), encoding="ascii")
    words = ("--ca", str(authority.cert), "--check-dates", "when_synchronised")
    scene.start_box(
        _RATE,
        extra=words,
        environment={"LD_PRELOAD": str(library), "CLOCK_FILE": str(clock)},
        port=scene.tls_port,
    )
    wait_until(lambda: len(scene.events()) > 100, timeout=30, what="events in spite of the clock")  # noqa: PLR2004 - some
    early = [event["wall_ms"] for event in scene.events()]
    clock.write_text("0", encoding="ascii")
    now_ms = time.time() * 1000
    wait_until(lambda: any(_fixes(e, now_ms) for e in scene.events()), timeout=30, what="a time_fix")
    time.sleep(1)
    late = scene.events()[-1]["wall_ms"]
    wrong = all(one is None or abs(one / 1000 - to) < 600 for one in early)  # noqa: PLR2004 - ten minutes
    right = late is not None and abs(late - time.time() * 1000) < 60_000  # noqa: PLR2004 - a minute
    row = scene.finish(
        fault, times=1, note="(connected as the operator chose; dated by time_fix)", drain=True
    )
    return dataclasses.replace(row, failed=not (wrong and right))


def _fixes(event: dict[str, object], now_ms: float) -> bool:
    """Return whether this is a `time_fix` by which the event's own monotonic time is about now."""
    if event["kind"] != "time_fix":
        return False
    mono, offset = event["mono_ns"], event["offset_ms"]
    return isinstance(mono, int) and isinstance(offset, int) and abs(mono / 1e6 + offset - now_ms) < 60_000  # noqa: PLR2004 - a minute
