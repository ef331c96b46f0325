"""`dsr-train evaluate`, verification: is this pair one person?

The same pictures go through our network, the peer and dlib's embedder, with 95 % intervals:

- **lfw**: 6,000 pairs, ten folds; TAR at FAR 1e-2 and 1e-3 over those pairs (3,000 negatives: 1e-3 is
  three pairs) and over all cross pairs. CelebA has no names, so that some LFW people are among the
  training people is not excluded.
- **pairs**: development people of CelebA, for choices, clean and degraded.

`miners`, `open_set`, `closed` and `tables` have the other questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dsr_inception import metrics
from dsr_inception.crops import LEVELS, aligned_crops, degraded_crops
from dsr_inception.datasets import lfw_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dsr_inception.datasets import Photo, PhotoSet, Splits
    from dsr_inception.embedders import Embedder
    from dsr_inception.report import Report

    Vectors = npt.NDArray[np.float32]

FARS: Final = (1e-2, 1e-3)
CHUNK: Final = 256


def embed_aligned(photos: PhotoSet, files: Sequence[Photo | str], embedder: Embedder) -> Vectors:
    """Return the vectors of aligned photos, a few hundred crops at a time."""
    parts = [embedder.embed(aligned_crops(photos, files[i : i + CHUNK])) for i in range(0, len(files), CHUNK)]
    return np.concatenate(parts)


def evaluate_lfw(report: Report, photos: PhotoSet, embedders: Sequence[Embedder]) -> None:
    """Enter LFW view 2 for every recogniser."""
    pairs, same, folds = lfw_pairs(photos)
    files = sorted({name for pair in pairs for name in pair})
    place = {name: i for i, name in enumerate(files)}
    people = np.array([name.split("/")[0] for name in files])
    left, right = (np.array([place[pair[side]] for pair in pairs]) for side in (0, 1))
    report.note("lfw", pairs=len(pairs), pictures=len(files), people=len(set(people)))
    for embedder in embedders:
        vectors = embed_aligned(photos, files, embedder)
        scores = (vectors[left] * vectors[right]).sum(axis=1)
        report.add("lfw", embedder.name, "accuracy, 10 folds", metrics.fold_accuracy(scores, same, folds))
        for far in FARS:
            share = metrics.true_accepts(scores, same, far)
            report.add("lfw", embedder.name, f"TAR at FAR {far:g}, the pairs", share)
        every, one = metrics.all_pairs(vectors, people)
        for far in (*FARS, 1e-4):
            share = metrics.true_accepts(every, one, far)
            report.add("lfw", embedder.name, f"TAR at FAR {far:g}, all cross pairs", share)
        report.curves.setdefault("lfw", {})[embedder.name] = metrics.roc(every, one)


def evaluate_development(
    report: Report, photos: PhotoSet, splits: Splits, embedders: Sequence[Embedder], *, seed: int = 0
) -> None:
    """Enter all pairs of the CelebA development people: clean, and clean against each condition."""
    chosen = [p for p in photos.photos if p.person in splits.celeba_development]
    people = np.array([p.person for p in chosen])
    crops = aligned_crops(photos, chosen)
    rows, columns = np.nonzero(~np.eye(len(people), dtype=bool))
    same = people[rows] == people[columns]
    for embedder in embedders:
        clean = embedder.embed(crops)
        for condition in (*LEVELS, "dark_dust"):
            seen = embedder.embed(degraded_crops(crops, condition, seed=seed))
            scores = (clean @ seen.T)[rows, columns]
            for far in FARS:
                share = metrics.true_accepts(scores, same, far)
                report.add("pairs", embedder.name, f"{condition}, TAR at FAR {far:g}", share)
