"""Which convolutions stay in float: those that cost the embedding most for what they save.

At least nine tenths of the multiply-adds shall run in INT8; depthwise convolutions and the tail take half
of what is left, and the rest may be spent. Each convolution is quantised alone, and what the embedding is
then off is its price; prices add up well enough. The rest is spent so that the prices which need not be
paid make the largest sum. What is costly and too large for that reads its input in two terms
(`build_engine.qdq`). Only calibration pictures are seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from build_engine.gate import cosines
from build_engine.qdq import insert_qdq, share_in_int8
from calibration.collect import Observer, batch_of
from calibration.network import quantised_convolutions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    from build_engine.rounding import Rounded

#: The least share of multiply-adds in INT8: a little above what `build_engine.inspect` asks for, which
#: counts convolutions alone.
LEAST_SHARE: Final = 0.902
#: What second terms may cost: this share of the multiply-adds, in INT8, on top of all.
SECOND_TERMS: Final = 0.20
_STEPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Price:
    """What quantising one convolution alone costs, 1 - cosine, mean and most; its share of multiply-adds."""

    name: str
    mac_share: float
    mean: float
    most: float


def prices(
    equal: Any,
    scales: Mapping[str, float],
    crops: npt.NDArray[np.uint8],
    *,
    rounded: Mapping[str, Rounded] | None = None,
    two_terms: Collection[str] = (),
) -> list[Price]:
    """Return the price of every ordinary convolution of the float network `equal`, in graph order."""
    output = equal.graph.output[0].name
    reference = embeddings(equal, output, crops)
    found = []
    for node in quantised_convolutions(equal):
        alone = insert_qdq(equal, scales, only=[node.output[0]], rounded=rounded, two_terms=two_terms)
        off = 1 - cosines(reference, embeddings(alone, output, crops))
        share = share_in_int8(alone).mac_share
        found.append(Price(node.output[0], share, float(off.mean()), float(off.max())))
    return found


def embeddings(model: Any, output: str, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the embeddings of `crops`, (N, D)."""
    observer = Observer(model, [output])
    return np.concatenate([observer.run(batch_of(crop[None]))[output] for crop in crops])


def choose_float(found: Sequence[Price], *, least: float = LEAST_SHARE) -> tuple[str, ...]:
    """Return which convolutions to leave in float, so that `least` of the multiply-adds remain in INT8.

    The sum of the means of those left out is the largest possible; where nothing can be spared, none are.
    """
    return _worth_most(found, sum(price.mac_share for price in found) - least)


def choose_two_terms(
    found: Sequence[Price], floats: Collection[str], *, most: float = SECOND_TERMS
) -> tuple[str, ...]:
    """Return which convolutions read their input in two terms: at most `most` more multiply-adds, all INT8.

    Once weights are rounded as one, rounding the input is nearly all of a price: a second term takes it away.
    """
    return _worth_most([price for price in found if price.name not in floats], most)


def _worth_most(found: Sequence[Price], share: float) -> tuple[str, ...]:
    """Return those whose prices make the largest sum among all that fit into `share` of the multiply-adds."""
    budget = int(share * _STEPS)
    if budget <= 0:
        return ()
    saved = np.zeros(budget + 1)
    taken = np.zeros((len(found), budget + 1), bool)
    costs = [int(np.ceil(price.mac_share * _STEPS)) for price in found]
    for row, (price, cost) in enumerate(zip(found, costs, strict=True)):
        if cost > budget:
            continue
        candidate = saved[: budget + 1 - cost] + price.mean
        better = candidate > saved[cost:]
        taken[row, cost:] = better
        saved[cost:] = np.where(better, candidate, saved[cost:])
    left, chosen = budget, []
    for row in range(len(found) - 1, -1, -1):
        if taken[row, left]:
            chosen.append(found[row].name)
            left -= costs[row]
    return tuple(reversed(chosen))
