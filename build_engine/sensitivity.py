"""Which layer costs what: each convolution quantised alone, and how noisy each is in the whole network.

``alone`` is the cosine of the embeddings when only this convolution is in INT8, least and mean over the
pictures; ``snr_db`` is the power of the convolution's output over the power of its error in the fully
quantised network, where the errors of all layers before it have arrived; ``mac_share`` says what
keeping the layer in float would cost.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from build_engine.placement import prices
from build_engine.qdq import FIRST, SECOND
from calibration.collect import Observer, batch_of
from calibration.network import quantised_convolutions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from build_engine.rounding import Rounded


@dataclass(frozen=True, slots=True)
class Layer:
    """One quantised convolution; `mac_share` is of the whole network, 0..1."""

    name: str
    reads: str
    mac_share: float
    alone_mean: float
    alone_least: float
    snr_db: float


def sensitivity(
    equal: Any,
    quantised: Any,
    scales: Mapping[str, float],
    crops: npt.NDArray[np.uint8],
    *,
    rounded: Mapping[str, Rounded] | None = None,
) -> list[Layer]:
    """Return every quantised convolution of the network, the costliest first.

    Args:
        equal: the equalised float network.
        quantised: the Q/DQ network made from it.
        scales: amax / 127 by tensor.
        crops: (N, 224, 224, 3) uint8 RGB.
        rounded: kernels in steps, as they are in `quantised`.
    """
    dequantised = {n.output[0] for n in quantised.graph.node if n.op_type == "DequantizeLinear"}
    inside = {
        n.output[0].removesuffix(FIRST)
        for n in quantised.graph.node
        if n.op_type == "Conv" and n.input[0] in dequantised
    }
    second = {n.output[0].removesuffix(SECOND) for n in quantised.graph.node if n.output[0].endswith(SECOND)}
    nodes = [node for node in quantised_convolutions(equal) if node.output[0] in inside]
    noise = _noise(equal, quantised, [node.output[0] for node in nodes], crops)
    reads = {node.output[0]: node.input[0] for node in nodes}
    layers = [
        Layer(p.name, reads[p.name], p.mac_share, 1 - p.mean, 1 - p.most, noise[p.name])
        for p in prices(equal, scales, crops, rounded=rounded, two_terms=second)
        if p.name in reads
    ]
    return sorted(layers, key=lambda layer: layer.alone_mean)


def _noise(equal: Any, quantised: Any, names: list[str], crops: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Return the signal-to-noise ratio of each tensor in decibels; infinite where there is no error."""
    clean, noisy = Observer(equal, names), Observer(quantised, names)
    power, error = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for crop in crops:
        batch = batch_of(crop[None])
        ours, theirs = clean.run(batch), noisy.run(batch)
        for name in names:
            power[name] += float((ours[name].astype(np.float64) ** 2).sum())
            error[name] += float(((theirs[name].astype(np.float64) - ours[name]) ** 2).sum())
    return {
        name: float(10 * np.log10(power[name] / error[name])) if error[name] > 0 else float("inf")
        for name in names
    }


def table(layers: Sequence[Layer]) -> str:
    """Return the layers as a Markdown table."""
    rows = [
        f"| {layer.name} | {layer.mac_share:.2%} | {layer.alone_mean:.6f} | {layer.alone_least:.6f} "
        f"| {layer.snr_db:.1f} |"
        for layer in layers
    ]
    head = "| convolution | MACs | cosine alone, mean | least | SNR dB |\n|---|---|---|---|---|"
    return "\n".join([head, *rows])


def as_json(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Return the layers as plain values."""
    return [asdict(layer) for layer in layers]
