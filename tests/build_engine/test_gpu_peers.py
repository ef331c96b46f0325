from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from build_engine import gpu_peers
from edge_app.engines.golden import golden_batch
from edge_app.errors import ModelError
from tests import engine_models

if TYPE_CHECKING:
    from pathlib import Path

PICTURES = np.concatenate([golden_batch()] * 4)


def test_latency_is_of_the_timed_rounds_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones, which compile and warm up, stand in no figure."""
    now, ran = [0], [0]

    def run(_: Any) -> None:
        ran[0] += 1
        now[0] += 900_000_000 if ran[0] <= 20 else (ran[0] - 20) * 1_000_000

    monkeypatch.setattr(gpu_peers, "time", SimpleNamespace(perf_counter_ns=lambda: now[0]))
    median, p99 = gpu_peers.latency(run, PICTURES, rounds=100)
    assert (50.5, pytest.approx(99.01)) == (median, p99)


def test_every_batch_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """With the first pictures, told and handed on."""
    seen = []
    rows = list(gpu_peers.latencies(lambda batch: seen.append(len(batch)), PICTURES, rounds=1))
    assert [1, 2, 4, 8] == [row["batch"] for row in rows] == sorted(set(seen))
    assert 4 == capsys.readouterr().out.count("median")


def test_cosines_are_of_rows() -> None:
    """Whatever their length."""
    found = np.array([[2.0, 0.0], [0.0, 3.0]], np.float32)
    wanted = np.array([[1.0, 0.0], [1.0, 1.0]], np.float32)
    assert [1.0, pytest.approx(0.70711, abs=1e-5)] == list(gpu_peers.cosines(found, wanted))


def test_onnxruntime_without_cuda_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is compared with nothing in silence."""
    have = ["AzureExecutionProvider", "CPUExecutionProvider"]
    rows = gpu_peers.onnxruntime_cuda(tmp_path / "x.json", PICTURES, rounds=1, providers=have)
    assert [] == list(rows)
    said = capsys.readouterr().out
    assert "no other GPU runtime: ONNX Runtime has AzureExecutionProvider, CPUExecutionProvider here" in said


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_same_graphs_are_measured_in_onnxruntime(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every batch with median and p99; here on the CPU, which it says."""
    model = engine_models.write(tmp_path)
    rows = list(gpu_peers.onnxruntime_cuda(model, PICTURES, rounds=2, providers=[gpu_peers._CUDA]))
    assert ["small.onnx", "small.qdq-fp32.onnx"] == [row["network"] for row in rows]
    assert all("CPUExecutionProvider" in row["runtime"] for row in rows)
    assert 8 == capsys.readouterr().out.count("median")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_graph_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are measured."""
    model = engine_models.write(tmp_path)
    (tmp_path / "small.qdq-fp32.onnx").unlink()
    rows = list(gpu_peers.onnxruntime_cuda(model, PICTURES, rounds=1, providers=[gpu_peers._CUDA]))
    assert 1 == len(rows)
    assert "small.qdq-fp32.onnx: not measured" in capsys.readouterr().out


class Jax:
    """The module ``jax`` as far as it is used here: nothing is compiled, every batch has its own program."""

    __version__ = "0"

    class Device:
        """Where it runs."""

        platform = "gpu"

        def __str__(self) -> str:
            """Return its name."""
            return "cuda:0"

    ShapeDtypeStruct = staticmethod(np.zeros)

    def devices(self) -> list[Device]:
        """Return the only one."""
        return [self.Device()]


class Forward:
    """What ``jax.jit`` returns: takes the shape that it was compiled for and no other."""

    def __init__(self, run: Any) -> None:
        self.run, self.shape = run, None

    def lower(self, like: Any) -> Forward:
        """Return it for one shape."""
        made = Forward(self.run)
        made.shape = like.shape
        return made

    def compile(self) -> Forward:
        """Return it."""
        return self

    def __call__(self, x: Any) -> Any:
        """Run it."""
        assert self.shape == x.shape
        return self.run(x)


def test_keras_model_is_measured_in_both_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures go in as Keras takes them; what comes out is held against the FP32 model."""
    asked = []

    def jitted(_keras: Any, _jax: Any, _path: Path, dtype: str) -> Forward:
        asked.append(dtype)
        return Forward(lambda x: x.mean((1, 2)))

    keras = type("Keras", (), {"__version__": "3"})
    monkeypatch.setattr(gpu_peers, "_backend", lambda: (keras, Jax()))
    monkeypatch.setattr(gpu_peers, "_jitted", jitted)
    wanted = PICTURES.mean((2, 3))
    rows = list(gpu_peers.keras_jax(tmp_path / "x.keras", PICTURES, wanted, rounds=1))
    assert ["float32", "bfloat16"] == asked == [row["type"] for row in rows]
    assert all(row["cosine_least"] == pytest.approx(1.0) for row in rows)
    assert all([1, 2, 4, 8] == [one["batch"] for one in row["latency"]] for row in rows)
    assert "on cuda:0" in capsys.readouterr().out


def test_without_jax_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No lock holds it: it is for machines with a GPU."""

    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(gpu_peers.importlib, "import_module", missing)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(ModelError, match="No module named 'jax'"):
        list(gpu_peers.keras_jax(tmp_path / "x.keras", PICTURES, PICTURES, rounds=1))


def test_keras_on_another_backend_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process has one; the message names it."""
    backend = type("Backend", (), {"backend": staticmethod(lambda: "tensorflow")})
    module = type("Module", (), {"backend": backend})
    monkeypatch.setattr(gpu_peers.importlib, "import_module", lambda _name: module)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(ModelError, match="runs on tensorflow"):
        list(gpu_peers.keras_jax(tmp_path / "x.keras", PICTURES, PICTURES, rounds=1))
