"""Take back the mean error that quantisation adds to each channel: bias correction.

Rounding and clipping do not average out: a value that most pixels have (a wall, a dark patch) is off by
the same amount everywhere, and so is every sum that it goes into. What a channel is off on average
over the calibration pictures is subtracted from the bias of the convolution that makes it (Nagel et al.
2019), stage by stage, since each correction changes what comes after it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from build_engine.qdq import FIRST
from calibration.collect import Observer, batch_of, require_normalised
from calibration.network import quantised_convolutions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_log = logging.getLogger(__name__)


def waves(model: Any) -> list[list[str]]:
    """Return the outputs of the quantised convolutions in waves: one that needs another comes after it."""
    wanted = {node.output[0] for node in quantised_convolutions(model)}
    depth: dict[str, int] = {}
    for node in model.graph.node:
        before = max((depth.get(name, 0) for name in node.input), default=0)
        step = int(node.output[0] in wanted)
        for output in node.output:
            depth[output] = before + step
    found: dict[int, list[str]] = {}
    for name in (n.output[0] for n in quantised_convolutions(model)):
        found.setdefault(depth[name], []).append(name)
    return [found[at] for at in sorted(found)]


def channel_means(
    model: Any, names: Sequence[str], crops: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the mean of each channel of the tensors `names`, (C,), over `crops` (N, 224, 224, 3) RGB."""
    observer = Observer(model, list(names))
    total: dict[str, npt.NDArray[np.float64]] = {}
    for crop in crops:
        batch = batch_of(crop[None])
        require_normalised(batch)
        for name, value in observer.run(batch).items():
            if name in names:
                total[name] = total.get(name, 0.0) + value[0].mean(axis=(1, 2), dtype=np.float64)
    return {name: value / len(crops) for name, value in total.items()}


def correct_biases(quantised: Any, reference: Any, crops: npt.NDArray[np.uint8]) -> float:
    """Correct the biases of the Q/DQ network `quantised` in place; return the largest mean error that it had.

    Args:
        quantised: made from `reference` by `build_engine.qdq.insert_qdq`.
        reference: the network in float.
        crops: calibration crops.
    """
    from onnx import numpy_helper

    order = waves(reference)
    expected = channel_means(reference, [name for wave in order for name in wave], crops)
    makers = {node.output[0]: node for node in quantised.graph.node}
    weights = {w.name: w for w in quantised.graph.initializer}
    largest = 0.0
    for number, wave in enumerate(order, start=1):
        found = channel_means(quantised, wave, crops)
        for name in wave:
            error = found[name] - expected[name]
            largest = max(largest, float(np.abs(error).max()))
            conv = makers.get(f"{name}{FIRST}", makers[name])  # of two terms, the first has the bias
            bias = weights.get(conv.input[2]) if len(conv.input) > 2 else None  # noqa: PLR2004
            if bias is not None:
                value = (numpy_helper.to_array(bias) - error).astype(np.float32)
                bias.CopyFrom(numpy_helper.from_array(value, bias.name))
        _log.info("biases: wave %d of %d", number, len(order))
    return largest
