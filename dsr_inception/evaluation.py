"""`dsr-train evaluate`: the same pictures through our network, the peer and dlib's embedder.

Four questions, each answered for every recogniser side by side and with 95 % intervals:

- **lfw**: is this pair one person? 6,000 pairs, ten folds; TAR at FAR 1e-2 and 1e-3 over those pairs
  (3,000 negatives: 1e-3 is three pairs) and over all cross pairs. CelebA has no names, so that some LFW
  people are among the training people is not excluded.
- **mf**: who is this, under none, light and heavy *simulated* ash? Leave-pose-out (registered on the
  clean photos of the other poses) and registered on the front photo alone; per pose on real poses only.
- **open**: six registered on six poses each, strangers pass by: misses at one false accept per 1,000.
- **pairs**: development people of CelebA, for choices, clean and degraded.

Every recogniser sees a crop and its mirror image, as the box does (`embedders.Mirrored`), unless ``--single``
is asked for.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dsr_inception import metrics
from dsr_inception.crops import LEVELS, aligned_crops, degraded_crops, miner_crops
from dsr_inception.datasets import POSES, MinerPhoto, PhotoSet, lfw_pairs, miner_photos

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dsr_inception.crops import Ash
    from dsr_inception.datasets import Splits
    from dsr_inception.embedders import Embedder
    from edge_app.faces.detect import Detector

    Vectors = npt.NDArray[np.float32]

FARS: Final = (1e-2, 1e-3)
CHUNK: Final = 256
DRAWS: Final = 20
REGISTERED: Final = 6
FALSE_ACCEPTS: Final = 1e-3
ADULT: Final = 18


@dataclass(slots=True)
class Report:
    """Figures by section, recogniser and name; `notes` say what they stand on."""

    figures: dict[str, dict[str, dict[str, metrics.Share]]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def add(self, section: str, recogniser: str, name: str, share: metrics.Share) -> None:
        """Enter one figure."""
        self.figures.setdefault(section, {}).setdefault(recogniser, {})[name] = share

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        plain = {
            section: {who: {name: asdict(share) for name, share in rows.items()} for who, rows in by.items()}
            for section, by in self.figures.items()
        }
        return {"figures": plain, "notes": self.notes}

    def table(self) -> str:
        """Return one Markdown table a section, recognisers side by side."""
        lines: list[str] = []
        for section, by in self.figures.items():
            who = list(by)
            names = list(dict.fromkeys(name for rows in by.values() for name in rows))
            lines += [
                f"\n### {section}\n",
                f"| {section} | {' | '.join(who)} |",
                "|---" * (len(who) + 1) + "|",
            ]
            for name in names:
                cells = (str(by[w][name]) if name in by[w] else "-" for w in who)
                lines.append(f"| {name} | {' | '.join(cells)} |")
        return "\n".join(lines)


def embed_aligned(photos: PhotoSet, files: Sequence[str], embedder: Embedder) -> Vectors:
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
    report.notes["lfw"] = {"pairs": len(pairs), "pictures": len(files)}
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


def miner_vectors(  # noqa: PLR0917 -- one call, in reading order
    report: Report,
    photos: PhotoSet,
    people: frozenset[str],
    detector: Detector,
    ash: Ash,
    embedders: Sequence[Embedder],
) -> dict[str, MinerVectors]:
    """Return each recogniser's vectors of `people`'s miner-face photos, and note the detection shares."""
    chosen = tuple(p for p in miner_photos(photos) if p.person in people)
    crops = miner_crops(photos, chosen, detector, ash)
    report.notes.setdefault("mf", {})["faces found"] = {k: float(v.found.mean()) for k, v in crops.items()}
    report.notes["mf"]["people"] = len({p.person for p in chosen})
    return {
        e.name: MinerVectors(chosen, {level: e.embed(found.crops) for level, found in crops.items()})
        for e in embedders
    }


def leave_pose_out(vectors: MinerVectors, level: str, *, pooling: str) -> npt.NDArray[np.bool_]:
    """Return for each photo whether the nearest person, registered clean on the *other* poses, is right.

    `pooling` is ``max`` (best photo) or ``mean`` (mean vector of the registered photos).
    """
    people, poses = vectors.people, vectors.poses
    names = np.unique(people)
    clean, seen = vectors.by_level[LEVELS[0]], vectors.by_level[level]
    right = np.zeros(len(people), bool)
    for pose in np.unique(poses):
        probe, gallery = poses == pose, poses != pose
        scores = np.stack([_pooled(seen[probe], clean[gallery & (people == n)], pooling) for n in names], 1)
        right[probe] = names[scores.argmax(axis=1)] == people[probe]
    return right


def front_only(vectors: MinerVectors, level: str) -> npt.NDArray[np.bool_]:
    """Return for each photo that is not the registered one whether the nearest front photo is right."""
    people, poses = vectors.people, vectors.poses
    front = poses == POSES[0]
    probe = ~front if level == LEVELS[0] else np.ones(len(people), bool)
    scores = vectors.by_level[level][probe] @ vectors.by_level[LEVELS[0]][front].T
    return np.asarray(people[front][scores.argmax(axis=1)] == people[probe], bool)


def _pooled(probes: Vectors, gallery: Vectors, pooling: str) -> npt.NDArray[np.float32]:
    if pooling == "max":
        return np.asarray((probes @ gallery.T).max(axis=1), np.float32)
    centre = gallery.mean(axis=0)
    return np.asarray(probes @ (centre / np.linalg.norm(centre)), np.float32)


def evaluate_miners(report: Report, by_name: Mapping[str, MinerVectors], section: str) -> None:
    """Enter rank-1 on the miner-face set under `section`."""
    for who, vectors in by_name.items():
        real = np.array([p.real_pose for p in vectors.photos])
        for level in LEVELS:
            for pooling in ("max", "mean"):
                right = leave_pose_out(vectors, level, pooling=pooling)
                share = metrics.by_people(right, vectors.people)
                report.add(section, who, f"{level}, leave-pose-out, {pooling}", share)
                if pooling == "max" and level == LEVELS[0]:
                    _per_pose(report, who, section, right, vectors.poses, real)
            share_front = front_only(vectors, level)
            keep = vectors.people if level != LEVELS[0] else vectors.people[vectors.poses != POSES[0]]
            report.add(section, who, f"{level}, front only", metrics.by_people(share_front, keep))


def _per_pose(  # noqa: PLR0917 -- one call, in reading order
    report: Report,
    who: str,
    section: str,
    right: npt.NDArray[np.bool_],
    poses: npt.NDArray[np.str_],
    real: npt.NDArray[np.bool_],
) -> None:
    groups: dict[str, list[bool]] = defaultdict(list)
    for hit, pose, is_real in zip(right, poses, real, strict=True):
        if is_real:
            groups[pose.replace("_m", "_").replace("_p", "_")].append(bool(hit))
    for pose, hits in sorted(groups.items()):
        report.add(section, who, f"clean, pose {pose} (real)", metrics.wilson(sum(hits), len(hits)))


def evaluate_open_set(
    report: Report,
    by_name: Mapping[str, MinerVectors],
    strangers: Mapping[str, Mapping[str, Vectors]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> None:
    """Enter misses at one false accept per 1,000: `strangers` is vectors by set and recogniser.

    A probe of the left-out pose misses when no registered person, or the wrong one, is similar enough.
    """
    for who, vectors in by_name.items():
        people, poses = vectors.people, vectors.poses
        names = np.unique(people)
        for kind, sets in strangers.items():
            hits: dict[str, list[bool]] = {level: [] for level in LEVELS}
            owners: list[str] = []
            rng = np.random.default_rng(seed)
            for _ in range(draws):
                six = rng.choice(names, min(REGISTERED, len(names)), replace=False)
                for pose in POSES:
                    _one_register(vectors, sets[who], np.isin(people, six), poses == pose, hits)
                    owners += people[np.isin(people, six) & (poses == pose)].tolist()
            for level in LEVELS:
                missed = ~np.array(hits[level])
                share = metrics.by_people(missed, np.array(owners))
                report.add("open", who, f"misses, {level}, strangers {kind}", share)


def _one_register(
    vectors: MinerVectors,
    strangers: Vectors,
    members: npt.NDArray[np.bool_],
    probe: npt.NDArray[np.bool_],
    hits: dict[str, list[bool]],
) -> None:
    """Register `members` on their clean photos without the `probe` pose, and score that pose."""
    gallery = members & ~probe
    names, owner = np.unique(vectors.people[gallery], return_inverse=True)
    order = np.argsort(owner, kind="stable")
    registered = vectors.by_level[LEVELS[0]][gallery][order]
    at = metrics.threshold_at(
        metrics.person_scores(strangers, registered, owner[order]).max(1), FALSE_ACCEPTS
    )
    for level in LEVELS:
        scores = metrics.person_scores(vectors.by_level[level][members & probe], registered, owner[order])
        right = names[scores.argmax(axis=1)] == vectors.people[members & probe]
        hits[level] += (right & (scores.max(axis=1) >= at)).tolist()


def stranger_vectors(
    folder: Path, splits: Splits, embedders: Sequence[Embedder], *, limit: int | None = None
) -> dict[str, dict[str, Vectors]]:
    """Return the impostors' vectors by set: the strangers (all, adults), LFW people, CelebA development.

    One photo a person; `limit` takes the first so many of each set, for a quick look.
    """
    asian = PhotoSet(folder, "strangers")
    files = {"asian": [p.file for p in asian.photos][:limit]}
    files["asian adults"] = [f for f in files["asian"] if int(f.split("A")[1][:2]) >= ADULT]
    lfw = PhotoSet(folder, "lfw_pairs")
    files["lfw"] = [own[0].file for own in lfw.by_person().values()][:limit]
    celeba = PhotoSet(folder, "celeba_train")
    own_first = [own for who, own in celeba.by_person().items() if who in splits.celeba_development]
    files["celeba development"] = [p.file for own in own_first for p in own][:limit]
    sets = {"asian": asian, "lfw": lfw, "celeba development": celeba}
    found = {
        kind: {e.name: embed_aligned(photos, files[kind], e) for e in embedders}
        for kind, photos in sets.items()
    }
    adult = np.isin(files["asian"], files["asian adults"])
    found["asian adults"] = {who: vectors[adult] for who, vectors in found["asian"].items()}
    return found
