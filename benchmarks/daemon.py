"""The whole box as a process: frames a second, memory, start-up, and events on a real broker.

``python3 run.py bench daemon`` plays a clip with two faces at 640x360 to the real daemon, every frame,
and a second time in real time. With the research data the clip is a real one (Intel's sample video of
two people); without them it is made of two public photos. Needs mosquitto.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import yaml

from benchmarks.rig import Mosquitto, Watcher, mosquitto_path, wait_until
from field_test import assets

ROOT: Final = Path(__file__).resolve().parents[1]
SIZE: Final = (640, 360)
REPEATS: Final = 5
RUNS: Final = 3
_REAL: Final = Path("clips") / "head-pose-face-detection-female-and-male.gif"
_NS: Final = 1e9


@dataclass(frozen=True)
class Run:
    """What one run of the daemon measured."""

    fps: float
    peak_mb: float
    first_decision_s: float
    events: int
    waiting: int
    slowest_s: float


def main() -> int:
    """Measure, print each figure beside its bar; 0 when all hold."""
    if mosquitto_path() is None:
        print("mosquitto is not installed: nothing measured")
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip, what = two_face_clip(folder)
        print(f"clip: {what}; {RUNS} runs, every frame, then in real time; medians")
        fast = [measure(folder / f"fast{n}", clip, pace="every_frame") for n in range(RUNS)]
        live = [measure(folder / f"live{n}", clip, pace="realtime") for n in range(RUNS)]
    everything = [*fast, *live]
    return max(
        bar("frames a second, two faces", median([run.fps for run in fast]), 10.0, at_least=True),
        bar("peak memory, MB", max(run.peak_mb for run in everything), 400.0),
        bar("start to first decision on the broker, s", median([run.first_decision_s for run in live]), 4.0),
        bar("slowest event, decided to arrived, s", max(run.slowest_s for run in everything), 1.0),
        bar("events committed and not arrived", sum(run.waiting for run in everything), 0.0),
    )


def bar(what: str, value: float, limit: float, *, at_least: bool = False) -> int:
    """Print one line; 0 when the bar holds."""
    holds = value >= limit if at_least else value <= limit
    sign = ">=" if at_least else "<="
    print(f"{'ok  ' if holds else 'MISS'}  {what:<42} {value:8.2f}   bar {sign} {limit:g}")
    return 0 if holds else 1


def median(values: list[float]) -> float:
    """Return the middle value."""
    return float(np.median(values))


def two_face_clip(folder: Path) -> tuple[Path, str]:
    """Write a 640x360 clip with two faces at 12.5 frames a second; return it and what it is."""
    data = Path(os.environ.get("DSR_DATA", ROOT.parent / "shared" / "data"))
    real = data / _REAL
    frames = _frames_of(real) if real.is_file() else frames_of_photos()
    path = folder / "two.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, SIZE)
    for _ in range(REPEATS):
        for frame in frames:
            writer.write(cv2.resize(frame, SIZE, interpolation=cv2.INTER_LINEAR))
    writer.release()
    name = real.name if real.is_file() else "two public photos side by side"
    return path, f"{name}, {REPEATS * len(frames)} frames"


def _frames_of(path: Path) -> list[np.ndarray]:
    video = cv2.VideoCapture(str(path))
    frames = []
    while True:
        read, frame = video.read()
        if not read:
            return frames
        frames.append(frame)


def frames_of_photos() -> list[np.ndarray]:
    """Return 56 frames, (360, 640, 3) uint8 BGR, of two people side by side who sway a little."""
    photos = [cv2.imread(str(assets.CACHE / "assets" / name)) for name in ("obama.jpg", "biden.jpg")]
    tiles = [cv2.resize(photo, (320, 360), interpolation=cv2.INTER_AREA) for photo in photos]
    return [np.hstack([np.roll(tile, shift % 7, axis=1) for tile in tiles]) for shift in range(56)]


def measure(folder: Path, clip: Path, *, pace: str) -> Run:
    """Run the daemon once on `clip` and return what it did."""
    folder.mkdir()
    broker = Mosquitto(folder).start()
    watcher = Watcher(broker.port)
    command = [sys.executable, "-m", "edge_app.cli.main"]
    config = folder / "box.yaml"
    config.write_text(yaml.safe_dump(_config(clip, pace, broker.port)), encoding="utf-8")
    try:
        began = time.monotonic()
        with (folder / "log.jsonl").open("w", encoding="utf-8") as log:
            daemon = subprocess.Popen([*command, "run", "--config", str(config)], cwd=ROOT, stderr=log)
            peak_mb = 0.0
            while daemon.poll() is None:
                peak_mb = max(peak_mb, _peak_mb(daemon.pid))
                time.sleep(0.05)
        wait_until(lambda: any(e["kind"] == "box_stop" for e in watcher.events()), what="box_stop")
        status = subprocess.run(
            [*command, "outbox", "status", "--json", "--config", str(config)],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        watcher.close()
        broker.stop()
    return _run(folder, watcher, began, peak_mb, json.loads(status.stdout))


def _run(folder: Path, watcher: Watcher, began: float, peak_mb: float, status: dict[str, Any]) -> Run:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    marks = {line["event"]: line["mono_ms"] / 1000 for line in lines}
    frames = next(line["frames"] for line in lines if line["event"] == "camera_ended")
    arrivals = [arrival for arrival in watcher.arrivals if "/evt/" in arrival.topic]
    decided = [arrival for arrival in arrivals if arrival.event["kind"] == "sighting"]
    shift = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    late = [
        arrival.at + shift - arrival.event["mono_ns"] / _NS - arrival.event.get("latency_ms", 0) / 1000
        for arrival in arrivals
    ]
    return Run(
        fps=frames / (marks["camera_ended"] - marks["camera_opened"]),
        peak_mb=peak_mb,
        first_decision_s=decided[0].at - began,
        events=len(arrivals),
        waiting=sum(status["waiting"].values()),
        slowest_s=max(late),
    )


def _config(clip: Path, pace: str, port: int) -> dict[str, Any]:
    source = {"kind": "file", "path": str(clip), "pace": pace}
    return {
        "box": {"site": "bench", "node": "box"},
        "cameras": [{"name": "cam", "zone": "z1", "source": source}],
        "detector": assets.detector_section(),
        "recogniser": {"model": str(ROOT / "models" / "dsr_inception.json")},
        "delivery": {"brokers": [{"host": "127.0.0.1", "port": port}]},
    }


def _peak_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    kilobytes = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(kilobytes[0]) / 1024 if kilobytes else 0.0


if __name__ == "__main__":
    sys.exit(main())
