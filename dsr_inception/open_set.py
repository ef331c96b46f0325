"""`dsr-train evaluate --only open`: six are registered on six poses each, strangers pass by.

A probe of the pose left out misses when no registered person, or the wrong one, is similar enough. The bar
is set, for each register and set of strangers, where one stranger in 1,000 is let in; beside it the same at
the threshold that stands in the model's manifest, with the strangers it lets in. The six are drawn again
twenty times; intervals come from a bootstrap over people. ``template`` compares with the unit mean of a
person's six vectors, ``nearest`` with the most similar of them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from dsr_inception import metrics
from dsr_inception.celeba import celeba_photos
from dsr_inception.crops import LEVELS
from dsr_inception.datasets import POSES, PhotoSet, lfw_pairs
from dsr_inception.evaluation import embed_aligned
from dsr_inception.miners import POOLINGS, MinerVectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dsr_inception.datasets import Splits
    from dsr_inception.embedders import Embedder
    from dsr_inception.report import Report

    Vectors = npt.NDArray[np.float32]

DRAWS: Final = 20
REGISTERED: Final = 6
FALSE_ACCEPTS: Final = 1e-3
ADULT: Final = 18


@dataclass(slots=True)
class Tally:
    """Hits by level, whose they are, and the share of strangers let in, over all registers."""

    hits: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    owners: list[str] = field(default_factory=list)
    let_in: list[float] = field(default_factory=list)


def evaluate_open_set(
    report: Report,
    by_name: Mapping[str, MinerVectors],
    strangers: Mapping[str, Mapping[str, Vectors]],
    *,
    threshold: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> None:
    """Enter misses at one false accept per 1,000: `strangers` is vectors by set and recogniser.

    `threshold` is the manifest's: of the first recogniser, with nobody else's scale.
    """
    ours = next(iter(by_name))
    for who, vectors in by_name.items():
        for kind, sets in strangers.items():
            for pooling in POOLINGS:
                tally = _tally(vectors, sets[who], pooling, None, draws, seed)
                _enter(report, who, f"strangers {kind}, {pooling}", tally)
            if threshold is not None and who == ours:
                tally = _tally(vectors, sets[who], POOLINGS[0], threshold, draws, seed)
                _enter(report, who, f"strangers {kind}, template, at the threshold", tally)
                share = metrics.mean_of_runs(np.array(tally.let_in))
                report.add("open", who, f"let in, strangers {kind}, template, at the threshold", share)
    report.note("open", registered=REGISTERED, draws=draws, false_accepts=FALSE_ACCEPTS)
    for kind, sets in strangers.items():
        report.note("open", **{f"strangers {kind}": len(sets[ours])})


def _enter(report: Report, who: str, name: str, tally: Tally) -> None:
    for level in LEVELS:
        missed = ~np.array(tally.hits[level])
        share = metrics.by_people(missed, np.array(tally.owners))
        report.add("open", who, f"misses, {level}, {name}", share)


def _tally(  # noqa: PLR0917 -- one call, in reading order
    vectors: MinerVectors,
    strangers: Vectors,
    pooling: str,
    threshold: float | None,
    draws: int,
    seed: int,
) -> Tally:
    people, poses, rng, tally = vectors.people, vectors.poses, np.random.default_rng(seed), Tally()
    names = np.unique(people)
    for _ in range(draws):
        six = rng.choice(names, min(REGISTERED, len(names)), replace=False)
        members = np.isin(people, six)
        for pose in POSES:
            _one_register(vectors, strangers, (members, poses == pose), (pooling, threshold), tally)
            tally.owners += people[members & (poses == pose)].tolist()
    return tally


def _one_register(
    vectors: MinerVectors,
    strangers: Vectors,
    who: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
    how: tuple[str, float | None],
    tally: Tally,
) -> None:
    """Register the members (`who[0]`) on clean photos without the probe pose (`who[1]`), and score it."""
    (members, probe), (pooling, threshold) = who, how
    gallery = members & ~probe
    names, owner = np.unique(vectors.people[gallery], return_inverse=True)
    order = np.argsort(owner, kind="stable")
    registered, owners = vectors.by_level[LEVELS[0]][gallery][order], owner[order]
    score = metrics.template_scores if pooling == POOLINGS[0] else metrics.person_scores
    theirs = score(strangers, registered, owners).max(axis=1)
    at = metrics.threshold_at(theirs, FALSE_ACCEPTS) if threshold is None else threshold
    tally.let_in.append(float((theirs >= at).mean()))
    for level in LEVELS:
        scores = score(vectors.by_level[level][members & probe], registered, owners)
        right = names[scores.argmax(axis=1)] == vectors.people[members & probe]
        tally.hits[level] += (right & (scores.max(axis=1) >= at)).tolist()


def stranger_vectors(
    folder: Path, splits: Splits, embedders: Sequence[Embedder]
) -> dict[str, dict[str, Vectors]]:
    """Return the impostors' vectors by set: the strangers (all, adults), LFW people, CelebA development.

    One photo a person, all photos of the CelebA people (300 alone cannot show one in 1,000).
    """
    asian, lfw, celeba = PhotoSet(folder, "strangers"), PhotoSet(folder, "lfw_pairs"), celeba_photos(folder)
    files = [p.file for p in asian.photos]
    adult = np.array([int(f.split("A")[1][:2]) >= ADULT for f in files])
    pairs = sorted({name for pair in lfw_pairs(lfw)[0] for name in pair})
    _, first = np.unique([name.split("/")[0] for name in pairs], return_index=True)
    others = [p.file for p in celeba.photos if p.person in splits.celeba_development]
    found: dict[str, dict[str, Vectors]] = defaultdict(dict)
    for e in embedders:
        found["asian"][e.name] = embed_aligned(asian, files, e)
        found["asian adults"][e.name] = found["asian"][e.name][adult]
        found["lfw"][e.name] = embed_aligned(lfw, pairs, e)[first]
        found["celeba development"][e.name] = embed_aligned(celeba, others, e)
    return found
