"""`dsr-train evaluate --only mf`: who is this miner, under none, light and heavy *simulated* ash?

- **front only**: registered on the clean front photo; all other pictures are probes.
- **leave-pose-out**: registered on the clean photos of the other poses.
- **leave-level-out**: registered on the pictures of the two other levels, poses alike or, harder, other
  poses only. With simulated ash the same photo stands in two levels, so the first is easy.

``template`` compares with the unit mean of a person's registered vectors; ``nearest`` with the
most similar single picture. Poses are scored on real poses only, by the template.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dsr_inception import metrics
from dsr_inception.crops import LEVELS, MinerCrops, miner_crops
from dsr_inception.datasets import POSES, MinerPhoto, PhotoSet, miner_photos

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dsr_inception.crops import Ash
    from dsr_inception.embedders import Embedder
    from dsr_inception.report import Report
    from edge_app.faces.detect import Detector

    Bools = npt.NDArray[np.bool_]
    Vectors = npt.NDArray[np.float32]

#: How a probe is compared with a person: the unit mean of their vectors, or their most similar picture.
POOLINGS: Final = ("template", "nearest")


@dataclass(frozen=True, slots=True)
class MinerVectors:
    """The vectors of the miner-face set by ash level, (N, D), N as in `photos`."""

    photos: tuple[MinerPhoto, ...]
    by_level: dict[str, Vectors]

    @property
    def people(self) -> npt.NDArray[np.str_]:
        """Whose each photo is, (N,)."""
        return np.array([p.person for p in self.photos])

    @property
    def poses(self) -> npt.NDArray[np.str_]:
        """The pose of each photo, (N,)."""
        return np.array([p.pose for p in self.photos])

    @property
    def real(self) -> Bools:
        """Whether the photo shows its pose, or the nearest one stands in, (N,)."""
        return np.array([p.real_pose for p in self.photos])


@dataclass(frozen=True, slots=True)
class MinerSet:
    """The photos of some miners and their crops by ash level."""

    photos: tuple[MinerPhoto, ...]
    crops: Mapping[str, MinerCrops]

    def vectors(self, embedder: Embedder) -> MinerVectors:
        """Return the set as `embedder` sees it."""
        return MinerVectors(self.photos, {k: embedder.embed(v.crops) for k, v in self.crops.items()})


def miner_set(
    photos: PhotoSet,
    people: frozenset[str],
    detector: Detector,
    ash: Ash,
    *,
    cache: Path | None = None,
) -> MinerSet:
    """Return `people`'s photos and crops; with a `cache` file, .npz, crops are made once.

    Whoever changes detector or ash gives another `cache`.
    """
    chosen = tuple(p for p in miner_photos(photos) if p.person in people)
    if cache is not None and cache.is_file():
        with np.load(cache) as kept:
            return MinerSet(chosen, {k: MinerCrops(kept[k], kept[f"{k} found"]) for k in LEVELS})
    crops = miner_crops(photos, chosen, detector, ash)
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        arrays = {k: v.crops for k, v in crops.items()} | {f"{k} found": v.found for k, v in crops.items()}
        np.savez(cache, **arrays)  # type: ignore[arg-type]
    return MinerSet(chosen, crops)


def _scores(probes: Vectors, gallery: Vectors, people: npt.NDArray[np.str_], pooling: str) -> Vectors:
    """Return the similarity of `probes` to everybody in the gallery, (N, P), P in order of the names."""
    _, owner = np.unique(people, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    score = metrics.template_scores if pooling == POOLINGS[0] else metrics.person_scores
    return np.asarray(score(probes, gallery[order], owner[order]), np.float32)


def leave_pose_out(
    vectors: MinerVectors, level: str, *, pooling: str, enrolled: Sequence[str] = LEVELS[:1]
) -> Bools:
    """Return for each photo at `level` whether the nearest person, registered on the *other* poses, is right.

    `enrolled` are the levels that people are registered in: clean alone, or for leave-level-out the others.
    """
    people, poses = vectors.people, vectors.poses
    names, right = np.unique(people), np.zeros(len(people), bool)
    for pose in np.unique(poses):
        probe, gallery = poses == pose, poses != pose
        registered = np.concatenate([vectors.by_level[k][gallery] for k in enrolled])
        owners = np.tile(people[gallery], len(enrolled))
        scores = _scores(vectors.by_level[level][probe], registered, owners, pooling)
        right[probe] = names[scores.argmax(axis=1)] == people[probe]
    return right


def leave_level_out(vectors: MinerVectors, level: str, *, pooling: str) -> Bools:
    """Return for each photo at `level` if the nearest person, registered at the other levels, is right."""
    others = [k for k in LEVELS if k != level]
    registered = np.concatenate([vectors.by_level[k] for k in others])
    owners = np.tile(vectors.people, len(others))
    scores = _scores(vectors.by_level[level], registered, owners, pooling)
    return np.asarray(np.unique(owners)[scores.argmax(axis=1)] == vectors.people, bool)


def front_only(vectors: MinerVectors, level: str) -> Bools:
    """Return for each photo that is not the registered one whether the nearest front photo is right."""
    people, poses = vectors.people, vectors.poses
    front = poses == POSES[0]
    probe = ~front if level == LEVELS[0] else np.ones(len(people), bool)
    scores = vectors.by_level[level][probe] @ vectors.by_level[LEVELS[0]][front].T
    return np.asarray(people[front][scores.argmax(axis=1)] == people[probe], bool)


def evaluate_miners(report: Report, section: str, miners: MinerSet, embedders: Sequence[Embedder]) -> None:
    """Enter rank-1 on the miner-face set under `section`."""
    found = {level: round(float(crops.found.mean()), 4) for level, crops in miners.crops.items()}
    people = len({p.person for p in miners.photos})
    report.note(section, people=people, photos=len(miners.photos), faces_found=found)
    for embedder in embedders:
        enter_rank_one(report, section, embedder.name, miners.vectors(embedder))


def enter_rank_one(report: Report, section: str, who: str, vectors: MinerVectors) -> None:
    """Enter one recogniser's rank-1 figures."""
    people = vectors.people
    for level in LEVELS:
        for pooling in POOLINGS:
            right = leave_pose_out(vectors, level, pooling=pooling)
            report.add(section, who, f"{level}, leave-pose-out, {pooling}", metrics.by_people(right, people))
        keep = people if level != LEVELS[0] else people[vectors.poses != POSES[0]]
        share = metrics.by_people(front_only(vectors, level), keep)
        report.add(section, who, f"{level}, front only", share)
    for level in LEVELS:
        others = [k for k in LEVELS if k != level]
        for name, right in (
            ("leave-level-out, same photos", leave_level_out(vectors, level, pooling="template")),
            (
                "leave-level-out, other poses",
                leave_pose_out(vectors, level, pooling="template", enrolled=others),
            ),
        ):
            report.add(section, who, f"{level}, {name}", metrics.by_people(right, people))
    for level in LEVELS:
        _per_pose(report, section, who, vectors, level)


def _per_pose(report: Report, section: str, who: str, vectors: MinerVectors, level: str) -> None:
    right = leave_pose_out(vectors, level, pooling="template")
    groups: dict[str, list[bool]] = defaultdict(list)
    for hit, pose, is_real in zip(right, vectors.poses, vectors.real, strict=True):
        if is_real:
            groups[pose.replace("_m", "_").replace("_p", "_")].append(bool(hit))
    for pose, hits in sorted(groups.items()):
        report.add(section, who, f"{level}, pose {pose} (real)", metrics.wilson(sum(hits), len(hits)))
