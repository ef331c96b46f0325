"""Choose each range by what it does to the embedding, starting from the range that calibration chose.

A squared error in the middle of the network counts rare large values most, but what a person is
recognised by may hang on the small ones. So each quantised tensor's range is tried at a few multiples,
all others as they are, and the one with the smallest scatter of the embeddings around the float
network's is kept. The mean difference is left out: the bias correction takes it back afterwards.
Only calibration pictures are seen, never the people on whom the engine is judged.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from calibration.collect import batch_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

#: Multiples of a range that are tried.
FACTORS: Final = (0.25, 0.35, 0.5, 0.7, 1.4)
#: What a wider range must win as a share of the scatter, and a narrower one: that cuts off what the few
#: pictures seen here do not show, and was measured to cost the worst face far more than the mean gains.
_GAIN_WIDER: Final = 0.01
_GAIN_NARROWER: Final = 0.08

_log = logging.getLogger(__name__)


class _Trial:
    """The Q/DQ network in one session whose scales are inputs, so that no trial needs a new one."""

    def __init__(self, model: Any, owners: list[str], crops: npt.NDArray[np.uint8]) -> None:
        import onnx
        import onnxruntime
        from onnx import helper

        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        self._input = copy.graph.input[0].name
        for owner in owners:
            copy.graph.input.append(
                helper.make_tensor_value_info(f"{owner}/scale", onnx.TensorProto.FLOAT, [])
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        content = copy.SerializeToString()
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._crops = crops

    def embed(self, scales: Mapping[str, float]) -> Floats:
        fed = {f"{name}/scale": np.array(value, np.float32) for name, value in scales.items()}
        rows = [
            self._session.run(None, {self._input: batch_of(crop[None]), **fed})[0] for crop in self._crops
        ]
        return np.concatenate(rows)


def scatter(found: Floats, reference: Floats) -> float:
    """Return the mean squared difference of (N, D) embeddings, without their mean difference."""
    difference = found.astype(np.float64) - reference
    return float(((difference - difference.mean(axis=0)) ** 2).sum(axis=1).mean())


def tune_scales(
    quantised: Any,
    scales: Mapping[str, float],
    limits: Mapping[str, float],
    reference: Floats,
    crops: npt.NDArray[np.uint8],
) -> dict[str, float]:
    """Return `scales` with those of the quantised tensors tuned.

    Args:
        quantised: the Q/DQ network made with `scales`.
        scales: amax / 127 by tensor.
        limits: the largest scale worth trying by tensor: that of the largest value seen.
        reference: the float network's embeddings of `crops`, (N, D).
        crops: calibration crops, (N, 224, 224, 3) uint8 RGB.
    """
    owners = list(dict.fromkeys(_owners(quantised)))
    trial = _Trial(quantised, owners, crops)
    chosen = {name: float(scales[name]) for name in owners}
    best = scatter(trial.embed(chosen), reference)
    for owner in owners:
        started = chosen[owner]
        for factor in FACTORS:
            asked = float(np.float16(min(started * factor, limits[owner])))
            found = scatter(trial.embed(chosen | {owner: asked}), reference)
            least = _GAIN_WIDER if asked > chosen[owner] else _GAIN_NARROWER
            if found < best * (1 - least):
                best, chosen[owner] = found, asked
        _log.info("%s: scale %.5f -> %.5f, scatter %.6f", owner, started, chosen[owner], best)
    return {**scales, **chosen}


def _owners(quantised: Any) -> list[str]:
    constants = {w.name for w in quantised.graph.initializer}
    scales = [
        n.input[1]
        for n in quantised.graph.node
        if n.op_type == "QuantizeLinear" and n.input[0] not in constants
    ]
    return [name.removesuffix("/scale") for name in scales]
