"""Placement, types and numbers of the quantised files, on a small network with every kind of layer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from build_engine import quantize
from build_engine.correct import channel_means, correct_biases, waves
from build_engine.fp16 import to_fp16
from build_engine.qdq import insert_qdq, quantised_weights, share_in_int8, weight_scales
from build_engine.sensitivity import sensitivity, table
from build_engine.tune import scatter, tune_scales
from calibration.collect import Scales, batch_of, choose_scales, observe, observe_channels
from calibration.emit import parse_cache
from calibration.equalise import equalise
from calibration.ranges import scale_of
from edge_app.engines.manifest import load_manifest
from edge_app.errors import ModelError
from tests import small_inception as small

if TYPE_CHECKING:
    from pathlib import Path

CROPS = small.pictures(8)
UNSEEN = small.pictures(6, seed=9)


@pytest.fixture(scope="module")
def model() -> Any:
    """Return the small network."""
    return small.network()


@pytest.fixture(scope="module")
def scales(model: Any) -> Scales:
    """Return its scales, its channels equalised."""
    channels = observe_channels(model, CROPS)
    equal = equalise(model, channels)
    return Scales(
        model_sha256="", manifest_sha256="m" * 64, method="mse", pictures=len(CROPS),
        tensors=choose_scales(equal, observe(equal, CROPS), compare=()), channels=channels, made_with={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def plain_scales(model: Any) -> dict[str, float]:
    """Return the scales of the network as it is."""
    return {name: t.scale for name, t in choose_scales(model, observe(model, CROPS), compare=()).items()}


def _embed(model: Any, crops: Any = UNSEEN) -> Any:
    return quantize.embed(model, batch_of(crops))


def _cosine(a: Any, b: Any) -> float:
    return float((a * b).sum(axis=1).min())


def _makers(model: Any) -> dict[str, Any]:
    return {output: node for node in model.graph.node for output in node.output}


def test_qdq_stands_on_ordinary_convolutions_inputs_and_weights_and_nowhere_else(
    model: Any, plain_scales: dict[str, float]
) -> None:
    """Not on biases, sums, concatenations, depthwise convolutions, the pooling or the embedding."""
    quantised = insert_qdq(model, plain_scales)
    makers = _makers(quantised)
    for node in quantised.graph.node:
        fed = [name for name in node.input if name in makers and makers[name].op_type == "DequantizeLinear"]
        if node.name in small.ORDINARY:
            assert list(node.input[:2]) == fed, node.name
        elif node.op_type == "MaxPool" and node.name != "down":
            assert [node.input[0]] == fed
        else:
            assert [] == fed, node.name
    read = {node.input[0] for node in quantised.graph.node if node.op_type == "QuantizeLinear"}
    weights = {f"{name}/kernel" for name in small.ORDINARY}
    assert {"input", "f4_pool", "f2_depthwise", "down", "side_pool"} | weights == read


def test_nothing_stands_between_a_convolution_and_its_relu(
    model: Any, plain_scales: dict[str, float]
) -> None:
    """ONNX Runtime and TensorRT fuse only what is side by side."""
    quantised = insert_qdq(model, plain_scales)
    makers = _makers(quantised)
    relus = [node for node in quantised.graph.node if node.op_type == "Relu"]
    assert relus
    assert {"Conv"} == {makers[node.input[0]].op_type for node in relus}


def test_scales_are_symmetric_and_per_channel_for_weights(model: Any, plain_scales: dict[str, float]) -> None:
    """Signed bytes, zero point 0, one scale an output channel; a pool has the scale of what it reads."""
    quantised = insert_qdq(model, plain_scales)
    constants = {w.name: w for w in quantised.graph.initializer}
    for node in quantised.graph.node:
        if node.op_type == "QuantizeLinear":
            zero = constants[node.input[2]]
            assert TensorProto.INT8 == zero.data_type
            assert not numpy_helper.to_array(zero).any()
            weight = node.input[0] in constants
            expected = [constants[node.input[0]].dims[0]] if weight else []
            assert expected == list(constants[node.input[1]].dims)
    scale_names = {
        node.input[0]: node.input[1] for node in quantised.graph.node if node.op_type == "QuantizeLinear"
    }
    assert scale_names["input"] == scale_names["f4_pool"]
    assert scale_names["down"] == scale_names["side_pool"]


def test_weight_scales_beat_the_plain_ones() -> None:
    """The squared error is never above that of amax / 127, and weights stay in -127..127."""
    kernel = np.random.default_rng(1).laplace(0, 1, (3, 4000, 3, 3)).astype(np.float32)
    scales = weight_scales(kernel)

    def error(step: Any) -> Any:
        steps = step.reshape(-1, 1, 1, 1)
        copy = quantised_weights(kernel, step) * steps
        return ((kernel - copy) ** 2).sum(axis=(1, 2, 3))

    plain = np.array([scale_of(float(np.abs(row).max())) for row in kernel], np.float32)
    assert (error(scales) <= error(plain) + 1e-9).all()
    assert error(scales).sum() < 0.9 * error(plain).sum()
    assert 127 == np.abs(quantised_weights(kernel, scales)).max()


def test_share_of_multiply_adds_by_hand(model: Any, plain_scales: dict[str, float]) -> None:
    """Six convolutions at 32x32 and 16x16; the depthwise one and the matrix product stay in float."""
    big, small_map, c, d = 32 * 32, 16 * 16, small.CHANNELS, small.DIM
    quantised = big * (3 * 2 * c + 3 * c + 3 * c + c * c) + 2 * small_map * (2 * c * d)
    found = share_in_int8(insert_qdq(model, plain_scales))
    assert (6, 7, quantised) == (found.convolutions, found.of, found.macs)
    assert quantised + big * 9 * c + d * d == found.all_macs


def test_int8_is_near_float_and_the_steps_help(
    model: Any, scales: Scales, plain_scales: dict[str, float]
) -> None:
    """Equalised, tuned and corrected is nearer to float on unseen pictures than plain Q/DQ."""
    network = quantize.quantise(model, scales, CROPS)
    reference = _embed(model)
    assert _cosine(reference, _embed(network.equal)) > 0.99999
    plain, best = (
        _cosine(reference, _embed(insert_qdq(model, plain_scales))),
        _cosine(reference, _embed(network.quantised)),
    )
    assert best > 0.995
    assert 1 - best < 0.7 * (1 - plain)


def test_bias_correction_takes_the_mean_error_back(model: Any, scales: Scales) -> None:
    """After it, a channel is off on average by a fraction of what it was; waves go front to back."""
    order = waves(model)
    assert [{"f5", "f2_in", "f4"}, {"f2"}, {"next", "side"}] == [set(wave) for wave in order]
    equal = equalise(model, scales.channels)
    quantised = insert_qdq(equal, {name: t.scale for name, t in scales.tensors.items()})
    names = [name for wave in order for name in wave]
    expected = channel_means(equal, names, CROPS)
    largest = correct_biases(quantised, equal, CROPS)
    after = channel_means(quantised, names, CROPS)
    assert largest > 0.001
    assert max(float(np.abs(after[n] - expected[n]).max()) for n in names) < 0.05 * largest


def test_tuning_mends_a_range_that_is_wrong(model: Any, plain_scales: dict[str, float]) -> None:
    """A range eight times too wide is narrowed, and nothing gets worse on the pictures it is tuned on."""
    wrong = plain_scales | {"f2_depthwise": 8 * plain_scales["f2_depthwise"]}
    quantised = insert_qdq(model, wrong)
    reference = _embed(model, CROPS)
    limits = dict.fromkeys(("input", "f2_depthwise", "down"), 1e3)
    tuned = tune_scales(quantised, wrong, limits, reference, CROPS)
    assert tuned["f2_depthwise"] < 0.6 * wrong["f2_depthwise"]
    before, after = (scatter(_embed(insert_qdq(model, s), CROPS), reference) for s in (wrong, tuned))
    assert after < before


def test_fp16_twin_has_no_fp32_outside_the_tail(model: Any, scales: Scales) -> None:
    """FP16 weights and scales, INT8 weights dequantised once, float32 in and out and after the matrix."""
    quantised = quantize.quantise(model, scales, None).quantised
    twin = to_fp16(quantised)
    assert 19 == twin.opset_import[0].version
    kinds = {w.name: w.data_type for w in twin.graph.initializer}
    assert TensorProto.FLOAT not in kinds.values()
    makers = {node.output[0]: node for node in twin.graph.node}
    wide = makers[makers["length"].input[0]]
    assert ("Cast", TensorProto.FLOAT, "MatMul") == (
        wide.op_type,
        wide.attribute[0].i,
        makers[wide.input[0]].op_type,
    )
    kernels = {
        name
        for name, kind in kinds.items()
        if kind == TensorProto.INT8 and "kernel" in name and "zero" not in name
    }
    assert {f"{name}/kernel/quantised" for name in small.ORDINARY} == kernels
    values = [twin.graph.input[0], twin.graph.output[0]]
    assert [TensorProto.FLOAT] * 2 == [value.type.tensor_type.elem_type for value in values]
    assert _cosine(_embed(quantised), _embed(twin)) > 0.999
    assert _cosine(_embed(model), _embed(to_fp16(model))) > 0.9999


def test_weight_beyond_fp16_is_refused(model: Any) -> None:
    """It would become infinity."""
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    kernel = next(w for w in broken.graph.initializer if w.name == "f5/kernel")
    kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel) * np.float32(1e6), kernel.name))
    with pytest.raises(ModelError, match="too large for FP16"):
        to_fp16(broken)


def test_sensitivity_ranks_the_layers(model: Any, plain_scales: dict[str, float]) -> None:
    """A layer whose range is ten times too narrow comes first, with the lowest signal-to-noise ratio."""
    spoilt = plain_scales | {"f2_depthwise": plain_scales["f2_depthwise"] / 10}
    layers = sensitivity(model, insert_qdq(model, spoilt), spoilt, CROPS[:3])
    assert set(small.ORDINARY) == {layer.name for layer in layers}
    assert "f2" == layers[0].name == min(layers, key=lambda layer: layer.snr_db).name
    assert layers[0].alone_least <= layers[0].alone_mean < layers[-1].alone_mean
    total = share_in_int8(insert_qdq(model, plain_scales)).mac_share
    assert total == pytest.approx(sum(layer.mac_share for layer in layers))
    assert "| f2 |" in table(layers)


def test_missing_scale_is_named(model: Any) -> None:
    """No scale, or nothing to quantise at all."""
    with pytest.raises(ModelError, match="no scale for 'input'"):
        insert_qdq(model, {})
    with pytest.raises(ModelError, match="no convolution to quantise"):
        insert_qdq(model, {}, only=["nowhere"])


@pytest.fixture
def files(model: Any, scales: Scales, tmp_path: Path) -> Path:
    """Return a folder with the plain network, its manifest and its scales."""
    from dataclasses import replace

    record = {
        "kind": "recogniser", "input": {"name": "picture", "shape": [None, 3, 224, 224], "dtype": "float32"},
        "output": {"name": "embedding", "dim": small.DIM}, "threshold": 0.5, "threshold_source": "none",
        "preprocess": {p.key.removeprefix("preprocess_"): p.value for p in model.metadata_props},
        "licence": "MIT", "training": "none",
    }  # fmt: skip
    path = quantize.write_variant(tmp_path, "x.plain", model, record)
    replace(scales, model_sha256=load_manifest(path).sha256).write(tmp_path / "scales.json")
    return tmp_path


def test_every_file_is_written_and_can_be_read(files: Path) -> None:
    """Both Q/DQ files and the equalised one load by their manifests and agree; the cache has every scale."""
    result = quantize.quantize_files(
        files / "x.plain.json", files / "scales.json", files / "out", version="8602", pictures=None
    )
    names = ["x.equal", "x.qdq-fp32", "x.qdq-fp16"]
    assert [f"{name}.json" for name in names] == [path.name for path in result.files[:3]]
    models = [onnx.load(load_manifest(path).verify()) for path in result.files[:3]]
    equal, fp32, fp16 = (_embed(model) for model in models)
    assert _cosine(equal, fp32) > 0.98
    assert _cosine(fp32, fp16) > 0.999
    content = json.loads(result.files[1].read_text())
    assert ("int8", 6, 7) == (content["precision"], content["int8"]["convolutions"], content["int8"]["of"])
    assert (
        load_manifest(files / "x.plain.json").sha256
        == content["model_sha256"]
        == content["golden"]["reference_sha256"]
    )
    assert (2, small.DIM) == np.shape(content["golden"]["embedding"])
    _, cached = parse_cache((files / "out/x.calib.cache").read_text())
    assert {"picture", "input", "down", "embedding"} <= set(cached)
    assert "6 of 7 convolutions" in result.summary()


def test_scales_of_another_network_are_refused(files: Path, scales: Scales) -> None:
    """They would be applied to whatever has the same names."""
    scales.write(files / "scales.json")
    with pytest.raises(ModelError, match="measured on another network"):
        quantize.quantize_files(
            files / "x.plain.json", files / "scales.json", files, version="1", pictures=None
        )
    (files / "x.plain.onnx").write_bytes((files / "x.plain.onnx").read_bytes()[:-7])
    with pytest.raises(ModelError, match="another file than expected"):
        quantize.quantize_files(
            files / "x.plain.json", files / "scales.json", files, version="1", pictures=None
        )
