"""Camera to decision's doorstep: what each stage of a frame takes, and how many frames a second that makes.

The budget: two faces at 640x360 on two x86 cores, 10 frames/s. The frames are a real clip with two
people where the research data is (``DSR_DATA``), otherwise the public astronaut twice. Detector and
recogniser run as in the daemon: one thread a session, in two threads side by side; *whole* is the
sum for one frame in one thread, *pipelined* what two threads really reach.

Run as ``OMP_NUM_THREADS=1 python benchmarks/vision.py``; exit status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import queue
import resource
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from edge_app.capture.pixels import read_picture
from edge_app.capture.sources import open_source
from edge_app.capture.spec import SourceSpec
from edge_app.embedding.recogniser import Recogniser
from edge_app.faces.detect import CenterFace, YuNet
from edge_app.faces.quality import assess
from edge_app.faces.stage import FaceStage, align_or_none
from edge_app.faces.track import Tracker
from edge_app.records import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from edge_app.faces.detect import Detector

    Pixels = npt.NDArray[np.uint8]

ROOT: Final = Path(__file__).resolve().parent.parent
CLIP: Final = "head-pose-face-detection-female-and-male.gif"
#: The budget's frame, width and height; the clip is enlarged to it.
SIZE: Final = (640, 360)
BAR_FPS: Final = 10.0
BAR_EMBED_MS: Final = 25.0
BAR_RSS_MB: Final = 400.0
_STEP_NS: Final = 80_000_000


def data_folder() -> Path | None:
    """Return the research data's folder, None where there is none."""
    folder = Path(os.environ.get("DSR_DATA", ROOT.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


def frames_with_two_faces(data: Path | None) -> tuple[list[Pixels], str]:
    """Return 640x360 frames with two faces, and in words what they are."""
    if data is not None:
        source = open_source(SourceSpec(kind="file", location=str(data / "clips" / CLIP), pace="every_frame"))
        clip = []
        while (pixels := source.read()) is not None:
            clip.append(np.asarray(cv2.resize(pixels, SIZE, interpolation=cv2.INTER_LINEAR), np.uint8))
        source.close()
        return clip, f"clip {CLIP}"
    face = read_picture(ROOT / ".cache" / "assets" / "astronaut.png")[20:276, 130:320]
    face = np.asarray(cv2.resize(face, (143, 192), interpolation=cv2.INTER_AREA), np.uint8)
    frames = []
    for index in range(40):
        frame = np.full((360, 640, 3), 60, np.uint8)
        for left, top in ((20 + 3 * index, 20), (470 - 3 * index, 150)):
            frame[top : top + 192, left : left + 143] = face
        frames.append(frame)
    return frames, "the public astronaut twice"


@dataclass(frozen=True)
class Taken:
    """Milliseconds of one stage: as they passed, and of the processor (which other load disturbs less)."""

    wall: float
    processor: float

    def plus(self, other: Taken, times: int) -> Taken:
        """Return this and `times` the other together."""
        return Taken(self.wall + times * other.wall, self.processor + times * other.processor)


def median_ms(action: Callable[[Pixels], object], items: Sequence[Pixels], *, rounds: int) -> Taken:
    """Return the median times of `action` over `items`, after one warm-up."""
    action(items[0])
    wall, processor = [], []
    for item in (item for _ in range(rounds) for item in items):
        began, worked = time.perf_counter_ns(), time.thread_time_ns()
        action(item)
        processor.append((time.thread_time_ns() - worked) / 1e6)
        wall.append((time.perf_counter_ns() - began) / 1e6)
    return Taken(wall=statistics.median(wall), processor=statistics.median(processor))


def as_frames(pictures: Sequence[Pixels]) -> list[Frame]:
    """Return the pictures as the frames of one camera at 12.5 frames/s."""
    return [
        Frame(camera="bench", index=index, mono_ns=index * _STEP_NS, pixels=pixels)
        for index, pixels in enumerate(pictures)
    ]


def pipelined_fps(detector: Detector, recogniser: Recogniser | None, pictures: Sequence[Pixels]) -> float:
    """Return the frames a second of two threads, detection and recognition, every face of every frame."""
    between: queue.Queue[npt.NDArray[np.uint8] | None] = queue.Queue(maxsize=1)

    def recognise() -> None:
        while (crops := between.get()) is not None:
            if recogniser is not None and len(crops):
                recogniser.embed(crops)

    stage = FaceStage(detector=detector, tracker=Tracker())
    worker = threading.Thread(target=recognise, name="recognise")
    worker.start()
    began = time.perf_counter()
    for frame in as_frames(pictures):
        crops = [face.crop for face in stage.process(frame).faces if face.crop is not None]
        between.put(np.stack(crops) if crops else np.zeros((0, 224, 224, 3), np.uint8))
    between.put(None)
    worker.join()
    return len(pictures) / (time.perf_counter() - began)


def rows_of(
    detector: Detector, recogniser: Recogniser | None, pictures: Sequence[Pixels], *, rounds: int
) -> dict[str, Taken]:
    """Return the times of each stage; one face where a stage works face by face."""
    face = detector.detect(pictures[0])[0]
    crop = align_or_none(pictures[0], face)
    if crop is None:
        msg = "the first frame's face has no crop"
        raise RuntimeError(msg)
    stage = FaceStage(detector=detector, tracker=Tracker())
    frames = iter(as_frames(list(pictures) * (rounds + 1)))
    rows = {
        "detect": median_ms(detector.detect, pictures, rounds=rounds),
        "align, a face": median_ms(lambda pixels: align_or_none(pixels, face), pictures, rounds=rounds),
        "quality, a face": median_ms(lambda pixels: assess(pixels, face, crop), pictures, rounds=rounds),
        "faces stage": median_ms(lambda _: stage.process(next(frames)), pictures, rounds=rounds),
    }
    if recogniser is not None:
        rows["embed, a face"] = median_ms(
            lambda _: recogniser.embed(crop[None]), pictures, rounds=max(rounds // 2, 1)
        )
        rows["whole, two faces"] = rows["faces stage"].plus(rows["embed, a face"], 2)
    return rows


def report(name: str, detector: Detector, recogniser: Recogniser | None, *, rounds: int) -> bool:
    """Print one detector's table; returns whether the bars are met."""
    pictures, what = frames_with_two_faces(data_folder())
    found = [len(detector.detect(pixels)) for pixels in pictures]
    height, width = pictures[0].shape[:2]
    print(f"\n{name} ({detector.backend}), {what}, {width}x{height}, {np.mean(found):.2f} faces a frame")
    if recogniser is not None:
        print(f"recogniser: {recogniser.backend}, a face and its mirror image together")
    rows = rows_of(detector, recogniser, pictures, rounds=rounds)
    for stage, taken in rows.items():
        bar = f"  bar {BAR_EMBED_MS:.0f}" if stage.startswith("embed") else ""
        print(f"  {stage:<20}{taken.wall:8.2f} ms{taken.processor:8.2f} ms of processor{bar}")
    fps = pipelined_fps(detector, recogniser, list(pictures) * rounds)
    met = fps >= BAR_FPS
    if recogniser is not None:
        slower = max(rows["faces stage"].processor, 2 * rows["embed, a face"].processor)
        print(f"  {'idle cores would do':<20}{1000 / slower:8.1f} frames/s, from processor time")
    what = "pipelined" if recogniser is not None else "faces only"
    print(f"  {what:<20}{fps:8.1f} frames/s  bar {BAR_FPS:.0f}  {'met' if met else 'MISSED'}")
    return met


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--detector", type=Path, default=ROOT / ".cache" / "models" / "centerface.json")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "dsr_inception.json")
    parser.add_argument("--rounds", type=int, default=3, help="passes through the clip")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    recogniser = Recogniser.open(args.model) if args.model.is_file() else None
    if recogniser is None:
        print(f"no recogniser at {args.model}: embedding is NOT measured, and its bar is not judged")
    met = report("CenterFace", CenterFace.open(args.detector), recogniser, rounds=args.rounds)
    data = data_folder()
    yunet = data / "models" / "face_detection_yunet_2023mar.onnx" if data else None
    if yunet is not None and yunet.is_file():
        report("YuNet", YuNet(yunet), recogniser, rounds=args.rounds)
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nmost memory of this process: {rss_mb:.0f} MB  bar {BAR_RSS_MB:.0f}")
    print(f"load of this machine while measuring: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0 if met and rss_mb <= BAR_RSS_MB else 1


if __name__ == "__main__":
    sys.exit(main())
