"""Inputs for which eight bits are too few, carried in two INT8 terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from build_engine import quantize
from build_engine.correct import correct_biases
from build_engine.fp16 import to_fp16
from build_engine.inspect import inspect
from build_engine.layers import parse_layers
from build_engine.placement import Price, choose_two_terms
from build_engine.qdq import insert_qdq, share_in_int8
from build_engine.sensitivity import sensitivity
from build_engine.trt_api import TENSORRT_RTX, BuildRequest, Toolkit
from calibration.collect import batch_of, choose_scales, observe
from calibration.network import quantised_tensors
from tests import engine_models
from tests import small_inception as small

if TYPE_CHECKING:
    from pathlib import Path

CROPS = small.pictures(6)


@pytest.fixture(scope="module")
def model() -> Any:
    """Return the small network."""
    return small.network()


@pytest.fixture(scope="module")
def scales(model: Any) -> dict[str, float]:
    """Return its scales."""
    return {name: t.scale for name, t in choose_scales(model, observe(model, CROPS), compare=()).items()}


def off(model: Any, quantised: Any) -> float:
    """Return how far the embeddings of unseen pictures are off, 1 - cosine, mean."""
    batch = batch_of(small.pictures(4, seed=9))
    ours, theirs = quantize.embed(quantised, batch), quantize.embed(model, batch)
    return float(1 - (ours * theirs).sum(axis=1).mean())


@pytest.mark.parametrize("names", [["next"], ["f5", "f2_in"], ["side"], ["next", "side", "f4"]])
def test_second_term_brings_the_convolution_nearer_to_float(
    model: Any, scales: dict[str, float], names: list[str]
) -> None:
    """With steps that are far too coarse most of the error is gone, pooled inputs included."""
    coarse = {name: 12 * scale for name, scale in scales.items()}
    one = insert_qdq(model, coarse, only=names)
    two = insert_qdq(model, coarse, only=names, two_terms=names)
    assert off(model, two) < 0.2 * off(model, one)


def test_all_in_two_terms_leaves_the_weights_error(model: Any, scales: dict[str, float]) -> None:
    """The same weights are read twice, the bias is added once."""
    names = list(small.ORDINARY)
    coarse = {name: 12 * scale for name, scale in scales.items()}
    quantised = insert_qdq(model, coarse, two_terms=names)
    nodes = {node.output[0]: node for node in quantised.graph.node}
    for name in names:
        first, second, total = (nodes[f"{name}{end}"] for end in ("/first", "/second", ""))
        assert ("Conv", "Conv", "Add") == (first.op_type, second.op_type, total.op_type)
        assert first.input[1] == second.input[1]
        assert (3, 2) == (len(first.input), len(second.input))
        assert [first.output[0], second.output[0]] == list(total.input)
    assert 12 == share_in_int8(quantised).convolutions
    assert off(model, quantised) < 0.1 * off(model, insert_qdq(model, coarse))


def test_bias_correction_and_sensitivity_know_both_terms(model: Any, scales: dict[str, float]) -> None:
    """The bias is found at the first term; a layer in two terms is one row, and cheaper."""
    quantised = insert_qdq(model, scales, two_terms=["next"])
    assert correct_biases(quantised, model, CROPS[:3]) > 0
    coarse = {name: 12 * scale for name, scale in scales.items()}
    quantised = insert_qdq(model, coarse, two_terms=["next"])
    rows = {layer.name: layer for layer in sensitivity(model, quantised, coarse, CROPS[:2])}
    assert set(small.ORDINARY) == set(rows)
    plain = {layer.name: layer for layer in sensitivity(model, insert_qdq(model, coarse), coarse, CROPS[:2])}
    assert rows["next"].alone_mean > plain["next"].alone_mean
    assert rows["f5"].alone_mean == pytest.approx(plain["f5"].alone_mean)


def test_fp16_twin_says_the_same(model: Any, scales: dict[str, float]) -> None:
    """The second term's scale is a normal FP16 number."""
    quantised = insert_qdq(model, scales, two_terms=["next", "f5"])
    twin = to_fp16(quantised)
    batch = batch_of(CROPS[:2])
    cosine = (quantize.embed(quantised, batch) * quantize.embed(twin, batch)).sum(axis=1)
    assert cosine.min() > 0.9995
    finer = [w for w in quantised.graph.initializer if w.name.endswith("/rest/scale")]
    assert 2 == len(finer)
    assert all(float(onnx.numpy_helper.to_array(w)) >= np.finfo(np.float16).tiny for w in finer)


def test_costliest_are_chosen_within_what_may_be_spent() -> None:
    """Those in float need none; a large one is left out where two small ones save more."""
    found = [
        Price("big", 0.10, 9e-5, 2e-4, source="1"),
        Price("a", 0.03, 8e-5, 2e-4, source="2"),
        Price("b", 0.03, 5e-5, 2e-4, source="3"),
        Price("float", 0.01, 9e-4, 2e-3, source="3"),
    ]
    assert ("a", "b") == choose_two_terms(found, ["float"], most=0.1)
    assert ("big", "a") == choose_two_terms(found, ["float"], most=0.14)
    assert () == choose_two_terms(found, ["float"], most=0.0)
    heavy = [Price("a", 0.03, 8e-5, 2e-4, weight_share=0.4, source="2"), *found[2:]]
    assert ("b",) == choose_two_terms(heavy, ["float"], most=0.1), "more weights than may stand there twice"


def test_all_readers_of_a_tensor_are_chosen_together() -> None:
    """A range can only have room for rare faces where nobody reads it in one term."""
    found = [
        Price("costly", 0.03, 8e-5, 2e-4, source="shared"),
        Price("cheap", 0.06, 1e-6, 2e-6, source="shared"),
        Price("alone", 0.05, 2e-5, 4e-5, source="own"),
    ]
    assert ("costly", "cheap") == choose_two_terms(found, [], most=0.1)
    assert ("alone",) == choose_two_terms(found, [], most=0.08)
    assert ("costly",) == choose_two_terms(found, ["cheap"], most=0.04)


def test_real_builder_runs_both_terms_in_int8(tmp_path: Path) -> None:
    """As engine for SM86: nothing falls back to floating point."""
    engine_models.network(tmp_path / "x.onnx")
    model = onnx.load(tmp_path / "x.onnx")
    scales = dict.fromkeys(quantised_tensors(model).values(), 0.02)
    graph = to_fp16(insert_qdq(model, scales, two_terms=["last", "f1"])).SerializeToString()
    request = BuildRequest(precision="int8", target="SM86")
    built = Toolkit(TENSORRT_RTX).build(graph, request, on_message=lambda _: None)
    found = inspect(graph, parse_layers(built.layer_text))
    types = {one.convolution.node: one.type for one in found.placed}
    assert {"Int8"} == {types[f"{name}{end}"] for name in ("last", "f1") for end in ("/first", "/second")}
    found.require_int8()
