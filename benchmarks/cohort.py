"""Does `people calibrate` keep its promise? Strangers' passages that get a name, by how the cohort was made.

Half of the development people of CelebA are the cohort, the other half pass by: five photos of theirs in the
dark, in dust and under ash (simulated by the calibration room, not by the cohort's own views), pooled as the
box pools them. Six development miners at a time are registered on four clean photos each. Thresholds are set
for one stranger in 200 from (a) single photos, (b) one photo each, its simulated views pooled, as
``people cohort`` does, (c) the cohort's own photos, pooled (``--by-person``); printed is what share of the
passages then gets a name, with ``--may-lower`` and without.

Run as ``python -m benchmarks.cohort``; it needs the research data, and says so without it.
"""

from __future__ import annotations

import sys
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.research import data_or_word, embedded, parser_for
from dsr_inception.crops import aligned_crops, degraded_crops, miner_crops, own_ash
from dsr_inception.datasets import PhotoSet, Splits, miner_photos
from edge_app.embedding.recogniser import Recogniser
from edge_app.faces.detect import CenterFace
from edge_app.faces.preprocess import PREPROCESS_SHA256
from edge_app.identity.calibration import calibrate
from edge_app.identity.passage import pooled, views_of_photo
from edge_app.identity.snapshot import GallerySnapshot

if TYPE_CHECKING:
    from pathlib import Path

    from dsr_inception.datasets import Photo
    from edge_app.faces.detect import Detector

    Vectors = np.typing.NDArray[np.float32]

FAR: Final = 5e-3
REGISTERED: Final = 6
ENROLLED: Final = 4
CONDITIONS: Final = ("clean", "light", "heavy", "dark_dust", "light")
MOST: Final = 5


def people_photos(photos: PhotoSet, splits: Splits) -> tuple[list[list[Photo]], list[list[Photo]]]:
    """Return the photos of the cohort's people and of those who pass by."""
    everybody = photos.by_person()
    own = [everybody[who][:MOST] for who in sorted(splits.celeba_development) if who in everybody]
    return own[::2], own[1::2]


def cohorts(recogniser: Recogniser, photos: PhotoSet, people: list[list[Photo]]) -> dict[str, Vectors]:
    """Return the cohort in each of the three ways, (M, D)."""
    single, simulated, real = [], [], []
    for number, own in enumerate(people):
        crops = aligned_crops(photos, own)
        vectors = embedded(recogniser, crops)
        single.append(vectors[0])
        simulated.append(pooled(embedded(recogniser, views_of_photo(crops[0], seed=number))))
        real.append(pooled(vectors))
    return {
        "single photos": np.stack(single),
        "simulated views, pooled": np.stack(simulated),
        "own photos, pooled": np.stack(real),
    }


def passages(recogniser: Recogniser, photos: PhotoSet, people: list[list[Photo]]) -> Vectors:
    """Return each person's passage: their photos, each in another condition, pooled."""
    found = []
    for number, own in enumerate(people):
        crops = aligned_crops(photos, own)
        seen = [
            degraded_crops(crop[None], condition, seed=number)[0]
            for crop, condition in zip(crops, CONDITIONS, strict=False)
        ]
        found.append(pooled(embedded(recogniser, np.stack(seen))))
    return np.stack(found)


def registers(
    recogniser: Recogniser, detector: Detector, data: Path, splits: Splits
) -> list[GallerySnapshot]:
    """Return a register for every six of the development miners."""
    photos = PhotoSet(data, "mf_photos")
    chosen = [photo for photo in miner_photos(photos) if photo.person in splits.mf_development]
    vectors = embedded(recogniser, miner_crops(photos, chosen, detector, own_ash)["clean"].crops)
    people = np.array([photo.person for photo in chosen])
    made = []
    for six in combinations(np.unique(people), REGISTERED):
        rows = np.concatenate([np.flatnonzero(people == who)[:ENROLLED] for who in six])
        owners = np.repeat(np.arange(REGISTERED), ENROLLED).astype(np.intp)
        model = recogniser.model_sha256
        made.append(
            GallerySnapshot("b", 1, tuple(map(str, six)), vectors[rows], owners, model, PREPROCESS_SHA256)
        )
    return made


def named(
    snapshot: GallerySnapshot, cohort: Vectors, strangers: Vectors, *, floor: float = -1.0
) -> tuple[float, float]:
    """Return the common threshold and the share of `strangers` who get a name by everybody's own."""
    found = calibrate(snapshot, cohort, far=FAR, floor=floor)
    starts = np.searchsorted(snapshot.owners, np.arange(len(snapshot.refs)))
    sums = np.add.reduceat(snapshot.vectors, starts, axis=0)
    templates = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    bars = np.array([found.people[ref] for ref in snapshot.refs])
    return found.threshold, float(((strangers @ templates.T) >= bars).any(axis=1).mean())


def main() -> int:
    """Print the table; returns 0."""
    args, data = parser_for(__doc__).parse_args(), data_or_word()
    if data is None:
        return 0
    recogniser, splits = Recogniser.open(args.model), Splits.load(data)
    photos = PhotoSet(data, "celeba_train")
    inside, outside = people_photos(photos, splits)
    strangers = passages(recogniser, photos, outside)
    made = registers(recogniser, CenterFace.open(args.detector), data, splits)
    print(
        f"{len(inside)} strangers in the cohort, {len(strangers)} pass by, {len(made)} registers of"
        f" {REGISTERED}; model {recogniser.model_sha256[:12]} on {recogniser.backend}; asked for {FAR:.1%}"
    )
    for way, cohort in cohorts(recogniser, photos, inside).items():
        results = np.array([named(snapshot, cohort, strangers) for snapshot in made])
        floored = [named(one, cohort, strangers, floor=recogniser.threshold)[1] for one in made]
        print(
            f"{way:26} threshold {results[:, 0].mean():.3f}  passages named {results[:, 1].mean():.2%}"
            f"  (never below the model's own {recogniser.threshold:.3f}: {np.mean(floored):.2%})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
