"""Which way of comparing a face with several registered views names most people, by pose.

Six development people of the miner-face photos are registered on a few poses, clean; the poses that are not
registered pass by, under simulated ash. Strangers are the development people who are not registered and the
development people of CelebA. For every way of comparing, the threshold is set on the strangers' best
similarity (one in 200 may get a name), and the share of registered faces that are named rightly is printed,
by what was registered, by ash and by pose (real poses only), over draws of six people.

The ways: ``mean`` (the template of all photos), ``max`` (the best photo), ``half`` (half of either, what
the box does), ``nearest`` (the photos nearest in pose), ``weighted`` (a template weighted by nearness of
pose). The pose is the box's own estimate, from five landmarks.

Run as ``python -m benchmarks.poses``; it needs the research data, and says so without it. The model is
the box's (``--model``).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.research import data_or_word, embedded, parser_for
from dsr_inception.crops import LEVELS, MinerCrops, degraded_crops, miner_crops, own_ash
from dsr_inception.datasets import PhotoSet, Splits, miner_photos
from dsr_inception.metrics import box_scores, template_scores, threshold_at
from edge_app.embedding.recogniser import Recogniser
from edge_app.faces.detect import CenterFace
from edge_app.faces.pose import estimate_pose
from edge_app.faces.preprocess import align

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dsr_inception.datasets import MinerPhoto
    from edge_app.faces.detect import Detector

    Floats = npt.NDArray[np.floating]
    Vectors = npt.NDArray[np.float32]

REGISTERED: Final = 6
FALSE_ACCEPTS: Final = 5e-3
DRAWS: Final = 30
#: Photos of a pose this much farther than the nearest one still count as nearest, degrees.
SLACK: Final = 8.0
#: How fast a photo loses weight with its distance in pose, degrees; and what it keeps at least.
WIDTH, LEAST = 20.0, 0.2
#: Pitch is a hint (`edge_app.faces.pose`): it counts half.
PITCH: Final = 0.5

REGISTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "front": ("front",),
    "front, left, right": ("front", "yaw_m45", "yaw_p45"),
    "front, left, right, up, down": ("front", "yaw_m45", "yaw_p45", "up_15", "down_15"),
    "front, near left and right": ("front", "yaw_m15", "yaw_p15"),
    "all others": ("front", "yaw_m15", "yaw_p15", "yaw_m45", "yaw_p45", "up_15", "down_15"),
}


@dataclass(frozen=True, slots=True)
class Views:
    """Embedded faces: vectors (N, D) of unit length, poses (N, 2) yaw and pitch in degrees, whose (N,)."""

    vectors: Vectors
    poses: Floats
    people: npt.NDArray[np.str_]

    def __getitem__(self, chosen: npt.NDArray[np.bool_]) -> Views:
        return Views(self.vectors[chosen], self.poses[chosen], self.people[chosen])

    def __len__(self) -> int:
        return len(self.vectors)


def distances(probes: Views, gallery: Views) -> Floats:
    """Return how far apart the poses are, (N, G) degrees."""
    apart = probes.poses[:, None] - gallery.poses[None]
    return np.asarray(np.hypot(apart[..., 0], PITCH * apart[..., 1]))


def scores_by(way: str, probes: Views, gallery: Views) -> Floats:
    """Return each probe's similarity to each person of `gallery`, (N, P), people in order of their names."""
    names, owners = np.unique(gallery.people, return_inverse=True)
    order = np.argsort(owners, kind="stable")
    gallery, owners = gallery[order], owners[order]
    if way == "mean":
        return template_scores(probes.vectors, gallery.vectors, owners)
    if way == "half":
        return box_scores(probes.vectors, gallery.vectors, owners)
    found = np.empty((len(probes), len(names)), np.float32)
    apart = distances(probes, gallery)
    for person in range(len(names)):
        own = owners == person
        found[:, person] = _WAYS[way](probes.vectors, gallery.vectors[own], apart[:, own])
    return found


def _best(probes: Vectors, own: Vectors, _apart: Floats) -> Floats:
    return np.asarray((probes @ own.T).max(axis=1))


def _weighted(probes: Vectors, own: Vectors, apart: Floats) -> Floats:
    return _with_weights(probes, own, LEAST + np.exp(-((apart / WIDTH) ** 2)))


def _nearest(probes: Vectors, own: Vectors, apart: Floats) -> Floats:
    return _with_weights(probes, own, (apart <= apart.min(axis=1, keepdims=True) + SLACK).astype(float))


def _with_weights(probes: Vectors, own: Vectors, weights: Floats) -> Floats:
    templates = weights @ own
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    return np.asarray((probes * templates).sum(axis=1))


_WAYS: Final[Mapping[str, Callable[[Vectors, Vectors, Floats], Floats]]] = {
    "max": _best,
    "nearest": _nearest,
    "weighted": _weighted,
}
WAYS: Final = ("mean", "half", *_WAYS)


@dataclass(frozen=True, slots=True)
class Faces:
    """All that is compared: miner-face photos by ash level with what is known of each, and strangers."""

    photos: tuple[MinerPhoto, ...]
    by_level: Mapping[str, Views]
    strangers: Views

    @property
    def poses(self) -> npt.NDArray[np.str_]:
        """The pose that each miner-face photo is for, (N,)."""
        return np.array([photo.pose for photo in self.photos])


