from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest

from build_engine.split import split_residuals
from edge_app.errors import ModelError
from tests.engine_models import _Builder
from tests.tiny_models import mean_colour_network, save, tensor

if TYPE_CHECKING:
    from pathlib import Path

PICTURES = np.random.default_rng(0).uniform(-1, 1, (3, 3, 16, 16)).astype(np.float32)


def network(
    path: Path, *, widths: tuple[int, ...] = (4, 6, 2), twice: bool = False, second: bool = False
) -> Any:
    """Return a stage that joins branches of these widths, adds a residual and pools; `twice` two of them.

    With `second` somebody else reads the residual, so it must stay whole.
    """
    b = _Builder(5)
    x, channels = "input", 3
    for stage in ("a", "b") if twice else ("a",):
        branches = [b.conv(x, f"{stage}{i}", width, channels, 1, 1) for i, width in enumerate(widths)]
        joined = b.add("Concat", branches, f"{stage}_join", axis=1)
        residual = b.conv(x, f"{stage}_residual", sum(widths), channels, 1, 1)
        added = b.add("Add", [joined, residual], f"{stage}_add")
        x = b.add("MaxPool", [added], f"{stage}_pool", kernel_shape=[2, 2], strides=[2, 2])
        channels = sum(widths)
    if second:
        pooled = b.add("MaxPool", [residual], "also", kernel_shape=[2, 2], strides=[2, 2])
        x = b.add("Add", [x, pooled], "more")
    b.add("GlobalAveragePool", [x], "out")
    path = save(
        path, b.nodes, [tensor("input", ["N", 3, 16, 16])], [tensor("out", ["N", channels, 1, 1])], b.weights
    )
    return onnx.load(path)


def answer(model: Any) -> np.ndarray:
    """Return what ONNX Runtime says of the pictures."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"input": PICTURES})[0]
    return result


def kinds(model: Any, kind: str) -> int:
    """Return how many nodes of a kind there are."""
    return sum(node.op_type == kind for node in model.graph.node)


@pytest.mark.parametrize("twice", [True, False])
def test_same_numbers_come_out(tmp_path: Path, twice: bool) -> None:
    """Branches of any width, one stage or two behind each other; the join comes after the pooling."""
    model = network(tmp_path / "n.onnx", twice=twice)
    split = split_residuals(model)
    np.testing.assert_allclose(answer(model), answer(split), atol=1e-6)
    stages = 1 + twice
    assert (3 * stages, 3 * stages, stages) == tuple(kinds(split, k) for k in ("Add", "MaxPool", "Concat"))
    assert stages == kinds(model, "Add")
    after = {node.output[0]: node.op_type for node in split.graph.node}
    joins = [node for node in split.graph.node if node.op_type == "Concat"]
    assert {"MaxPool"} == {after[name] for join in joins for name in join.input}


def test_no_weight_is_kept_twice(tmp_path: Path) -> None:
    """The residual's weights are cut, not copied."""
    model = network(tmp_path / "n.onnx")
    split = split_residuals(model)
    sizes = [sum(int(np.prod(w.dims)) for w in m.graph.initializer) for m in (model, split)]
    assert sizes[0] == sizes[1]


def test_residual_that_somebody_else_reads_stays_whole(tmp_path: Path) -> None:
    """Then there is nothing to split, and that is said."""
    with pytest.raises(ModelError, match="no stage of this network joins branches"):
        split_residuals(network(tmp_path / "n.onnx", second=True))


def test_network_of_another_kind_is_refused(tmp_path: Path) -> None:
    """Nothing is done in silence."""
    with pytest.raises(ModelError, match="no stage of this network"):
        split_residuals(onnx.load(mean_colour_network(tmp_path / "tiny.onnx")))
