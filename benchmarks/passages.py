"""How many passages of registered people a recogniser names, where one stranger's passage in 200 gets a name.

The box's detector, tracker and quality gate go over the clips of a folder that ``dsr-field make`` made; every
second usable view is embedded, and the truth says whose it is. The first twelve views of a passage are pooled
and compared with the mean of each registered person's photos. The bar is the similarity that the 200th part
of the strangers' passages reaches, so that recognisers are compared at one rate. Passages with fewer than
four views are left out. Few strangers make a rough bar: the development clips have some 160. Run as::

    dsr-field make --scenario field_test/scenarios/development.yaml --out out/development --people development
    python -m benchmarks.passages out/development --model models/dsr_inception.json
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from benchmarks.handover import views_of
from benchmarks.research import embedded, parser_for
from edge_app.embedding.recogniser import Recogniser
from edge_app.faces.detect import FOLLOW_SCORE, CenterFace
from edge_app.faces.preprocess import align
from edge_app.identity.passage import pooled
from field_test import assets
from field_test.people import read_photo
from field_test.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Vector = npt.NDArray[np.float32]

STRANGERS: Final = 1 / 200
_LEAST, _MOST = 4, 12
#: Registration photos are looked at no larger than this.
_LONGEST: Final = 900


def registered(folder: Path, detector: CenterFace, recogniser: Recogniser) -> dict[str, Vector]:
    """Return the vectors of each person's photos, (K, D), by reference; `folder` holds REF/PHOTO."""
    found = {}
    for person in sorted(folder.iterdir()):
        crops = []
        for path in sorted(person.iterdir()):
            photo = read_photo(path)
            scale = min(1.0, _LONGEST / max(photo.shape))
            small = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
            face = max(detector.detect(small), key=lambda one: one.box.area)
            crops.append(align(small, face.landmarks))
        found[person.name] = embedded(recogniser, np.stack(crops))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 0."""
    parser = parser_for(__doc__)
    parser.add_argument("clips", type=Path, help="a folder of `dsr-field make`")
    args = parser.parse_args(argv)
    detector = CenterFace.open(assets.ensure_detector(), score_threshold=FOLLOW_SCORE)
    recogniser = Recogniser.open(args.model)
    people = registered(args.clips / "registration", detector, recogniser)
    refs, templates = list(people), np.stack([pooled(list(photos)) for photos in people.values()])
    strangers: list[float] = []
    own: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for number, path in enumerate(sorted(args.clips.glob("*/truth.jsonl"))):
        truth, views = read_truth(path), defaultdict(list)
        for clip in truth.clips:
            for view in views_of(clip, truth, path.parent, number, (detector, recogniser)):
                if view.passage is not None:
                    views[view.passage].append(view.embedding.vector)
        for passage, vectors in views.items():
            if len(vectors) < _LEAST:
                continue
            scores, who = templates @ pooled(vectors[:_MOST]), truth.passages[passage]
            if who.ref is None:
                strangers.append(float(scores.max()))
            else:
                mine = refs.index(who.ref)
                own[who.ash].append((float(scores[mine]), int(scores.argmax()) == mine))
    bar = float(np.quantile(strangers, 1 - STRANGERS))
    print(f"{args.model}: {len(strangers)} passages of strangers, bar at one in 200: {bar:.3f}\n")
    print("| ash | passages | similarity, mean | named rightly at the bar |\n|---|---|---|---|")
    for ash in sorted(own):
        scores, right = (np.array(part) for part in zip(*own[ash], strict=True))
        named = 100 * float(((scores >= bar) & right).mean())
        print(f"| {ash} | {len(scores)} | {scores.mean():.3f} | {named:.1f} % |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
