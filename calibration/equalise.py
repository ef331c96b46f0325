"""Make the channels of every quantised tensor equally wide, without changing what the network computes.

One scale serves all channels of a tensor, so a channel with a tenth of the widest one's range gets a
tenth of the levels. In this network every quantised tensor but the picture is made by something that
can scale and shift each channel for free -- a BatchNormalization, or a depthwise convolution without
activation -- and is read by 1x1 convolutions only, directly or through max pools, which commute with a
positive scale and a shift. So ``x`` becomes ``(x - centre) / factor``, and the readers take ``factor`` into
their weights and ``centre`` into their biases (Nagel et al. 2019, *Data-Free Quantization Through Weight
Equalization and Bias Correction*; the compromise between activations and weights is that of Xiao et al.
2023, *SmoothQuant*). The centre turns a one-sided range into a symmetric one and wins up to one bit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from calibration.network import attribute, quantised_tensors
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

#: 1 would make activations equal and leave weights unequal, 0 the other way round.
BALANCE: Final = 0.5
#: A constant per channel of a map is (C, 1, 1) or (1, C, 1, 1).
_MAP_AXES: Final = 3
#: A channel counts as at least this share of the widest: dead channels stay dead.
_LEAST: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Channels:
    """What is done to a tensor's channels, both (C,): ``(x - centre) / factor``, factor above 0."""

    factor: Floats
    centre: Floats

    def __post_init__(self) -> None:
        """Refuse factors that are not positive and finite."""
        same = self.factor.shape == self.centre.shape
        if not same or not (np.isfinite(self.factor).all() and (self.factor > 0).all()):
            msg = f"factors must be positive and finite, one a channel; received {self.factor}"
            raise ValueError(msg)


@dataclass(slots=True)
class ChannelExtremes:
    """The mean over pictures of each channel's smallest and largest value, (C,) each."""

    low: Floats
    high: Floats
    pictures: int = 0

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Take in one picture's `values`, (1, C, H, W)."""
        self.pictures += 1
        self.low = self.low + (values[0].min(axis=(1, 2)) - self.low) / self.pictures
        self.high = self.high + (values[0].max(axis=(1, 2)) - self.high) / self.pictures


class _Graph:
    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        self.model = model
        self.weights = {w.name: numpy_helper.to_array(w).astype(np.float64) for w in model.graph.initializer}
        self.makers = {output: node for node in model.graph.node for output in node.output}
        self.changed: set[str] = set()
        self.uses = Counter(name for node in model.graph.node for name in node.input)

    def constant_of(self, node: Any) -> str:
        return str(next(name for name in node.input if name in self.weights))

    def maker(self, tensor: str) -> Any:
        """Return the node that makes `tensor`, behind max pools; None for an input of the network."""
        node = self.makers.get(tensor)
        return self.maker(node.input[0]) if node is not None and node.op_type == "MaxPool" else node

    def readers(self, tensor: str) -> list[Any]:
        """Return the nodes that read `tensor`, directly or through max pools."""
        found: list[Any] = []
        for node in self.model.graph.node:
            if tensor in node.input:
                found += self.readers(node.output[0]) if node.op_type == "MaxPool" else [node]
        return found

    def set(self, name: str, value: npt.NDArray[np.floating]) -> None:
        self.weights[name] = np.asarray(value, np.float64)
        self.changed.add(name)

    def finish(self) -> Any:
        from onnx import numpy_helper

        known = {w.name: w for w in self.model.graph.initializer}
        for name in sorted(self.changed):
            value = numpy_helper.from_array(np.ascontiguousarray(self.weights[name], np.float32), name)
            if name in known:
                known[name].CopyFrom(value)
            else:
                self.model.graph.initializer.append(value)
        return self.model


def _rescalable(graph: _Graph, tensor: str) -> bool:
    """Tell whether the channels of `tensor` can be scaled and shifted without changing the network."""
    node = graph.maker(tensor)
    if node is None:
        return False
    root = node.output[0]
    outputs = {value.name for value in graph.model.graph.output}
    readers = graph.readers(root)
    plain = all(r.op_type == "Conv" and graph.weights[r.input[1]].shape[2:] == (1, 1) for r in readers)
    grouped = any(attribute(r, "group", 1) != 1 for r in readers)
    if not readers or not plain or grouped or root in outputs:
        return False
    if any(graph.uses[name] > 1 for reader in readers for name in reader.input[1:]):
        return False
    if node.op_type == "Conv":
        alone = all(graph.uses[name] == 1 for name in node.input[1:])
        return alone and attribute(node, "group", 1) == len(graph.weights[node.input[1]])
    return _affine(graph, node) is not None


