"""`dsr-train evaluate --only table3 joint`: the paper's Table 3 and Appendix 7, on miner-face pictures.

A closed set of miners: seven poses under three levels of *simulated* ash each. Every person's pictures of
two poses, drawn anew for each group, are for testing, at all levels; the other five are trained on. (Drawn
picture by picture the same photo would be trained on under another level of ash.) The paper does not say
how it divides its set.

- **Table 3**: schemes a to f. Which is best is said from the development people; the figures stand for the
  test people, one classifier for each set of people.
- **Appendix 7**: twenty groups, trained with the joint loss and with softmax alone, everything else alike. A
  scheme that trains the last stage at least: on frozen features the centre loss changes nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dsr_inception import metrics, transfer
from dsr_inception.closed import MICRO, by_class, enter_closed
from dsr_inception.crops import LEVELS
from dsr_inception.embedders import OURS, kept, picture_hash, unit
from dsr_inception.evaluation import embed_aligned
from dsr_inception.finetune import Lower, train_upper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dsr_inception.closed import Selection
    from dsr_inception.datasets import PhotoSet
    from dsr_inception.embedders import Embedder
    from dsr_inception.finetune import Halves
    from dsr_inception.miners import MinerSet
    from dsr_inception.recipe import ClosedRecipe
    from dsr_inception.report import Report

    Labels = npt.NDArray[np.intp]

TEST_POSES: Final = 2
GROUPS: Final = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MinerClosed:
    """All pictures of some miners, level by level: crops, labels and poses, (3 * N,)."""

    crops: npt.NDArray[np.uint8]
    labels: Labels
    poses: npt.NDArray[np.str_]
    levels: npt.NDArray[np.str_]

    @classmethod
    def of(cls, miners: MinerSet) -> MinerClosed:
        """Return the closed set of `miners`."""
        _, labels = np.unique([p.person for p in miners.photos], return_inverse=True)
        poses = np.array([p.pose for p in miners.photos])
        return cls(
            np.concatenate([miners.crops[level].crops for level in LEVELS]),
            np.tile(labels, len(LEVELS)),
            np.tile(poses, len(LEVELS)),
            np.repeat(LEVELS, len(poses)),
        )

    def tested(self, group: int) -> npt.NDArray[np.bool_]:
        """Return which pictures a group tests on: two poses of each person, at all levels."""
        rng = np.random.default_rng(group)
        poses = np.unique(self.poses)
        held = np.zeros(len(self.labels), bool)
        for person in np.unique(self.labels):
            held |= (self.labels == person) & np.isin(
                self.poses, rng.choice(poses, TEST_POSES, replace=False)
            )
        return held


@dataclass(frozen=True, slots=True)
class Trunk:
    """A recogniser, what names its weights, and where the values of its frozen stages are kept."""

    recogniser: Any
    key: str
    cache: Path | None = None

    def lower(self, frozen: int) -> Lower:
        """Return the first `frozen` stages."""
        return Lower(self.recogniser, frozen, key=self.key, cache=self.cache)

    def embedding(self, averaged: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the open-set head's vectors, (N, D), of averaged features, (N, 1024)."""
        kernel, bias = self.recogniser.get_layer("embedding_linear").get_weights()
        return np.asarray(averaged @ kernel + bias, np.float32)


def closed_scores(
    trunk: Trunk, values: Halves, labels: Labels, test: npt.NDArray[np.bool_], recipe: ClosedRecipe
) -> npt.NDArray[np.float32]:
    """Return the scores of the `test` rows, (M, C), by a classifier trained on the others."""
    own, theirs = values[:, ~test], values[:, test]
    if recipe.scheme == "a":
        train, seen = (v.astype(np.float32).mean(axis=0) for v in (own, theirs))
        return transfer.nearest_mean(train, labels[~test], seen)
    return train_upper(trunk.recogniser, own, labels[~test], recipe).scores(theirs)


def group_answers(
    trunk: Trunk, miners: MinerClosed, recipe: ClosedRecipe, group: int, values: Halves | None = None
) -> Labels:
    """Return who the tested pictures of a `group` are called, (M,); kept in the trunk's cache, if any."""
    own, test = dataclasses.replace(recipe, seed=group), miners.tested(group)

    def answers() -> Labels:
        given = values if values is not None else trunk.lower(frozen).of_crops(miners.crops)
        return np.asarray(closed_scores(trunk, given, miners.labels, test, own).argmax(axis=1), np.intp)

    frozen = transfer.frozen_stages(recipe.scheme)
    said = repr((trunk.key, sorted(dataclasses.asdict(own).items()), picture_hash(miners.crops)))
    key = hashlib.sha256(said.encode()).hexdigest()[:32]
    return kept(trunk.cache / "groups" if trunk.cache else None, key, answers)


