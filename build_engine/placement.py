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
from calibration.network import quantised_convolutions, quantised_tensors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    from build_engine.rounding import Rounded

#: The least share of multiply-adds in INT8: a little above what `build_engine.inspect` asks for, which
#: counts convolutions alone.
LEAST_SHARE: Final = 0.902
#: A range is so much wider than calibration says: a hundred pictures do not show what the rarest face does.
#: More of it coarsens faint faces: docs/calibration.md has the figures of both.
HEADROOM: Final = 1.1
#: Where every reader takes two terms the step does not matter, and there may be more of it.
HEADROOM_TWO_TERMS: Final = 4.0
#: What second terms may cost: this share of the multiply-adds, in INT8, on top of all; and this one of the
#: weights, which a TensorRT engine may hold twice.
SECOND_TERMS: Final = 0.6
WEIGHTS_TWICE: Final = 0.16
_STEPS: Final = 10_000
#: Steps of the choice within both budgets.
_COARSE: Final = 400


@dataclass(frozen=True, slots=True)
class Price:
    """What quantising one convolution alone costs, 1 - cosine, mean and most.

    `mac_share` and `weight_share` are its share of all multiply-adds and of all convolutions' weights, and
    `source` is the tensor whose scale its input has.
    """

    name: str
    mac_share: float
    mean: float
    most: float
    weight_share: float = 0.0
    source: str = ""


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
    sizes = {weight.name: int(np.prod(weight.dims)) for weight in equal.graph.initializer}
    total = sum(sizes[node.input[1]] for node in equal.graph.node if node.op_type == "Conv")
    owners = quantised_tensors(equal)
    found = []
    for node in quantised_convolutions(equal):
        alone = insert_qdq(equal, scales, only=[node.output[0]], rounded=rounded, two_terms=two_terms)
        off = 1 - cosines(reference, embeddings(alone, output, crops))
        share = share_in_int8(alone).mac_share
        weights = sizes[node.input[1]] / total
        source = owners[node.input[0]]
        found.append(Price(node.output[0], share, float(off.mean()), float(off.max()), weights, source))
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

    All that read one tensor do so together, or none: only then may its range have `HEADROOM_TWO_TERMS`, and
    what cost most was ranges too narrow for rare faces. TensorRT keeps the weights of both terms: together
    they are at most `WEIGHTS_TWICE` of all weights. Early convolutions are costly to compute and have few
    weights, late ones have many.

    Once weights are rounded as one, rounding the input is nearly all of a price: a second term takes it away.
    """
    readers: dict[str, list[Price]] = {}
    for price in found:
        if price.name not in floats:
            readers.setdefault(price.source, []).append(price)
    together = [
        Price(
            source,
            sum(p.mac_share for p in group),
            sum(p.mean for p in group),
            sum(p.most for p in group),
            sum(p.weight_share for p in group),
        )
        for source, group in readers.items()
    ]
    chosen = _worth_most(together, most, WEIGHTS_TWICE, steps=_COARSE)
    return tuple(p.name for p in found if p.source in chosen and p.name not in floats)


def with_headroom(
    equal: Any, scales: Mapping[str, float], *, two_terms: Collection[str] = ()
) -> dict[str, float]:
    """Return `scales` with those of quantised tensors widened, but for what comes of the picture alone.

    Args:
        equal: the float network.
        scales: amax / 127 by tensor.
        two_terms: convolutions that read their input in two terms.
    """
    owners = quantised_tensors(equal)
    readers: dict[str, list[str]] = {}
    for node in quantised_convolutions(equal):
        readers.setdefault(owners[node.input[0]], []).append(node.output[0])
    learnt: set[str] = set()
    for node in equal.graph.node:
        if node.op_type == "Conv" or learnt.intersection(node.input):
            learnt.update(node.output)
    wider = {}
    for owner, names in readers.items():
        factor = HEADROOM_TWO_TERMS if set(names) <= set(two_terms) else HEADROOM
        wider[owner] = float(np.float16(scales[owner] * factor)) if owner in learnt else scales[owner]
    return {**scales, **wider, **{name: wider[owner] for name, owner in owners.items()}}


def _worth_most(
    found: Sequence[Price], macs: float, weights: float | None = None, *, steps: int = _STEPS
) -> tuple[str, ...]:
    """Return those whose prices make the largest sum among all that fit.

    Args:
        found: prices.
        macs: share of the multiply-adds that may be spent.
        weights: share of the weights that may be spent; None for any.
        steps: into how many steps a whole is cut.
    """
    limits = int(macs * steps + 1e-6), 0 if weights is None else int(weights * steps + 1e-6)
    if limits[0] <= 0:
        return ()
    saved = np.zeros((limits[0] + 1, limits[1] + 1))
    taken = np.zeros((len(found), *saved.shape), bool)
    costs = [
        (int(np.ceil(p.mac_share * steps)), 0 if weights is None else int(np.ceil(p.weight_share * steps)))
        for p in found
    ]
    for row, (price, (mac, weight)) in enumerate(zip(found, costs, strict=True)):
        if mac > limits[0] or weight > limits[1]:
            continue
        candidate = saved[: saved.shape[0] - mac, : saved.shape[1] - weight] + price.mean
        better = candidate > saved[mac:, weight:]
        taken[row, mac:, weight:] = better
        saved[mac:, weight:] = np.where(better, candidate, saved[mac:, weight:])
    left, chosen = limits, []
    for row in range(len(found) - 1, -1, -1):
        if taken[row, left[0], left[1]]:
            chosen.append(found[row].name)
            left = left[0] - costs[row][0], left[1] - costs[row][1]
    return tuple(reversed(chosen))