def _affine(graph: _Graph, node: Any) -> tuple[str, str] | None:
    """Return the names of scale and shift where `node` is the Add of a BatchNormalization."""
    if node.op_type != "Add" or sum(name in graph.weights for name in node.input) != 1:
        return None
    shift = graph.constant_of(node)
    before = graph.makers.get(next(name for name in node.input if name != shift))
    if before is None or before.op_type != "Mul" or sum(n in graph.weights for n in before.input) != 1:
        return None
    scale = graph.constant_of(before)
    channels = graph.weights[shift].size
    wide = (graph.weights[name] for name in (scale, shift))
    fits = graph.uses[scale] == graph.uses[shift] == 1 and all(
        w.ndim >= _MAP_AXES and w.size == channels == w.shape[-3] for w in wide
    )
    return (scale, shift) if fits else None


def choose_channels(
    model: Any, extremes: Mapping[str, ChannelExtremes], *, balance: float = BALANCE
) -> dict[str, Channels]:
    """Return factor and centre for every tensor in `extremes` whose channels can be equalised."""
    graph = _Graph(model)
    found: dict[str, Channels] = {}
    for tensor, seen in extremes.items():
        if not _rescalable(graph, tensor):
            continue
        centre = (seen.low + seen.high) / 2
        width = _floored((seen.high - seen.low) / 2)
        readers = graph.readers(graph.maker(tensor).output[0])
        columns = [np.abs(graph.weights[r.input[1]]).max(axis=(0, 2, 3)) for r in readers]
        factor = width**balance / _floored(np.max(columns, axis=0)) ** (1 - balance)
        found[tensor] = Channels(factor / np.exp(np.log(factor).mean()), centre)
    return found


def _floored(values: Floats) -> Floats:
    return np.asarray(np.maximum(values, max(_LEAST * float(values.max()), 1e-9)), np.float64)


def equalisable_tensors(model: Any) -> list[str]:
    """Return the quantised tensors whose channels can be equalised, in graph order."""
    graph = _Graph(model)
    owners = dict.fromkeys(quantised_tensors(model).values())
    return [tensor for tensor in owners if _rescalable(graph, tensor)]


def equalise(model: Any, channels: Mapping[str, Channels]) -> Any:
    """Return a copy of `model` that computes the same with its tensors' `channels` equalised.

    Raises:
        ModelError: a tensor cannot be equalised, or has another number of channels.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = _Graph(copy)
    for tensor, change in channels.items():
        if not _rescalable(graph, tensor):
            raise ModelError(
                f"the channels of {tensor!r} cannot be equalised in this network",
                fix="the scales are of another network: dsr-calibrate collect",
            )
        try:
            _make(graph, graph.maker(tensor), change)
            for reader in graph.readers(graph.maker(tensor).output[0]):
                _read(graph, reader, change)
        except ValueError as error:
            raise ModelError(f"{tensor!r} has another number of channels than its scales: {error}") from error
    return graph.finish()


def _make(graph: _Graph, node: Any, change: Channels) -> None:
    """Let `node` make ``(x - centre) / factor`` instead of x."""
    if node.op_type == "Conv":
        kernel = graph.weights[node.input[1]]
        graph.set(node.input[1], kernel / change.factor.reshape(-1, 1, 1, 1))
        bias = graph.weights[node.input[2]] if len(node.input) > 2 else 0.0  # noqa: PLR2004 -- the bias is third
        if len(node.input) == 2:  # noqa: PLR2004 -- it has none yet
            node.input.append(f"{node.output[0]}/bias")
        graph.set(node.input[2], (bias - change.centre) / change.factor)
        return
    names = _affine(graph, node)
    assert names is not None  # noqa: S101 -- _rescalable said so
    scale, shift = (graph.weights[name] for name in names)
    graph.set(names[0], scale / change.factor.reshape(scale.shape))
    graph.set(names[1], (shift - change.centre.reshape(shift.shape)) / change.factor.reshape(shift.shape))


def _read(graph: _Graph, node: Any, change: Channels) -> None:
    """Let the 1x1 convolution `node` read ``(x - centre) / factor`` and give what it gave."""
    kernel = graph.weights[node.input[1]]
    moved = kernel[:, :, 0, 0] @ change.centre
    if len(node.input) == 2:  # noqa: PLR2004 -- it has no bias yet
        node.input.append(f"{node.output[0]}/bias")
        graph.set(node.input[2], moved)
    else:
        graph.set(node.input[2], graph.weights[node.input[2]] + moved)
    graph.set(node.input[1], kernel * change.factor.reshape(1, -1, 1, 1))
