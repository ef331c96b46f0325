"""The figures: verification, identification and open set, each with an interval.

- **Fold accuracy** (LFW view 2): the threshold is chosen on nine folds and scored on the tenth.
- **TAR at FAR**: the share of same-person pairs above the threshold that lets the given share of
  different-person pairs through.
- **Rank-1** and **open-set misses** are shares of pictures. Pictures of one person are not independent,
  so their intervals come from a bootstrap over *people*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.floating]
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Share:
    """A share in 0..1 with its 95 % interval and how many cases it stands on."""

    value: float
    low: float
    high: float
    cases: int

    def __str__(self) -> str:
        """Return it in percent with the interval."""
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def fold_accuracy(scores: Floats, same: Bools, folds: int) -> Share:
    """Return LFW's accuracy: mean over folds, interval from their standard error.

    `scores` and `same` are (N,), folds equally long and in order.

    Raises:
        ValueError: N is not a multiple of `folds`, or fewer than two folds.
    """
    if folds < 2 or len(scores) % folds:  # noqa: PLR2004 -- a threshold needs other folds
        msg = f"need at least two folds of equal length; received {len(scores)} pairs in {folds} folds"
        raise ValueError(msg)
    fold = np.repeat(np.arange(folds), len(scores) // folds)
    found = []
    for held_out in range(folds):
        at = best_threshold(scores[fold != held_out], same[fold != held_out])
        own = fold == held_out
        found.append(float(((scores[own] >= at) == same[own]).mean()))
    mean, error = float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(folds))
    return Share(mean, mean - 1.96 * error, min(1.0, mean + 1.96 * error), len(scores))


def best_threshold(scores: Floats, same: Bools) -> float:
    """Return the score from which on calling two pictures one person is right most often."""
    order = np.argsort(scores)
    ranked = same[order]
    # Accepting from position i on: rejected different ones before i, accepted same ones from i on.
    right = (
        np.concatenate([[0], np.cumsum(~ranked)]) + ranked.sum() - np.concatenate([[0], np.cumsum(ranked)])
    )
    at = int(np.argmax(right))
    return float(scores[order[at]]) if at < len(scores) else float(scores.max()) + 1e-6


def threshold_at(impostors: Floats, far: float) -> float:
    """Return the smallest score that at most a share `far` of the `impostors` reaches.

    Raises:
        ValueError: too few impostors to see one in ``1/far`` of them.
    """
    allowed = int(np.floor(far * len(impostors) + 1e-9))
    if allowed < 1:
        msg = f"{len(impostors)} impostor scores cannot show a false-accept rate of {far}"
        raise ValueError(msg)
    place = len(impostors) - allowed - 1
    highest_refused = np.partition(np.asarray(impostors), place)[place]
    return float(np.nextafter(np.float64(highest_refused), np.inf))


def true_accepts(scores: Floats, same: Bools, far: float) -> Share:
    """Return TAR at `far`, with a binomial (Wilson) interval: `scores` and `same` are (N,)."""
    at = threshold_at(scores[~same], far)
    return wilson(int((scores[same] >= at).sum()), int(same.sum()))


def wilson(hits: int, cases: int) -> Share:
    """Return `hits` of `cases` with Wilson's 95 % interval."""
    if cases == 0:
        return Share(float("nan"), 0.0, 1.0, 0)
    z2 = 1.96**2
    p = hits / cases
    middle = (p + z2 / (2 * cases)) / (1 + z2 / cases)
    half = 1.96 / (1 + z2 / cases) * np.sqrt(p * (1 - p) / cases + z2 / (4 * cases**2))
    return Share(p, float(max(0.0, middle - half)), float(min(1.0, middle + half)), cases)


def by_people(hits: Bools, people: npt.NDArray[np.str_], *, draws: int = 1000, seed: int = 0) -> Share:
    """Return the share of `hits` (N,), its interval from drawing `people` (N,) again with replacement."""
    names, owner = np.unique(people, return_inverse=True)
    right = np.bincount(owner, weights=hits.astype(float), minlength=len(names))
    count = np.bincount(owner, minlength=len(names)).astype(float)
    drawn = np.random.default_rng(seed).integers(len(names), size=(draws, len(names)))
    shares = right[drawn].sum(1) / count[drawn].sum(1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return Share(float(hits.mean()), float(low), float(high), len(hits))


def all_pairs(vectors: Floats, people: npt.NDArray[np.str_]) -> tuple[Floats, Bools]:
    """Return the cosine of every pair of `vectors` (N, D, unit length) and whether it is one person."""
    _, owner = np.unique(people, return_inverse=True)
    above = np.triu(np.ones((len(people), len(people)), bool), 1)
    return (vectors @ vectors.T)[above], (owner[:, None] == owner[None, :])[above]


def person_scores(probes: Floats, gallery: Floats, owners: npt.NDArray[np.intp]) -> Floats:
    """Return each probe's best similarity to each person, (N, P): `owners` (G,) in 0..P-1, sorted."""
    starts = np.searchsorted(owners, np.arange(int(owners.max()) + 1))
    return np.maximum.reduceat(probes @ gallery.T, starts, axis=1)


def box_scores(probes: Floats, gallery: Floats, owners: npt.NDArray[np.intp]) -> Floats:
    """Return half the sum of the two below, (N, P): how the box compares (`edge_app.identity.match`)."""
    template, best = template_scores(probes, gallery, owners), person_scores(probes, gallery, owners)
    return np.asarray((template + best) / 2)


def template_scores(probes: Floats, gallery: Floats, owners: npt.NDArray[np.intp]) -> Floats:
    """Return each probe's similarity to the unit mean of each person's vectors, (N, P).

    `owners` (G,) in 0..P-1, sorted.
    """
    starts = np.searchsorted(owners, np.arange(int(owners.max()) + 1))
    sums = np.add.reduceat(gallery, starts, axis=0)
    return np.asarray(probes @ (sums / np.linalg.norm(sums, axis=1, keepdims=True)).T)


def roc(scores: Floats, same: Bools, *, points: int = 41) -> list[list[float]]:
    """Return [FAR, TAR] from one impostor to all of them, at `points` rates, even in the logarithm."""
    impostors, genuine = np.sort(scores[~same]), np.sort(scores[same])
    least = np.log10(1.0 / len(impostors))
    curve = []
    for far in np.logspace(least, 0, points):
        at = impostors[max(0, len(impostors) - 1 - int(np.floor(far * len(impostors) + 1e-9)))]
        tar = 1 - np.searchsorted(genuine, at, side="right") / len(genuine)
        curve.append([float(f"{far:.3g}"), round(float(tar), 4)])
    return curve


def mean_by_class(values: Floats, *, draws: int = 1000, seed: int = 0) -> Share:
    """Return the macro average of a figure by class, (C,), its interval from drawing classes again."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return Share(float(values.mean()), float(low), float(high), len(values))


def mean_of_runs(values: Floats) -> Share:
    """Return the mean of a figure over repeated runs, (N,), with 1.96 standard errors of the mean."""
    error = 1.96 * float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return Share(
        float(np.mean(values)), float(np.mean(values)) - error, float(np.mean(values)) + error, len(values)
    )