def evaluate_closed(
    report: Report,
    section: str,
    trunk: Trunk,
    pictures: tuple[PhotoSet, Selection],
    recipe: ClosedRecipe,
    *,
    schemes: Sequence[str],
    embedders: Sequence[Embedder] = (),
) -> None:
    """Enter a closed set of aligned photos under `section`: `schemes` of Table 3, and the nearest mean.

    `embedders` are compared by the nearest unit mean of each person's training vectors.
    """
    photos, chosen = pictures
    labels, test, kinds = chosen.labels, chosen.test, chosen.kinds[chosen.test]

    def enter(column: str, scores: npt.NDArray[np.float32]) -> None:
        enter_closed(report, section, column, scores.argmax(axis=1), labels[test], kinds)

    for scheme in schemes:
        values = trunk.lower(transfer.frozen_stages(scheme)).of_photos(photos, chosen.photos)
        own = dataclasses.replace(recipe, scheme=scheme)
        enter(f"scheme {scheme}", closed_scores(trunk, values, labels, test, own))
    averaged = trunk.lower(transfer.STAGES).of_photos(photos, chosen.photos).astype(np.float32)
    vectors = unit(unit(trunk.embedding(averaged[0])) + unit(trunk.embedding(averaged[1])))
    enter("embedding, nearest mean", transfer.nearest_mean(vectors[~test], labels[~test], vectors[test]))
    for embedder in embedders:
        if embedder.name == OURS:
            continue
        vectors = embed_aligned(photos, chosen.photos, embedder)
        scores = transfer.nearest_mean(vectors[~test], labels[~test], vectors[test])
        enter(f"{embedder.name}, nearest mean", scores)
    report.note(
        section,
        people=int(labels.max()) + 1,
        trained_on=int((~test).sum()),
        tested_on=int(test.sum()),
        recipe=dataclasses.asdict(recipe),
    )


def evaluate_schemes(
    report: Report, section: str, trunk: Trunk, miners: MinerClosed, recipe: ClosedRecipe, *, groups: int
) -> str:
    """Enter Table 3 under `section` and return its best scheme: highest accuracy, of equals the cheapest."""
    best: dict[str, float] = {}
    matrices: dict[str, list[list[float]]] = {}
    for scheme, frozen in reversed(transfer.SCHEMES.items()):
        values = trunk.lower(frozen).of_crops(miners.crops)
        said, true, levels = [], [], []
        for group in range(groups):
            test = miners.tested(group)
            own = dataclasses.replace(recipe, scheme=scheme)
            said.append(group_answers(trunk, miners, own, group, values))
            true.append(miners.labels[test])
            levels.append(miners.levels[test])
        predicted, labels = np.concatenate(said), np.concatenate(true)
        enter_closed(report, section, scheme, predicted, labels, np.concatenate(levels))
        best[scheme] = float((predicted == labels).mean())
        matrices[scheme] = confusion(predicted, labels)
        _log.info("%s, scheme %s: %.1f %%", section, scheme, 100 * best[scheme])
    report.figures[section] = dict(sorted(report.figures[section].items()))
    report.note(
        section, groups=groups, people=int(miners.labels.max()) + 1, recipe=dataclasses.asdict(recipe)
    )
    chosen = max(best, key=lambda scheme: (best[scheme], transfer.SCHEMES[scheme], scheme == "a"))
    report.note(section, best=chosen)
    report.curves[section] = {"confusion": matrices[chosen]}
    return chosen


def confusion(predicted: Labels, labels: Labels) -> list[list[float]]:
    """Return how often each person (row) was called each (column)."""
    size = int(max(predicted.max(), labels.max())) + 1
    counts = np.bincount(labels * size + predicted, minlength=size * size).reshape(size, size)
    return [[float(n) for n in row] for row in counts]


def evaluate_joint(
    report: Report,
    section: str,
    trunk: Trunk,
    miners: MinerClosed,
    recipe: ClosedRecipe,
    *,
    groups: int = GROUPS,
) -> None:
    """Enter Appendix 7 under `section`: twenty groups with `recipe`'s centre loss and without."""
    frozen = transfer.frozen_stages(recipe.scheme)
    values = trunk.lower(frozen).of_crops(miners.crops)
    columns = {"softmax alone": 0.0, f"joint, lambda {recipe.centre:g}": recipe.centre}
    rows: dict[str, list[Sequence[float]]] = {name: [] for name in columns}
    for group in range(groups):
        test = miners.tested(group)
        for name, weight in columns.items():
            own = dataclasses.replace(recipe, centre=weight)
            predicted = group_answers(trunk, miners, own, group, values)
            labels = miners.labels[test]
            macro = [float(part.mean()) for part in by_class(predicted, labels)]
            rows[name].append([float((predicted == labels).mean()), *macro])
        _log.info("%s, group %d of %d", section, group + 1, groups)
    plain, joint = (np.array(found) for found in rows.values())
    for place, row in enumerate((MICRO, "macro precision", "macro recall", "macro F1")):
        for name, found in zip((*columns, "gain"), (plain, joint, joint - plain), strict=True):
            report.add(section, name, row, metrics.mean_of_runs(found[:, place]))
    report.note(
        section, groups=groups, people=int(miners.labels.max()) + 1, recipe=dataclasses.asdict(recipe)
    )
