from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from build_engine import gpu_check
from build_engine.build import BuildOptions
from build_engine.trt_api import TENSORRT_RTX, Toolkit
from edge_app.engines.machine import Gpu
from edge_app.engines.onnx_engine import OnnxEngine
from tests import engine_models

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_gpu_nothing_was_tested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is not success: the exit status and the word say so."""
    monkeypatch.setattr(gpu_check, "find_gpu", lambda: None)
    assert gpu_check.NOTHING == gpu_check.main([])
    assert "NOTHING was tested" in capsys.readouterr().err


def test_what_cannot_be_built_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Every type of every builder is told with its reason, and the run fails."""
    monkeypatch.setattr(gpu_check, "find_gpu", lambda: Gpu("RTX 3060", "8.6", "13.0"))
    assert 1 == gpu_check.main(["--model", str(tmp_path / "none.json")])
    text = capsys.readouterr().out
    assert "RTX 3060, compute capability 8.6" in text
    assert "tensorrt: not tested" in text
    assert all(f"  {precision}: [DSR-400]" in text for precision in ("fp32", "fp16", "int8"))


def test_other_runtime_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is compared with nothing in silence."""
    assert not gpu_check.other_runtime(
        tmp_path / "x.json", ["AzureExecutionProvider", "CPUExecutionProvider"]
    )
    said = capsys.readouterr().out
    assert "no other GPU runtime: ONNX Runtime has AzureExecutionProvider, CPUExecutionProvider here" in said


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_same_graphs_are_measured_in_the_other_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every batch with median and p99; here on the CPU, which it says."""
    model = engine_models.write(tmp_path)
    monkeypatch.setattr(gpu_check, "_ROUNDS", 2)
    assert gpu_check.other_runtime(model, [gpu_check._CUDA])
    said = capsys.readouterr().out
    assert "small.onnx in ONNX Runtime" in said
    assert "small.qdq-fp32.onnx in ONNX Runtime" in said
    assert 8 == said.count("median")


@pytest.mark.parametrize(("spoilt", "right"), [(False, True), (True, False)])
def test_engine_is_built_signed_run_and_judged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoilt: bool,
    right: bool,
) -> None:
    """The whole check with the real builder; ONNX Runtime runs the graph where a GPU would run its plan."""
    model = engine_models.write(tmp_path / "models")
    graph = engine_models.write(tmp_path / "other", seed=9) if spoilt else model
    monkeypatch.setattr(gpu_check, "_ROUNDS", 2)
    monkeypatch.setattr(gpu_check, "BuildOptions", functools.partial(BuildOptions, target="SM86"))
    monkeypatch.setattr(
        gpu_check, "open_plan", lambda _stored, **_how: OnnxEngine(graph.with_suffix(".onnx"))
    )
    monkeypatch.setattr(gpu_check, "require_golden", lambda *_: 1.0)
    assert right == gpu_check.check(Toolkit(TENSORRT_RTX), model, "fp32", tmp_path)
    said = capsys.readouterr().out
    assert ("right" if right else "WRONG") in said
    assert all(how in said for how in ("CUDA graph", "kernel by kernel"))
    assert 8 == said.count("median")


def test_pictures_are_lit_differently() -> None:
    """32 of them, as the network takes them."""
    batch = gpu_check.pictures()
    assert ((32, 3, 224, 224), np.float32) == (batch.shape, batch.dtype)
    assert -1.0 <= batch.min() < batch.max() <= 1.0
    assert 32 == len({float(one.mean()) for one in batch})
