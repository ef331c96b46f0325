from __future__ import annotations

import functools
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from build_engine import gpu_check, gpu_peers
from build_engine.build import BuildOptions
from build_engine.gpu_check import Check, Record
from build_engine.trt_api import TENSORRT_RTX, Toolkit
from edge_app.engines.machine import Gpu
from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.errors import ModelError
from tests import engine_models

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that the driver names, and nothing else of it."""
    monkeypatch.setattr(gpu_check, "find_gpu", lambda: Gpu("RTX 3060", "8.6", "13.0"))
    monkeypatch.setattr(gpu_check, "BuildOptions", functools.partial(BuildOptions, target="SM86"))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Eight crops in a file."""
    path = tmp_path / "faces.npy"
    rng = np.random.default_rng(3)
    np.save(path, rng.integers(0, 256, (8, 224, 224, 3), dtype=np.uint8))
    return path


def check_of(model: Path, record: Record | None = None) -> Check:
    """Return a short check of `model`."""
    shown = gpu_check.pictures()[:8]
    return Check(model, shown, gpu_check.reference(model, shown), rounds=2, record=record or Record())


def run_on_cpu(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    """Let ONNX Runtime run `graph` where a GPU would run its plan."""
    monkeypatch.setattr(
        gpu_check, "open_plan", lambda _stored, **_how: OnnxEngine(graph.with_suffix(".onnx"))
    )


def test_without_a_gpu_nothing_was_tested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is not success: the exit status and the word say so."""
    monkeypatch.setattr(gpu_check, "find_gpu", lambda: None)
    assert gpu_check.NOTHING == gpu_check.main([])
    assert "NOTHING was tested" in capsys.readouterr().err


@pytest.mark.usefixtures("gpu")
def test_without_its_model_nothing_is_held_against_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The FP32 model is the measure of all of them."""
    assert 1 == gpu_check.main(["--model", str(tmp_path / "none.json")])
    assert "none.json" in capsys.readouterr().err


@pytest.mark.usefixtures("gpu")
def test_what_cannot_be_built_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every type is told and recorded with its step and reason, and the run fails."""
    model = engine_models.write(tmp_path)
    for variant in ("fp16", "qdq-fp16"):
        (tmp_path / f"small.{variant}.onnx").write_bytes(b"no model")
    out = tmp_path / "record.json"
    assert 1 == gpu_check.main(["--model", str(model), "--rounds", "1", "--out", str(out)])
    text = capsys.readouterr().out
    assert "RTX 3060, compute capability 8.6" in text
    assert "tensorrt: not tested" in text
    assert all(f"  {precision}, build: [DSR-400]" in text for precision in ("fp16", "int8"))
    record = json.loads(out.read_text(encoding="utf-8"))
    assert ("RTX 3060", "8.6", "13.0") == tuple(record[k] for k in ("gpu", "compute_capability", "cuda"))
    assert record["tensorrt"].startswith("not tested")
    assert ["fp32", "fp16", "int8"] == [one["precision"] for one in record["engines"]]
    assert ["failed"] * 3 == [one["verdict"] for one in record["engines"]]
    assert ["open", "build", "build"] == [one["step"] for one in record["engines"]]
    assert "CUDA driver finds none" in record["engines"][0]["error"]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("spoilt", "verdict"), [(False, "right"), (True, "wrong")])
def test_engine_is_built_signed_run_and_judged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoilt: bool,
    verdict: str,
) -> None:
    """The whole check with the real builder; ONNX Runtime runs the graph where a GPU would run its plan."""
    model = engine_models.write(tmp_path / "models")
    run_on_cpu(monkeypatch, engine_models.write(tmp_path / "other", seed=9) if spoilt else model)
    monkeypatch.setattr(gpu_check, "require_golden", lambda *_: 1.0)
    record = Record(tmp_path / "record.json")
    right = check_of(model, record).engine(Toolkit(TENSORRT_RTX), "fp32", tmp_path)
    assert (verdict == "right") == right
    said = capsys.readouterr().out
    assert ("WRONG" if spoilt else "right") in said
    assert all(how in said for how in ("CUDA graph", "kernel by kernel"))
    assert 8 == said.count("median")
    (entry,) = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["engines"]
    assert (verdict, "time") == (entry["verdict"], entry["step"])
    assert [True, False] == [run["cuda_graph"] for run in entry["runs"]]
    assert all([1, 2, 4, 8] == [row["batch"] for row in run["latency"]] for run in entry["runs"])
    assert all(row["median_ms"] <= row["p99_ms"] for run in entry["runs"] for row in run["latency"])


@pytest.mark.usefixtures("gpu")
def test_record_names_the_step_that_took_the_process_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written before every step."""
    model = engine_models.write(tmp_path / "models")
    record = Record(tmp_path / "record.json")

    def crash(*_: Any, **__: Any) -> None:
        raise SystemExit(139)

    monkeypatch.setattr(gpu_check, "open_plan", crash)
    with pytest.raises(SystemExit):
        check_of(model, record).engine(Toolkit(TENSORRT_RTX), "fp32", tmp_path)
    (entry,) = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["engines"]
    assert ("not finished", "open") == (entry["verdict"], entry["step"])
    assert entry["plan_bytes"] > 0


def test_what_a_library_says_on_standard_error_is_kept_and_passed_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A runtime gives its reasons there, past Python."""
    lines: list[str] = []
    with gpu_check.heard(lines):
        os.write(2, b"[E] not on this GPU\nat all\n")
    os.write(2, b"after\n")
    assert ["[E] not on this GPU", "at all"] == lines
    assert "[E] not on this GPU\nat all\nafter\n" == capfd.readouterr().err


@pytest.mark.usefixtures("gpu")
def test_others_alone_leave_the_engines_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faces: Path
) -> None:
    """With none of them there, nothing was tested."""
    model = engine_models.write(tmp_path)
    measured: list[dict[str, Any]] = [{"runtime": "another"}]
    given = []

    def keras_jax(path: Path, *what: Any, **_how: Any) -> list[dict[str, Any]]:
        given.append((path.name, *(one.shape for one in what)))
        return measured

    monkeypatch.setattr(gpu_check, "onnxruntime_cuda", lambda *_, **__: [])
    monkeypatch.setattr(gpu_check, "keras_jax", keras_jax)
    out = tmp_path / "record.json"
    arguments = ["--model", str(model), "--only", "others", "--pictures", str(faces), "--out", str(out)]
    assert gpu_check.NOTHING == gpu_check.main(arguments)
    assert 0 == gpu_check.main([*arguments, "--keras", "some.keras"])
    assert [("some.keras", (8, 3, 224, 224), (8, 128))] == given
    record = json.loads(out.read_text(encoding="utf-8"))
    assert ([], measured, str(faces)) == (record["engines"], record["others"], record["pictures"])


def test_pictures_are_lit_differently() -> None:
    """32 of them, as the network takes them."""
    batch = gpu_check.pictures()
    assert ((32, 3, 224, 224), np.float32) == (batch.shape, batch.dtype)
    assert -1.0 <= batch.min() < batch.max() <= 1.0
    assert 32 == len({float(one.mean()) for one in batch})


def test_given_pictures_are_prepared_as_the_box_does(faces: Path) -> None:
    """Crops as they are saved, batches as an engine takes them."""
    batch = gpu_check.read_pictures(faces)
    assert ((8, 3, 224, 224), np.float32) == (batch.shape, batch.dtype)
    assert (np.load(faces)[5, 7, 9, 2] - 127.5) / 127.5 == pytest.approx(batch[5, 2, 7, 9])


@pytest.mark.parametrize("shape", [(7, 224, 224, 3), (8, 112, 112, 3), (8, 3, 224, 224)])
def test_pictures_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """The message says what was found and what is taken."""
    np.save(tmp_path / "x.npy", np.zeros(shape, np.uint8))
    with pytest.raises(ModelError, match="expected") as refused:
        gpu_check.read_pictures(tmp_path / "x.npy")
    assert str(shape) in refused.value.what


def test_file_that_holds_no_pictures_is_refused(tmp_path: Path) -> None:
    """Whatever it is."""
    (tmp_path / "x.npy").write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be read"):
        gpu_check.read_pictures(tmp_path / "x.npy")


@pytest.mark.usefixtures("gpu")
def test_pictures_that_cannot_be_used_end_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is built."""
    assert 1 == gpu_check.main(["--pictures", str(tmp_path / "none.npy")])
    assert "none.npy cannot be read" in capsys.readouterr().err


def test_keras_that_is_no_file_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other runtime's trouble is told in a line."""

    def refuse(*_: Any, **__: Any) -> None:
        raise ModelError("no jax here")

    model = engine_models.write(tmp_path)
    monkeypatch.setattr(gpu_peers, "_backend", refuse)
    check_of(model).others(tmp_path / "x.keras")
    assert "x.keras: not measured: no jax here" in capsys.readouterr().out
