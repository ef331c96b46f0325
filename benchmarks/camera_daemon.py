"""Every fault of a camera through the whole box: how soon is it told, and what does the muster say?

``python -m benchmarks.camera_daemon`` runs the real daemon, outbox and way to a real mosquitto, with a camera
for each fault of `benchmarks.camera_health` and one that stays well. Each shows a simulated tunnel of its
own, one picture a second: clean, then the fault, then clean again. The clock is the pictures', so the
seconds are those of the tunnel, not of the machine. A subscriber to the broker notes when the fault is told
(as an event: a blind camera, or an alarm), by which name, since when the musters say that the camera is
blind, and when the end is told.

Seconds count from the first bad picture, and from the first good one after it. Exit status 1 if a fault is
told later than the bar or by a wrong name, if a muster's "blind since" is more than two seconds from the last
good picture or changes while the camera is blind, if the well camera is told of, or if an end is not told.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.camera_health import AFTER_S, BAR_S, CLEAN_S, FAULT_S, FAULTS, Fault, Footage
from benchmarks.rig import Mosquitto, Watcher, wait_until
from edge_app import log
from edge_app.config import load_config
from edge_app.daemon import Daemon
from edge_app.health.notify import Notifier
from field_test import assets
from field_test.clipclock import ClipClock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from edge_app.capture.spec import SourceSpec

_S: Final = 1_000_000_000
#: What a camera that has no fault is called, and how far a time may be off: pictures come once a second.
WELL: Final = "none"
_NEAR_S: Final = 2.0
#: Real seconds between two pictures: the camera's watcher looks five times a second, by the machine's clock.
_PACE_S: Final = 0.25
_SEED: Final = 50


@dataclass(frozen=True, slots=True)
class Course:
    """How many seconds (pictures) each camera is clean, faulty, and clean again; the box's patience."""

    clean: int = CLEAN_S
    faulty: int = FAULT_S
    after: int = AFTER_S
    blind_after_s: float = 10.0

    @property
    def seconds(self) -> int:
        """All of them."""
        return self.clean + self.faulty + self.after


@dataclass(slots=True)
class Told:
    """What came out of the box about one camera; seconds, None for what never came.

    `blind_since` are the times that musters gave, against the last good picture.
    """

    after_s: float | None = None
    called: str | None = None
    over_s: float | None = None
    blind: bool = False
    blind_since: set[float] = field(default_factory=set)
    too_early: int = 0

    def good(self, fault: Fault | None) -> bool:
        """Return whether all of it is as it should be."""
        if fault is None:
            return self.after_s is None and not self.too_early and not self.blind_since
        named = self.after_s is not None and self.after_s <= BAR_S and self.called in {*fault.named}
        known = len(self.blind_since) == 1 and all(abs(one) <= _NEAR_S for one in self.blind_since)
        return named and self.over_s is not None and not self.too_early and (known or not self.blind)


class FaultySource:
    """A camera whose `fault` comes and goes, a picture a second of the clips' clock."""

    def __init__(self, camera: str, fault: Fault | None, clock: ClipClock, course: Course, seed: int) -> None:
        self._camera, self._fault, self._clock, self._course = camera, fault, clock, course
        self._footage = Footage(seed)
        self._still = self._footage.picture(course.clean)
        self.position = 0

    def read(self) -> npt.NDArray[np.uint8] | None:
        """Return the next second's picture, None at the end."""
        if not self._clock.expects(self._camera):
            self._clock.ended(self._camera)
            return None
        picture = self._picture(self.position)
        time.sleep(_PACE_S)
        self._clock.frame(self._camera)
        self.position += 1
        return picture

    def _picture(self, second: int) -> npt.NDArray[np.uint8]:
        begins = self._course.clean
        fault = self._fault if begins <= second < begins + self._course.faulty else None
        if fault is None:
            return self._footage.picture(second)
        if fault.still:
            return self._still
        light = self._footage.light(second, lamp_out=fault.lamp_out)
        return self._footage.picture(second, fault.light(light) if fault.light else light)

    def close(self) -> None:
        """Do nothing."""


