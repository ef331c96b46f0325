"""The acceptance threshold, chosen on development strangers and nobody else.

A box with a small register lets a stranger in if *any* of the registered people is similar enough, so the
threshold is set on the best of six. Six development people are registered on up to four clean photos each,
and compared as the box compares; every other development person passes by in five conditions (clean, light
and heavy simulated ash, dark and dusty, in a miner's hood and helmet) and in two passages: one of the four
bad conditions, one of fourteen views in hood and helmet, which make strangers alike (so many the box takes
of a passage of the development clips, on average). A passage is pooled as the box pools the views of a
track, the last six, and judged as often as the box judges it: after three views and again after each
further one, and one name is enough. In each of the seven, one stranger in 200 may get a name, and the
threshold is the highest of the seven. That is repeated over many draws of the six, the scores pooled.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dsr_inception.crops import LEVELS, degraded_crops
from dsr_inception.errors import DataError
from dsr_inception.metrics import box_scores, threshold_at
from edge_app.identity.evidence import VoteOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from dsr_inception.embedders import Embedder

    Vectors = npt.NDArray[np.float32]

WORN: Final = "miner"
CONDITIONS: Final = (*LEVELS, "dark_dust", WORN)
REGISTERED: Final = 6
ENROLLED: Final = 4
#: The field test's bar for passages of strangers.
FALSE_ACCEPTS: Final = 5e-3
DRAWS: Final = 200
CLEAN: Final = "clean"
PASSAGE: Final = "passage"
WORN_PASSAGE: Final = "miner's passage"
WORN_VIEWS: Final = 14
#: The views after which a passage is judged first, and those that are weighed together.
FIRST_LOOK: Final = VoteOptions().min_views
WINDOW: Final = VoteOptions().window_views

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The threshold, what each condition would need alone, and what is accepted of the registered."""

    threshold: float
    per_condition: dict[str, float]
    false_accepts: dict[str, float]
    accepted: dict[str, float]
    impostor_scores: int
    people: int
    photos: int

    def as_json(self, source: str) -> dict[str, object]:
        """Return what `build_engine.export` reads, with everything else beside it."""
        return {**asdict(self), "threshold_source": source}


def embed_conditions(
    embedder: Embedder, crops: npt.NDArray[np.uint8], *, seed: int = 0
) -> dict[str, list[Vectors]]:
    """Return the vectors of `crops` (N, 224, 224, 3) in every condition; it takes minutes and says so.

    Of each condition one view, of `WORN` `WORN_VIEWS`, each drawn anew.
    """
    found = {}
    for place, name in enumerate(CONDITIONS, start=1):
        _log.info("%d photos, condition %d of %d: %s", len(crops), place, len(CONDITIONS), name)
        views = WORN_VIEWS if name == WORN else 1
        found[name] = [embedder.embed(degraded_crops(crops, name, seed=seed + view)) for view in range(views)]
    return found


def pool_views(views: Sequence[Vectors]) -> Vectors:
    """Return the unit mean of several views of the same faces, each (N, D)."""
    total = np.sum(views, axis=0)
    return np.asarray(total / np.linalg.norm(total, axis=1, keepdims=True), np.float32)


def _looks(views: Mapping[str, Sequence[Vectors]]) -> dict[str, list[Vectors]]:
    """Return by condition and passage what the box compares: one view, or the pools of the last few."""
    looks = {name: [found[0]] for name, found in views.items()}
    bad = [views[name][0] for name in CONDITIONS if name != CLEAN]
    for name, passing in ((PASSAGE, bad), (WORN_PASSAGE, views[WORN])):
        ends = range(FIRST_LOOK, len(passing) + 1)
        looks[name] = [pool_views(passing[max(0, end - WINDOW) : end]) for end in ends]
    return looks


def choose_threshold(
    views: Mapping[str, Sequence[Vectors]],
    people: npt.NDArray[np.str_],
    *,
    far: float = FALSE_ACCEPTS,
    draws: int = DRAWS,
    seed: int = 0,
) -> Chosen:
    """Return the threshold for the `views` of `embed_conditions`, (N, D) each; `people` is (N,).

    Raises:
        DataError: fewer than `REGISTERED` people have a photo more than are registered.
    """
    names, owner = np.unique(people, return_inverse=True)
    counts = np.bincount(owner)
    able = np.flatnonzero(counts > ENROLLED)
    if len(able) < REGISTERED:
        raise DataError(
            f"need {REGISTERED} people with more than {ENROLLED} photos; received {len(able)}: add "
            "development people to splits.json, or photos of them"
        )
    looks = _looks(views)
    rng = np.random.default_rng(seed)
    impostors: dict[str, list[npt.NDArray[np.floating]]] = {name: [] for name in looks}
    genuine: dict[str, list[npt.NDArray[np.floating]]] = {name: [] for name in looks}
    for _ in range(draws):
        six = np.sort(rng.choice(able, REGISTERED, replace=False))
        rows = [rng.permutation(np.flatnonzero(owner == who)) for who in six]
        registered = looks[CLEAN][0][np.concatenate([r[:ENROLLED] for r in rows])]
        owners = np.repeat(np.arange(REGISTERED), ENROLLED)
        own = np.concatenate([r[ENROLLED:] for r in rows])
        slot = np.repeat(np.arange(REGISTERED), [len(r) - ENROLLED for r in rows])
        strangers = ~np.isin(owner, six)
        for name, found in looks.items():
            let_in = [box_scores(look[strangers], registered, owners).max(axis=1) for look in found]
            impostors[name].append(np.max(let_in, axis=0))
            scores = [box_scores(look[own], registered, owners) for look in found]
            right = [np.where(one.argmax(axis=1) == slot, one.max(axis=1), -1.0) for one in scores]
            genuine[name].append(np.max(right, axis=0))
    pooled = {name: np.concatenate(parts) for name, parts in impostors.items()}
    needed = {name: threshold_at(scores, far) for name, scores in pooled.items()}
    at = float(np.ceil(max(needed.values()) * 1e4) / 1e4)  # rounded up: the promise holds for what is written
    return Chosen(
        threshold=at,
        per_condition={name: round(value, 4) for name, value in needed.items()},
        false_accepts={name: float((scores >= at).mean()) for name, scores in pooled.items()},
        accepted={name: float((np.concatenate(g) >= at).mean()) for name, g in genuine.items()},
        impostor_scores=sum(len(scores) for scores in pooled.values()),
        people=len(names),
        photos=len(people),
    )
