from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper

from edge_app.engines import openvino_engine
from edge_app.engines.golden import golden_batch
from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.engines.openvino_engine import OpenVinoEngine, why_not_here
from edge_app.errors import ModelError
from tests.tiny_models import mean_colour_network, save, tensor

if TYPE_CHECKING:
    from pathlib import Path


def test_it_says_what_onnx_runtime_says(box: Path) -> None:
    """The same network on the golden faces, picture by picture; in BF16 where the processor has it."""
    model = box / "models" / "small.onnx"
    engine, reference = OpenVinoEngine(model), OnnxEngine(model)
    for one in golden_batch():
        (ours,), (theirs,) = engine.run(one[None]), reference.run(one[None])
        assert ((1, 128), np.float32) == (ours.shape, ours.dtype)
        assert (ours * theirs).sum() > 0.999
    engine.close()


def test_quantised_graph_runs_as_well(box: Path) -> None:
    """The Q/DQ graph of the builders means the same on the CPU."""
    models = box / "models"
    engine, reference = OpenVinoEngine(models / "small.qdq-fp32.onnx"), OnnxEngine(models / "small.onnx")
    for one in golden_batch():
        assert (engine.run(one[None])[0] * reference.run(one[None])[0]).sum() > 0.99


def test_it_takes_a_picture_or_a_pair_and_keeps_its_answers(box: Path) -> None:
    """A face and its mirror image in one run; an answer is not overwritten by the next."""
    engine = OpenVinoEngine(box / "models" / "small.onnx")
    assert ((None, 3, 224, 224), "embedding") == (engine.inputs[0].shape, engine.outputs[0].name)
    first = engine.run(golden_batch()[:1])[0]
    kept = first.copy()
    both = engine.run(golden_batch())[0]
    np.testing.assert_array_equal(kept, first)
    assert (both[0] * first[0]).sum() > 0.999
    np.testing.assert_array_equal(both, engine.run(golden_batch())[0])


def test_network_of_a_fixed_batch_keeps_it(tmp_path: Path) -> None:
    """Its own size stands in the input's shape, and no other goes in."""
    engine = OpenVinoEngine(mean_colour_network(tmp_path / "two.onnx", batch=2))
    assert (2, 3, 224, 224) == engine.inputs[0].shape
    assert 2 == len(engine.run(golden_batch())[0])
    with pytest.raises(ModelError, match="at most 2 at once"):
        engine.run(golden_batch()[:1])


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_average_pools_mean_the_same_as_convolutions(tmp_path: Path, pads: list[int]) -> None:
    """One that pads nothing is run as a depthwise convolution; another counts its edge otherwise."""
    node = helper.make_node(
        "AveragePool", ["input"], ["mean"], kernel_shape=[2, 3], strides=[2, 3], pads=pads
    )
    side = [1 + 8 // 2, 1 + 9 // 3] if any(pads) else [4, 3]
    shapes = [tensor("input", ["n", 3, 8, 9])], [tensor("mean", ["n", 3, *side])]
    model = save(tmp_path / "pool.onnx", [node], *shapes, [])
    batch = np.random.default_rng(4).uniform(-1, 1, (2, 3, 8, 9)).astype(np.float32)
    (ours,), (theirs,) = OpenVinoEngine(model).run(batch), OnnxEngine(model).run(batch)
    np.testing.assert_allclose(ours, theirs, atol=0.02)  # BF16 keeps eight bits


@pytest.mark.parametrize(
    "batch",
    [np.zeros((3, 3, 224, 224), np.float32), np.zeros((1, 3, 224, 224)), np.zeros((1, 3, 8, 8), np.float32)],
    ids=["three", "float64", "small"],
)
def test_what_does_not_fit_is_refused(box: Path, batch: np.ndarray) -> None:
    """Shape and type are named."""
    with pytest.raises(
        ModelError, match=r"takes \(None, 3, 224, 224\) float32, at most 2 at once, in openvino-cpu"
    ):
        OpenVinoEngine(box / "models" / "small.onnx").run(batch)


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "missing"])
def test_damaged_file_is_refused(box: Path, damage: str) -> None:
    """With the file's name, whatever OpenVINO says."""
    path = box / "models" / "small.onnx"
    content = path.read_bytes()
    path.unlink()
    bad = {"truncated": content[: len(content) // 2], "empty": b"", "garbage": b"?" * 999}
    if damage in bad:
        path.write_bytes(bad[damage])
    with pytest.raises(ModelError, match=r"small.onnx cannot be loaded by OpenVINO"):
        OpenVinoEngine(path)


def test_closed_engine_says_so(tmp_path: Path) -> None:
    """Twice is once."""
    engine = OpenVinoEngine(mean_colour_network(tmp_path / "tiny.onnx"))
    engine.close()
    engine.close()
    with pytest.raises(ModelError, match="is closed"):
        engine.run(golden_batch()[:1])


@pytest.mark.parametrize(
    ("flags", "here"),
    [({"avx512_bf16"}, True), ({"amx_bf16"}, True), ({"avx2", "avx512f"}, False), (set(), False)],
)
def test_it_is_a_choice_where_the_processor_computes_in_bf16(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], here: bool
) -> None:
    """In FP32 ONNX Runtime is quicker."""
    monkeypatch.setattr(openvino_engine, "cpu_flags", lambda: frozenset(flags))
    assert here == (why_not_here() is None)
