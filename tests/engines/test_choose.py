from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_app.engines import choose, openvino_engine
from edge_app.engines.choose import BACKENDS, Backend, open_engine
from edge_app.errors import ModelError
from tests.tiny_models import mean_colour_network

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Return a real network's file."""
    return mean_colour_network(tmp_path / "tiny.onnx")


@pytest.fixture
def _with_absent_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a backend whose module is not installed before the others."""
    absent = Backend(name="quantum", module="no_such_module", suffix=".onnx", open=BACKENDS[0].open)
    monkeypatch.setattr(choose, "BACKENDS", (absent, *BACKENDS))


def test_best_backend_is_chosen_with_its_reason(network: Path) -> None:
    """The choice is told in words, for the log."""
    opened = open_engine(network)
    assert ("onnxruntime-cpu", "onnxruntime-cpu: the best backend here") == (
        opened.engine.backend,
        opened.reason,
    )


@pytest.mark.usefixtures("_with_absent_backend")
def test_absent_backend_is_passed_over_aloud(network: Path) -> None:
    """The next row is taken, and the reason says why not the better one."""
    opened = open_engine(network)
    assert "onnxruntime-cpu" == opened.engine.backend
    assert "not quantum (the module no_such_module is not installed)" in opened.reason


@pytest.mark.usefixtures("_with_absent_backend")
def test_named_backend_is_never_replaced(network: Path) -> None:
    """Who asks for a backend by name gets it or an error."""
    assert "asked for by name" in open_engine(network, preferred="onnxruntime-cpu").reason
    with pytest.raises(ModelError, match=r"quantum .the module no_such_module is not installed"):
        open_engine(network, preferred="quantum")


def test_unknown_backend_lists_the_known(network: Path) -> None:
    """A misspelt name is answered with the table."""
    with pytest.raises(ModelError, match="no backend 'tensorflow'") as caught:
        open_engine(network, preferred="tensorflow")
    assert "onnxruntime-cpu" in caught.value.fix


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A plan for which there is no backend says what each of them runs."""
    with pytest.raises(ModelError, match=r"onnxruntime-cpu \(runs \.onnx files, not \.plan\)"):
        open_engine(tmp_path / "x.plan")


def test_backend_of_less_than_fp32_is_only_for_who_asks(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO computes in BF16 where the processor has it; the recogniser was measured in it."""
    monkeypatch.setattr(openvino_engine, "cpu_flags", lambda: frozenset({"avx512_bf16"}))
    opened = open_engine(network, reduced=True)
    assert ("openvino-cpu-bf16", False) == (opened.engine.backend, opened.last)
    assert "onnxruntime-cpu" == open_engine(network).engine.backend
    opened = open_engine(network, reduced=True, without=["openvino-cpu-bf16"])
    assert ("onnxruntime-cpu", True) == (opened.engine.backend, opened.last)


def test_processor_without_bf16_has_onnx_runtime(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the log says why it is not OpenVINO."""
    monkeypatch.setattr(openvino_engine, "cpu_flags", lambda: frozenset({"avx2"}))
    opened = open_engine(network, reduced=True)
    assert "onnxruntime-cpu" == opened.engine.backend
    assert "not openvino-cpu-bf16 (this processor has neither AVX512-BF16 nor AMX" in opened.reason
