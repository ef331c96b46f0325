from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from calibration.collect import (
    Scales,
    batch_of,
    choose_scales,
    load_scales,
    observe,
    observe_channels,
    require_normalised,
)  # fmt: skip
from calibration.equalise import Channels, equalisable_tensors, equalise
from calibration.network import load_network, parse_network, quantised_tensors
from calibration.report import report_html
from edge_app.errors import ModelError
from tests import small_inception as small

if TYPE_CHECKING:
    from pathlib import Path

CROPS = small.pictures(6)


@pytest.fixture(scope="module")
def model() -> Any:
    """Return the small network."""
    return small.network()


def _embed(model: Any, crops: Any = CROPS) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"picture": batch_of(crops)})[0]


def test_quantised_are_the_inputs_of_ordinary_convolutions(model: Any) -> None:
    """A max pool's result shares the scale of what it reads; a depthwise convolution's input is not there."""
    shared = {
        "input": "input",
        "f4_pool": "input",
        "f2_depthwise": "f2_depthwise",
        "down": "down",
        "side_pool": "down",
    }
    assert shared == quantised_tensors(model)


def test_ranges_are_those_of_the_values(model: Any) -> None:
    """Extremes and counts of a tensor, against the values that ONNX Runtime gives for it."""
    histograms = observe(model, CROPS)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.append(onnx.ValueInfoProto(name="down"))
    import onnxruntime

    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(["down"], {"picture": batch_of(CROPS)})[0]
    seen = histograms["down"]
    assert (values.min(), values.max()) == (
        pytest.approx(seen.low, rel=1e-5),
        pytest.approx(seen.high, rel=1e-5),
    )
    assert values.size == seen.counts.sum()
    assert {"picture", "f2_depthwise", "embedding", "gap"} <= set(histograms)


def test_scales_come_back_from_their_file(model: Any, tmp_path: Path) -> None:
    """Every value, and the hash of the file; a pool's scale is that of what it reads."""
    channels = observe_channels(model, CROPS)
    equal = equalise(model, channels)
    histograms = observe(equal, CROPS)
    scales = Scales(
        model_sha256="a" * 64, manifest_sha256="b" * 64, method="mse", pictures=len(CROPS),
        tensors=choose_scales(equal, histograms), channels=channels, made_with={"onnxruntime": "x"},
    )  # fmt: skip
    digest = scales.write(tmp_path / "scales.json")
    loaded, found = load_scales(tmp_path / "scales.json")
    assert hashlib.sha256((tmp_path / "scales.json").read_bytes()).hexdigest() == found == digest
    assert scales.as_json() == loaded.as_json()
    assert loaded.tensors["side_pool"].scale == loaded.tensors["down"].scale
    assert {"max", "percentile", "mse", "wide", "entropy"} == set(loaded.tensors["down"].by_method)
    page = report_html(scales, histograms)
    assert all(f"<b>{name}</b>" in page for name in quantised_tensors(model))


def test_broken_scales_are_refused(tmp_path: Path) -> None:
    """Missing, garbage, or of another format: one line that says how to make them."""
    for content in (None, b"", b"{", b"[]", b'{"format": "other", "preprocess": {"id": "x", "sha256": "y"}}'):
        path = tmp_path / "scales.json"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ModelError, match="cannot be used"):
            load_scales(path)


def test_equalising_changes_nothing_but_the_channels(model: Any) -> None:
    """The embedding stays to 1e-5, and the widths of a tensor's channels come together."""
    assert ["f2_depthwise", "down"] == equalisable_tensors(model)
    channels = observe_channels(model, CROPS)
    equal = equalise(model, channels)
    np.testing.assert_allclose(_embed(model), _embed(equal), atol=1e-5)

    def unequal(proto: Any) -> float:
        seen = observe_channels(proto, CROPS)["down"].factor
        return float(seen.max() / seen.min())

    assert unequal(equal) < 0.5 * unequal(model)


def test_equalising_another_network_is_refused(model: Any) -> None:
    """A tensor that is not there, or has other channels."""
    for name, size in (("nowhere", 4), ("down", 3)):
        with pytest.raises(ModelError, match=name):
            equalise(model, {name: Channels(np.ones(size), np.zeros(size))})
    with pytest.raises(ValueError, match="positive and finite"):
        Channels(np.zeros(2), np.zeros(2))


@pytest.mark.parametrize(
    "spoil", [lambda b: b * 127.5 + 127.5, lambda b: (b + 1) / 2, lambda b: b[:, :, ::2]]
)
def test_wrong_preprocessing_is_refused(spoil: Any) -> None:
    """0..255 fed raw, divided by 255, another size: each would calibrate to nonsense."""
    good = batch_of(CROPS)
    require_normalised(good)
    with pytest.raises(ModelError, match="wrong preprocessing"):
        require_normalised(spoil(good).astype(np.float32))


def test_weights_that_are_not_finite_are_refused(model: Any) -> None:
    """A NaN in a weight is found while ranges are measured, not in a mine."""
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    kernel = next(w for w in broken.graph.initializer if w.name == "f5/kernel")
    value = onnx.numpy_helper.to_array(kernel).copy()
    value[0] = np.nan
    kernel.CopyFrom(onnx.numpy_helper.from_array(value, kernel.name))
    with pytest.raises(ModelError, match="not finite"):
        observe(broken, CROPS[:1])


def test_broken_networks_are_refused(model: Any, tmp_path: Path) -> None:
    """Missing, empty, garbage, cut short, an unknown operator, an altered file, no network at all."""
    content = model.SerializeToString()
    path = tmp_path / "x.onnx"
    with pytest.raises(ModelError, match="cannot be read"):
        load_network(path)
    for bad, reason in (
        (b"", "is empty"),
        (b"garbage" * 40, "no ONNX file|no network"),
        (content[:-40], "x.onnx"),
    ):
        path.write_bytes(bad)
        with pytest.raises(ModelError, match=reason):
            load_network(path)
    path.write_bytes(content)
    with pytest.raises(ModelError, match="another file than expected"):
        load_network(path, sha256="0" * 64)
    unknown = onnx.ModelProto()
    unknown.CopyFrom(model)
    unknown.graph.node[0].op_type = "Frobnicate"
    with pytest.raises(ModelError, match="Frobnicate"):
        parse_network(unknown.SerializeToString(), name="x")
    dangling = onnx.ModelProto()
    dangling.CopyFrom(model)
    dangling.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ModelError, match="nowhere"):
        parse_network(dangling.SerializeToString(), name="x")