def open_set(faces: Faces, way: str, registered: Sequence[str]) -> dict[tuple[str, str], list[bool]]:
    """Return, by ash level and pose, whether each face was named rightly, over all draws of six people.

    A probe's own pose is never among its registered photos: that photo would be compared with itself.
    """
    clean = faces.by_level[LEVELS[0]]
    names, poses = np.unique(clean.people), faces.poses
    hits: dict[tuple[str, str], list[bool]] = {}
    sixes = list(combinations(names, min(REGISTERED, len(names) - 1)))
    for six in np.random.default_rng(1).permutation(np.array(sixes))[:DRAWS]:
        inside = np.isin(clean.people, six)
        for pose in np.unique(poses):
            gallery = clean[inside & np.isin(poses, registered) & (poses != pose)]
            if len(np.unique(gallery.people)) < len(six):  # that pose alone was registered
                continue
            others = [views[~inside] for views in faces.by_level.values()]
            bar = threshold_at(
                np.concatenate([scores_by(way, one, gallery).max(1) for one in (*others, faces.strangers)]),
                FALSE_ACCEPTS,
            )
            real = np.array([photo.real_pose for photo in faces.photos])
            for level, views in faces.by_level.items():
                probes = views[inside & (poses == pose) & real]
                if not len(probes):
                    continue
                scores = scores_by(way, probes, gallery)
                right = np.unique(gallery.people)[scores.argmax(1)] == probes.people
                hits.setdefault((level, str(pose)), []).extend((right & (scores.max(1) >= bar)).tolist())
    return hits


def table(faces: Faces) -> list[str]:
    """Return the lines of the table: what was registered, the way, named rightly by ash and by pose."""
    lines = [f"{'registered':30} {'way':9} " + " ".join(f"{level:>6}" for level in LEVELS) + "   turned 45"]
    for title, registered in REGISTERS.items():
        for way in WAYS:
            hits = open_set(faces, way, registered)
            shares = [_share(hits, lambda key, level=level: key[0] == level) for level in LEVELS]
            turned = _share(hits, lambda key: key[0] == LEVELS[0] and key[1].endswith("45"))
            cells = " ".join(f"{100 * share:5.1f}%" for share in shares)
            lines.append(f"{title:30} {way:9} {cells}      {100 * turned:5.1f}%")
    return lines


def _share(hits: Mapping[tuple[str, str], list[bool]], which: Callable[[tuple[str, str]], bool]) -> float:
    found = [hit for key, own in hits.items() if which(key) for hit in own]
    return float(np.mean(found)) if found else float("nan")


def miner_faces(data: Path, detector: Detector, recogniser: Recogniser, splits: Splits) -> Faces:
    """Return the development people's faces and the strangers'."""
    photos = PhotoSet(data, "mf_photos")
    chosen = tuple(photo for photo in miner_photos(photos) if photo.person in splits.mf_development)
    crops: dict[str, MinerCrops] = miner_crops(photos, chosen, detector, own_ash)
    people = np.array([photo.person for photo in chosen])
    poses = np.array([_pose(detector, photos.read(photo.file)) for photo in chosen])
    by_level = {
        level: Views(embedded(recogniser, found.crops), poses, people) for level, found in crops.items()
    }
    return Faces(chosen, by_level, _strangers(data, detector, recogniser, splits))


def _strangers(data: Path, detector: Detector, recogniser: Recogniser, splits: Splits) -> Views:
    """Return one photo of each development person of CelebA, clean and under ash, with their own poses."""
    photos = PhotoSet(data, "celeba_train")
    crops, poses, people = [], [], []
    for who, own in photos.by_person().items():
        if who not in splits.celeba_development:
            continue
        picture = photos.read(own[0])
        found = detector.detect(picture)
        if found:
            face = max(found, key=lambda one: one.box.area)
            pose = estimate_pose(face.landmarks)
            crops.append(align(picture, face.landmarks))
            poses.append((pose.yaw, pose.pitch))
            people.append(who)
    stacked = np.stack(crops)
    vectors = [embedded(recogniser, degraded_crops(stacked, level, seed=3)) for level in LEVELS]
    return Views(
        np.concatenate(vectors), np.tile(np.array(poses), (len(LEVELS), 1)), np.tile(people, len(LEVELS))
    )


def _pose(detector: Detector, picture: npt.NDArray[np.uint8]) -> tuple[float, float]:
    found = detector.detect(picture)
    if not found:
        return 0.0, 0.0
    pose = estimate_pose(max(found, key=lambda one: one.box.area).landmarks)
    return pose.yaw, pose.pitch


def main() -> int:
    """Print the table; returns 0."""
    args, data = parser_for(__doc__).parse_args(), data_or_word()
    if data is None:
        return 0
    recogniser = Recogniser.open(args.model)
    faces = miner_faces(data, CenterFace.open(args.detector), recogniser, Splits.load(data))
    people = len({photo.person for photo in faces.photos})
    print(
        f"{people} development people, {REGISTERED} registered, {len(faces.strangers)} faces of strangers,"
        f" model {recogniser.model_sha256[:12]} on {recogniser.backend}; simulated ash"
    )
    print("\n".join(table(faces)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