def run_faults(
    folder: Path, faults: Mapping[str, Fault | None], *, course: Course, port: int, detector: Path
) -> dict[str, Told]:
    """Run one box with a camera for each of `faults`; return what a subscriber at `port` got of each."""
    cameras = {f"cam-{number}": name for number, name in enumerate(faults)}
    config = load_config(_config(folder, cameras, course, port, detector))
    clock = ClipClock({camera: [float(second) for second in range(course.seconds)] for camera in cameras})
    sources = {
        f"/dev/video{number}": FaultySource(camera, faults[name], clock, course, _SEED + number)
        for number, (camera, name) in enumerate(cameras.items())
    }

    def opener(spec: SourceSpec) -> FaultySource:
        return sources[spec.location]

    watcher = Watcher(port)
    try:
        Daemon(config, clock=clock, notify=Notifier.from_environment(), opener=opener).run()
        wait_until(lambda: _ended(watcher.events()), timeout=60, what="the end")
        told = told_of(watcher.events(), base_ns=clock.base_ns or 0, course=course)
    finally:
        watcher.close()
    return {name: told[camera] for camera, name in cameras.items()}


def _ended(events: Sequence[Mapping[str, Any]]) -> bool:
    return any(one["kind"] == "box_stop" for one in events)


def _config(folder: Path, cameras: Mapping[str, str], course: Course, port: int, detector: Path) -> Path:
    document = {
        "box": {"site": "bench", "node": "box-01"},
        "cameras": [
            {
                "name": one,
                "zone": one,
                "blind_after_s": course.blind_after_s,
                "source": {"kind": "v4l2", "device": f"/dev/video{number}"},
            }
            for number, one in enumerate(cameras)
        ],
        "detector": {"model": str(detector), "dust_model": None, "long_side": 64},  # nobody is looked for
        "recogniser": {"model": str(assets.ROOT / "models" / "dsr_inception.json")},
        "presence": {"muster_every_s": 2.0},
        "delivery": {"brokers": [{"host": "127.0.0.1", "port": port}]},
    }
    path = folder / "box.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return path


def told_of(events: Sequence[Mapping[str, Any]], *, base_ns: int, course: Course) -> dict[str, Told]:
    """Return what the events say of each camera."""
    found: defaultdict[str, Told] = defaultdict(Told)
    for body in sorted(events, key=lambda one: int(one["seq"])):
        at = (body["mono_ns"] - base_ns) / _S - course.clean
        if body["kind"] == "muster" and at >= 0:
            for state in body["cameras"]:
                if "blind_since_ns" in state:
                    last_good = base_ns + (course.clean - 1) * _S
                    since = (state["blind_since_ns"] - last_good) / _S
                    found[state["camera"]].blind_since.add(round(since, 1))
        alarm = body.get("alarm", {})
        if not str(alarm.get("id", "")).startswith("camera_"):
            continue
        one = found[body["camera"]]
        if at < 0:  # before its first picture a camera is blind indeed
            one.too_early += alarm["state"] == "active" and at >= -course.clean
        elif alarm["state"] == "active" and at < course.faulty and one.after_s is None:
            one.after_s, one.called = round(at, 1), str(body["reason"]).removeprefix("camera_")
            one.blind = body["kind"] == "camera_blind"
        elif alarm["state"] == "cleared" and at >= course.faulty:
            one.over_s = round(at - course.faulty, 1)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a bar is missed."""
    argparse.ArgumentParser(description=str(__doc__).splitlines()[0]).parse_args(argv)
    log.configure(level="error")
    faults: dict[str, Fault | None] = {**FAULTS, WELL: None}
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(Path(folder)).start()
        try:
            told = run_faults(
                Path(folder), faults, course=Course(), port=broker.port, detector=assets.ensure_detector()
            )
        finally:
            broker.stop()
    print(
        "| fault | told after (s) | as | blind since, after the last good picture (s) | end told after (s) |"
    )
    print("|---" * 5 + "|")
    for name, one in told.items():
        since = ", ".join(f"{s:+.1f}" for s in sorted(one.blind_since)) if one.blind else "sees"
        cells = ["-" if v is None else str(v) for v in (one.after_s, one.called, since, one.over_s)]
        print(f"| {name} | {' | '.join(cells)} |{'' if one.good(faults[name]) else ' MISSED'}")
    return 0 if all(one.good(faults[name]) for name, one in told.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
