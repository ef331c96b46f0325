"""Round weights so that a convolution's output is off least, not each weight.

Rounding every weight to the nearest step makes errors that add up wherever inputs go together. So a weight's
rounding error is made good by the weights of its row that are not rounded yet, by as much as their inputs
were seen to go with its input on the calibration pictures (Frantar et al. 2022, *GPTQ*, arXiv 2210.17323;
the idea is that of Hassibi and Stork's *optimal brain surgeon*). Scales stay what they were. What is left
of a constant error goes into the bias (`build_engine.correct`), so inputs count as their difference from
their mean. For 1x1 convolutions, which all quantised ones of this network are; others are rounded to
the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from build_engine.qdq import quantised_weights, weight_scales
from calibration.collect import Observer, batch_of, require_normalised
from calibration.network import quantised_convolutions
from calibration.ranges import QMAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

#: Added to the inputs' variances, as a share of their mean: keeps inputs that never vary from mattering.
DAMPING: Final = 0.01
_MAP_AXES: Final = 4


@dataclass(frozen=True, slots=True)
class Rounded:
    """A kernel in steps, (O, I, H, W) int8, and each output channel's scale, (O,) float32."""

    steps: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]


def input_covariances(model: Any, tensors: Sequence[str], crops: npt.NDArray[np.uint8]) -> dict[str, Floats]:
    """Return how the channels of each tensor go together, (C, C), over all places of all `crops`."""
    observer = Observer(model, list(tensors))
    total: dict[str, Floats] = {}
    mean: dict[str, Floats] = {}
    count: dict[str, int] = {}
    for crop in crops:
        batch = batch_of(crop[None])
        require_normalised(batch)
        for name, value in observer.run(batch).items():
            if name not in tensors or value.ndim != _MAP_AXES:
                continue
            flat = value[0].reshape(value.shape[1], -1).astype(np.float64)
            total[name] = total.get(name, 0.0) + flat @ flat.T
            mean[name] = mean.get(name, 0.0) + flat.sum(axis=1)
            count[name] = count.get(name, 0) + flat.shape[1]
    return {
        name: value / count[name] - np.outer(mean[name], mean[name]) / count[name] ** 2
        for name, value in total.items()
    }


def round_kernel(kernel: npt.NDArray[np.float32], covariance: Floats) -> Rounded:
    """Return a 1x1 `kernel`, (O, I, 1, 1), rounded for inputs with this `covariance`, (I, I)."""
    scales = weight_scales(kernel)
    step = scales.astype(np.float64)
    left = kernel.reshape(len(kernel), -1).astype(np.float64)
    damped = covariance + np.eye(len(covariance)) * max(DAMPING * float(np.diag(covariance).mean()), 1e-12)
    # Inputs that vary most first: whatever they leave, the others can still make good.
    order = np.argsort(-np.diag(damped), kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    left = left[:, order]
    steps = np.empty_like(left)
    for column in range(left.shape[1]):
        steps[:, column] = np.clip(np.round(left[:, column] / step), -QMAX, QMAX)
        error = (left[:, column] - steps[:, column] * step) / upper[column, column]
        left[:, column + 1 :] -= np.outer(error, upper[column, column + 1 :])
    found = np.empty_like(steps)
    found[:, order] = steps
    return Rounded(found.reshape(kernel.shape).astype(np.int8), scales)


def round_weights(model: Any, crops: npt.NDArray[np.uint8]) -> dict[str, Rounded]:
    """Return the kernels of the ordinary convolutions of `model` by name, rounded as one."""
    from onnx import numpy_helper

    weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    nodes = quantised_convolutions(model)
    seen = input_covariances(model, list(dict.fromkeys(node.input[0] for node in nodes)), crops)
    found = {}
    for node in nodes:
        kernel = weights[node.input[1]]
        if kernel.shape[2:] == (1, 1):
            found[node.input[1]] = round_kernel(kernel, seen[node.input[0]])
        else:
            scales = weight_scales(kernel)
            found[node.input[1]] = Rounded(quantised_weights(kernel, scales), scales)
    return found
