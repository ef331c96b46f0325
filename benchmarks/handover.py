"""When is a track somebody else's? Similarities within and across people, and what a bar cuts, on clips.

The box's detector, tracker, quality gate and recogniser go over the clips of a folder that ``dsr-field make``
made; every second usable view of a track is embedded, and the truth says whose it is. Then
`edge_app.identity.handover` cuts the tracks at several bars. A view is *in a wrong track* when its track, as
cut, began with somebody else; a *needless* cut parts views of one person. Run as::

    dsr-field make --scenario field_test/scenarios/development.yaml --out out/development --people development
    python -m benchmarks.handover out/development
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np

from edge_app.embedding.recogniser import Recogniser
from edge_app.faces.detect import FOLLOW_SCORE, CenterFace
from edge_app.faces.stage import FaceStage
from edge_app.faces.track import Tracker
from edge_app.identity.handover import LEAST, Handovers, Likeness, Views
from edge_app.records import Frame
from field_test import assets
from field_test.score import match
from field_test.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_app.faces.detect import Detector
    from edge_app.records import Embedding, FrameFaces
    from field_test.truth import Clip, Truth

#: Cosines below which a view is strange, and how many in a row are somebody else.
BARS: Final = tuple((strange, views) for views in (1, 2, 3) for strange in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3))
_EVERY: Final = 2


class View(NamedTuple):
    """A view of a track, and the passage that it shows; None where it shows nobody."""

    clip: int
    track: str
    passage: int | None
    embedding: Embedding
    weight: float


def frames_of(
    clip: Clip, truth: Truth, folder: Path, detector: Detector
) -> Iterator[tuple[FrameFaces, dict[int, int]]]:
    """Yield each frame of a clip as the box sees it, and whose passages its faces show, by their place."""
    stage, video = FaceStage(detector=detector, tracker=Tracker()), cv2.VideoCapture(str(folder / clip.file))
    for said in truth.of(clip.camera):
        good, pixels = video.read()
        if not good:
            return
        frame = Frame(clip.camera, said.index, round(said.t * 1e9), np.asarray(pixels, np.uint8))
        found = stage.process(frame)
        boxes = [face.face.box for face in found.faces]
        matched = match(said.faces, [{"box": (b.x, b.y, b.width, b.height)} for b in boxes])
        yield found, {place: said.faces[face].passage for face, place in matched.items()}


def views_of(
    clip: Clip, truth: Truth, folder: Path, number: int, parts: tuple[CenterFace, Recogniser]
) -> Iterator[View]:
    """Yield every second usable view of each track of a clip."""
    detector, recogniser = parts
    looked: dict[str, int] = {}
    for found, shown in frames_of(clip, truth, folder, detector):
        wanted = []
        for place, face in enumerate(found.faces):
            if face.crop is None:
                continue
            looked[face.track] = looked.get(face.track, -1) + 1
            if looked[face.track] % _EVERY == 0:
                wanted.append(place)
        if not wanted:
            continue
        vectors = recogniser.embed(np.stack([found.faces[place].crop for place in wanted]))
        for place, vector in zip(wanted, vectors, strict=True):
            face = found.faces[place]
            yield View(number, face.track, shown.get(place), vector, face.quality.score)


def cut(views: Sequence[View], strange: float, in_a_row: int) -> tuple[int, int, int]:
    """Return views in a wrong track, cuts, and needless ones, at a bar; no view is cut at -1."""
    handovers = Handovers(strange=strange, views=in_a_row)
    names: dict[tuple[int, str], str] = {}
    began: dict[tuple[int, str], int] = {}
    last: dict[tuple[int, str], int | None] = {}
    wrong = cuts = needless = 0
    for view in views:
        key = (view.clip, view.track)
        name = names.setdefault(key, view.track)
        likeness, now = handovers.view(str(view.clip), name, view.embedding, view.weight)
        if likeness is Likeness.OTHER:
            cuts += 1
            needless += last.get(key) is not None and last[key] == view.passage
            names[key] = now
        if likeness is not Likeness.STRANGE and view.passage is not None:
            last[key] = view.passage
            wrong += began.setdefault((view.clip, names[key]), view.passage) != view.passage
    return wrong, cuts, needless


def similarities(views: Sequence[View]) -> tuple[list[float], list[float]]:
    """Return how alike each view is to its track's earlier ones: of the same passage, and of another."""
    same, other = [], []
    known: dict[tuple[int, str], defaultdict[int, Views]] = {}
    for view in views:
        if view.passage is None:
            continue
        of = known.setdefault((view.clip, view.track), defaultdict(Views))
        for passage, before in of.items():
            if before.number >= LEAST:
                alike = before.likeness(view.embedding.vector)
                (same if passage == view.passage else other).append(alike)
        of[view.passage].add(view.embedding.vector, view.weight)
    return same, other


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("clips", type=Path, help="a folder of `dsr-field make`")
    args = parser.parse_args(argv)
    parts = (
        CenterFace.open(assets.ensure_detector(), score_threshold=FOLLOW_SCORE),
        Recogniser.open(assets.ROOT / "models" / "dsr_inception.json"),
    )
    found: list[View] = []
    for number, path in enumerate(sorted(args.clips.glob("*/truth.jsonl"))):
        truth = read_truth(path)
        for clip in truth.clips:
            found += views_of(clip, truth, path.parent, number, parts)
    shown = [view for view in found if view.passage is not None]
    print(f"{len(found)} views, {len(shown)} of a known person")
    for label, values in zip(("the same person", "another person"), similarities(found), strict=True):
        marks = np.quantile(values, [0.01, 0.05, 0.5, 0.95]) if values else []
        print(f"{label}: {len(values)}, cosine to the views before at .01 .05 .5 .95:", np.round(marks, 2))
    print("\n| below | in a row | views in a wrong track | cuts | needless |\n|---|---|---|---|---|")
    for strange, views in ((-1.0, 1), *BARS):
        wrong, cuts, needless = cut(found, strange, views)
        print(f"| {strange:g} | {views} | {100 * wrong / len(shown):.1f} % | {cuts} | {needless} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
