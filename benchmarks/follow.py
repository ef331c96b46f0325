"""From which score on may a detection begin a track, from which continue one? Counted on clips with a truth.

Over five seconds in every thirty of each shot of a folder that ``dsr-field make`` made, the detector is asked
once for everything down to the weakest; then the box's tracker takes from it what each rule lets through. A
face (``--min-px`` wide, at most .3 hidden) is missed if no face with a track covers it (an overlap of .3); a
face with a track that covers nobody is false. Run as::

    dsr-field make --scenario field_test/scenarios/development.yaml --out out/development --people development
    python -m benchmarks.follow out/development --shots cone gaps row glare empty
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from edge_app.faces.detect import CenterFace
from edge_app.faces.track import Tracker, TrackLimits
from field_test import assets
from field_test.scenario import LEVELS
from field_test.score import match
from field_test.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_app.faces.detect import Detector
    from edge_app.records import Face
    from field_test.truth import Clip, FrameTruth, Truth

#: Scores from which on a track begins, and goes on; the first was the rule before there were two.
RULES: Final = ((0.5, 0.5), (0.5, 0.25), (0.5, 0.15), (0.45, 0.15), (0.4, 0.15))
WEAKEST: Final = min(follow for _, follow in RULES)
_PERIOD_S, _WINDOW_S = 30.0, 5.0
_HIDDEN: Final = 0.3

Stretch = list[tuple["FrameTruth", tuple["Face", ...]]]


def stretches(clip: Clip, truth: Truth, folder: Path, detector: Detector) -> Iterator[Stretch]:
    """Yield the frames of each five seconds, with all that was detected in them."""
    video, frames = cv2.VideoCapture(str(folder / clip.file)), truth.of(clip.camera)
    found: Stretch = []
    for frame in frames:
        good = video.grab()
        if frame.t % _PERIOD_S >= _WINDOW_S or not good:
            if found:
                yield found
            found = []
            continue
        _, pixels = video.retrieve()
        found.append((frame, detector.detect(np.asarray(pixels, np.uint8))))
    if found:
        yield found


def count(stretch: Stretch, truth: Truth, rule: tuple[float, float], *, min_px: float) -> Counter[str]:
    """Return how many faces there were by ash, how many of each were ``missed``, and how many were false."""
    begins, goes_on = rule
    tracker, counted = Tracker(limits=TrackLimits(min_score_new=begins)), Counter[str]()
    for frame, faces in stretch:
        asked = [face for face in faces if face.score >= goes_on]
        ids = tracker.update(asked, round(frame.t * 1e9)).ids
        boxes = [face.box for face, track in zip(asked, ids, strict=True) if track is not None]
        seen = [{"box": (box.x, box.y, box.width, box.height)} for box in boxes]
        matched = match(frame.faces, seen)
        counted["false"] += len(seen) - len(matched)
        for number, face in enumerate(frame.faces):
            if min(face.box[2:]) >= min_px and face.hidden <= _HIDDEN:
                ash = truth.passages[face.passage].ash
                counted[ash] += 1
                counted[f"{ash} missed"] += number not in matched
    return counted


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("clips", type=Path, help="a folder of `dsr-field make`")
    parser.add_argument("--shots", nargs="+", help="only these (default: all)")
    parser.add_argument("--min-px", type=float, default=40.0, help="smaller faces do not count (default: 40)")
    args = parser.parse_args(argv)
    detector = CenterFace.open(assets.ensure_detector(), score_threshold=WEAKEST)
    totals: dict[tuple[float, float], Counter[str]] = {rule: Counter() for rule in RULES}
    frames = 0
    for path in sorted(args.clips.glob("*/truth.jsonl")):
        if args.shots and path.parent.name not in args.shots:
            continue
        truth = read_truth(path)
        for clip in truth.clips:
            for stretch in stretches(clip, truth, path.parent, detector):
                frames += len(stretch)
                for rule, total in totals.items():
                    total.update(count(stretch, truth, rule, min_px=args.min_px))
    faces = next(iter(totals.values()))
    print(f"{frames} frames\n")
    print(f"| begins at | continues at | {' | '.join(f'{one} ({faces[one]})' for one in LEVELS)} | false |")
    print("|---" * 6 + "|")
    for (begins, goes_on), total in totals.items():
        shares = [f"{100 * total[f'{one} missed'] / max(total[one], 1):.1f} %" for one in LEVELS]
        print(f"| {begins:g} | {goes_on:g} | {' | '.join(shares)} | {total['false']} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
