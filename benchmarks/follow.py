"""From which score on may a detection begin a track, from which continue one? Counted on clips with a truth.

Over five seconds in every thirty of each shot of a folder that ``dsr-field make`` made, the detector is asked
once for everything down to the weakest; then the box's tracker takes from it what each rule lets through. A
face (``--min-px`` wide, at most .3 hidden) is missed if no face with a track covers it (an overlap of .3); a
face with a track that covers nobody is false. Run as::

    dsr-field make --scenario field_test/scenarios/development.yaml --out out/development --people development
    python -m benchmarks.follow out/development --shots cone gaps row glare empty

With ``--dust models/dustface.json`` the dust detector looks as well, and its own two scores are varied beside
the box's rule for CenterFace.
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
from edge_app.faces.dustface import DustFace
from edge_app.faces.pair import CENTERFACE_SCALE, Scale, combine
from edge_app.faces.track import Tracker, TrackLimits
from field_test import assets
from field_test.scenario import LEVELS
from field_test.score import match
from field_test.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_app.faces.detect import Detector
    from edge_app.records import Face
    from field_test.truth import Clip, FrameTruth, Truth

#: Scores from which on a track begins, and goes on; the first was the rule before there were two.
RULES: Final = tuple(
    Scale(*rule) for rule in ((0.5, 0.5), (0.5, 0.25), (0.5, 0.15), (0.45, 0.15), (0.4, 0.15))
)
#: The same for the dust detector beside CenterFace; from 1 on no detection of its begins a track.
DUST_RULES: Final = tuple(
    Scale(begins, follows) for follows in (0.15, 0.25, 0.35) for begins in (1.0, 0.8, 0.7, 0.6, 0.5)
)
WEAKEST: Final = min(rule.follows for rule in RULES)
DUST_WEAKEST: Final = min(rule.follows for rule in DUST_RULES)
_PERIOD_S, _WINDOW_S = 30.0, 5.0
_HIDDEN: Final = 0.3

#: The faces of a frame by CenterFace, and by the dust detector.
Detected = tuple[tuple["Face", ...], tuple["Face", ...]]
Stretch = list[tuple["FrameTruth", Detected]]
Rule = tuple[Scale, "Scale | None"]


def stretches(
    clip: Clip, truth: Truth, folder: Path, detectors: tuple[Detector, Detector | None]
) -> Iterator[Stretch]:
    """Yield the frames of each five seconds, with all that was detected in them."""
    first, second = detectors
    video, frames = cv2.VideoCapture(str(folder / clip.file)), truth.of(clip.camera)
    found: Stretch = []
    for frame in frames:
        good = video.grab()
        if frame.t % _PERIOD_S >= _WINDOW_S or not good:
            if found:
                yield found
            found = []
            continue
        pixels = np.asarray(video.retrieve()[1], np.uint8)
        found.append((frame, (first.detect(pixels), second.detect(pixels) if second else ())))
    if found:
        yield found


def count(stretch: Stretch, truth: Truth, rule: Rule, *, min_px: float) -> Counter[str]:
    """Return how many faces there were by ash, how many of each were ``missed``, and how many were false."""
    scale, dust = rule
    tracker, counted = Tracker(limits=TrackLimits(min_score_new=scale.begins)), Counter[str]()
    for frame, (faces, more) in stretch:
        both = faces if dust is None else combine(faces, more, scale=scale, second_scale=dust)
        asked = [face for face in both if face.score >= scale.follows]
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


def _table(totals: Mapping[Rule, Counter[str]]) -> str:
    """Return a row a rule: the dust detector's scores where it looked, else CenterFace's."""
    faces = next(iter(totals.values()))
    heads = " | ".join(f"{one} ({faces[one]})" for one in LEVELS)
    lines = [f"\n| begins at | continues at | {heads} | false |", "|---" * 6 + "|"]
    looked = any(dust for _, dust in totals)
    for (scale, dust), total in totals.items():
        shares = [f"{100 * total[f'{one} missed'] / max(total[one], 1):.1f} %" for one in LEVELS]
        said = dust or scale
        limits = "without | " if looked and dust is None else f"{said.begins:g} | {said.follows:g}"
        lines.append(f"| {limits} | {' | '.join(shares)} | {total['false']} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("clips", type=Path, help="a folder of `dsr-field make`")
    parser.add_argument("--shots", nargs="+", help="only these (default: all)")
    parser.add_argument("--dust", type=Path, help="manifest of a dust detector that looks as well")
    parser.add_argument("--min-px", type=float, default=40.0, help="smaller faces do not count (default: 40)")
    args = parser.parse_args(argv)
    centerface = CenterFace.open(assets.ensure_detector(), score_threshold=WEAKEST)
    dust = DustFace.open(args.dust, score_threshold=DUST_WEAKEST) if args.dust else None
    rules: list[Rule] = (
        [(CENTERFACE_SCALE, one) for one in (None, *DUST_RULES)] if dust else [(rule, None) for rule in RULES]
    )
    totals: dict[Rule, Counter[str]] = {rule: Counter() for rule in rules}
    frames = 0
    for path in sorted(args.clips.glob("*/truth.jsonl")):
        if args.shots and path.parent.name not in args.shots:
            continue
        truth = read_truth(path)
        for clip in truth.clips:
            for stretch in stretches(clip, truth, path.parent, (centerface, dust)):
                frames += len(stretch)
                for rule, total in totals.items():
                    total.update(count(stretch, truth, rule, min_px=args.min_px))
    print(f"{frames} frames\n{_table(totals)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
