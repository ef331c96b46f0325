"""The box under test: the real daemon, on clips that bring their own time, with a trace of what it saw.

It is a process of its own, as the daemon is: every stage, every thread, the outbox and the way to the
broker are the box's own. Only two things are put in: the clock of the clips (`field_test.clipclock`), and
a watcher that writes down, for each frame, the faces that the box found with their tracks and what it
said about them at that moment. Watching costs the daemon one line of JSON a frame.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import cv2

from edge_app import log
from edge_app.config import load_config
from edge_app.daemon import Daemon
from edge_app.errors import DsrError
from edge_app.health.notify import Notifier
from field_test.clipclock import ClipClock, ClipSource
from field_test.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_app.capture.spec import SourceSpec
    from edge_app.config import Config
    from edge_app.records import FrameFaces, Identity, TrackedFace
    from field_test.truth import Truth


class Trace:
    """Writes one line a frame: camera, index, and each face with track, box and the standing decision."""

    def __init__(self, out: IO[str], clock: ClipClock) -> None:
        self._out, self._clock = out, clock

    def __call__(self, faces: FrameFaces, identities: Mapping[str, Identity]) -> None:
        """Append a frame."""
        frame = faces.frame
        row = {
            "camera": frame.camera,
            "index": frame.index,
            "t": round((frame.mono_ns - (self._clock.base_ns or 0)) / 1e9, 4),
            "faces": [_face(face, identities.get(face.track)) for face in faces.faces],
        }
        self._out.write(json.dumps(row, separators=(",", ":")) + "\n")


def _face(face: TrackedFace, identity: Identity | None) -> dict[str, Any]:
    box, rejection = face.face.box, face.quality.rejection
    return {
        "track": face.track,
        "box": [round(value, 1) for value in (box.x, box.y, box.width, box.height)],
        "score": round(face.face.score, 3),
        "rejected": None if rejection is None else rejection.value,
        "decision": None if identity is None else identity.decision.value,
        "ref": None if identity is None else identity.person_ref,
        "similarity": None if identity is None or identity.score is None else round(identity.score, 4),
        "votes": 0 if identity is None else identity.votes,
    }


def times_of(truth: Truth, folder: Path) -> dict[str, list[float]]:
    """Return each camera's frame times in seconds: those of the truth, or by the rate where it has gaps."""
    times = {}
    for clip in truth.clips:
        frames = truth.of(clip.camera)
        if [frame.index for frame in frames] == list(range(len(frames))) and frames:
            times[clip.camera] = [frame.t for frame in frames]
        else:
            count = int(cv2.VideoCapture(str(folder / clip.file)).get(cv2.CAP_PROP_FRAME_COUNT))
            times[clip.camera] = [index / clip.fps for index in range(count)]
    return times


def run(config: Config, truth: Truth, folder: Path, trace: Path, *, jump: tuple[float, float] | None) -> int:
    """Run the daemon over a shot's clips and write the trace; returns its exit status.

    Raises:
        DsrError: what the daemon cannot work without failed.
    """
    clock = ClipClock(times_of(truth, folder), jump=jump)
    cameras = {
        str(camera.source.path): camera.name for camera in config.cameras if hasattr(camera.source, "path")
    }

    def opener(spec: SourceSpec) -> ClipSource:
        return ClipSource(spec, camera=cameras[spec.location], clock=clock)

    with trace.open("w", encoding="utf-8") as out:
        daemon = Daemon(
            config, clock=clock, notify=Notifier.from_environment(), watch=Trace(out, clock), opener=opener
        )
        status = daemon.run()
        out.write(json.dumps({"end": True, "base_ns": clock.base_ns}) + "\n")
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Run one box; returns the daemon's exit status."""
    parser = argparse.ArgumentParser(description="The daemon over one shot's clips, with a trace.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--shot", type=Path, required=True, help="folder with truth.jsonl and the clips")
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--clock-jump", type=float, nargs=2, metavar=("AT_S", "BY_S"))
    args = parser.parse_args(argv)
    log.configure(level="info", json=True)
    jump = None if args.clock_jump is None else (args.clock_jump[0], args.clock_jump[1])
    try:
        config = load_config(args.config)
        return run(config, read_truth(args.shot / "truth.jsonl"), args.shot, args.trace, jump=jump)
    except DsrError as error:
        print(f"box: {error}", file=sys.stderr)
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main())
