from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.errors import ModelError
from tests.tiny_models import DIM, WEIGHTS, mean_colour_network, save, tensor

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def engine(tmp_path: Path) -> OnnxEngine:
    """Return the tiny recogniser's engine."""
    return OnnxEngine(mean_colour_network(tmp_path / "tiny.onnx"))


def test_network_computes_what_it_says(engine: OnnxEngine) -> None:
    """The outputs are the network's own arithmetic."""
    batch = np.random.default_rng(1).normal(size=(2, 3, 224, 224)).astype(np.float32)
    (output,) = engine.run(batch)
    np.testing.assert_allclose(batch.mean(axis=(2, 3)) @ WEIGHTS, output, atol=1e-5)


def test_engine_describes_itself(engine: OnnxEngine) -> None:
    """Backend, inputs and outputs are told, a dynamic axis as None."""
    assert "onnxruntime-cpu" == engine.backend
    assert ("input", (None, 3, 224, 224), "float32") == (
        engine.inputs[0].name,
        engine.inputs[0].shape,
        engine.inputs[0].dtype,
    )
    assert [("embedding", (None, DIM))] == [(spec.name, spec.shape) for spec in engine.outputs]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\x00garbage" * 100, r"\(800 bytes\) cannot be loaded by ONNX Runtime"),
        (None, "No such file"),
    ],
)
def test_file_that_is_no_network(tmp_path: Path, content: bytes | None, told: str) -> None:
    """Empty, garbage and missing files are told apart."""
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=told) as caught:
        OnnxEngine(path)
    assert caught.value.fix


def test_network_cut_short(tmp_path: Path) -> None:
    """Half of a network is no network."""
    path = mean_colour_network(tmp_path / "tiny.onnx")
    path.write_bytes(path.read_bytes()[:120])
    with pytest.raises(ModelError, match="cannot be loaded"):
        OnnxEngine(path)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 3, 112, 112), np.float32),
        np.zeros((3, 224, 224), np.float32),
        np.zeros((0, 3, 224, 224), np.float32),
        np.zeros((1, 3, 224, 224), np.float64),
    ],
)
def test_wrong_input_is_refused(engine: OnnxEngine, batch: np.ndarray) -> None:  # type: ignore[type-arg]
    """Shape and dtype are checked before the network sees them, and both sides are told."""
    with pytest.raises(ModelError, match=r"takes input \(\?, 3, 224, 224\) float32; received \("):
        engine.run(batch)


def test_failure_inside_is_a_model_error(tmp_path: Path) -> None:
    """What ONNX Runtime raises while running becomes ours."""
    shape = numpy_helper.from_array(np.array([1, 12], np.int64), "shape")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    path = save(tmp_path / "r.onnx", nodes, [tensor("x", [1, "n"])], [tensor("y", [1, 12])], [shape])
    engine = OnnxEngine(path)
    assert (1, 12) == engine.run(np.zeros((1, 12), np.float32))[0].shape
    with pytest.raises(ModelError, match=r"failed on \(1, 13\) in onnxruntime-cpu"):
        engine.run(np.zeros((1, 13), np.float32))


def test_network_of_another_type_is_refused(tmp_path: Path) -> None:
    """A network that does not take one float32 picture is refused when it is opened."""
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    whole = TensorProto.INT64
    path = save(tmp_path / "i.onnx", nodes, [tensor("x", [1], whole)], [tensor("y", [1], whole)], [])
    with pytest.raises(ModelError, match=r"must have one float32 input; it has x \(1,\) int64"):
        OnnxEngine(path)


def test_closed_engine_says_so(engine: OnnxEngine) -> None:
    """Closing twice is fine, running after it is not."""
    engine.close()
    engine.close()
    with pytest.raises(ModelError, match="is closed"):
        engine.run(np.zeros((1, 3, 224, 224), np.float32))
