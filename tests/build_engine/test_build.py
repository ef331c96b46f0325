from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from build_engine.build import BuildOptions, BuildResult, build_engine, free_mib
from build_engine.trt_api import TENSORRT_RTX, Built, Toolkit
from edge_app.engines.manifest import load_manifest
from edge_app.errors import BuildFailed, ModelError, NotInt8
from tests import engine_models

if TYPE_CHECKING:
    from pathlib import Path

    from build_engine.trt_api import BuildRequest


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the small recogniser as all the files that builders want."""
    return engine_models.write(tmp_path_factory.mktemp("models")).parent


@pytest.fixture(scope="module")
def rtx() -> Toolkit:
    """Return TensorRT-RTX's real builder."""
    return Toolkit(TENSORRT_RTX)


@pytest.fixture(scope="module")
def built(models: Path, rtx: Toolkit, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """Return a real INT8 engine, built once."""
    return build_engine(rtx, options(models, tmp_path_factory.mktemp("engines")), say=lambda _: None)


@pytest.fixture
def engines(built: BuildResult, tmp_path: Path) -> Path:
    """Return a folder of one's own with the built engine in it."""
    return shutil.copytree(built.manifest.parent, tmp_path / "engines")


def options(models: Path, out: Path, **changes: Any) -> BuildOptions:
    """Return the options of an INT8 build for SM86, with `changes`."""
    return dataclasses.replace(
        BuildOptions(model=models / "small.json", out=out, precision="int8", target="SM86"), **changes
    )


def files(folder: Path) -> dict[str, bytes]:
    """Return what is in `folder`, but for the lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".build.lock"}


class OutOfMemory(Toolkit):
    """The real builder on a board whose memory takes no workspace above `limit` MiB."""

    limit = 100

    def build(self, model: bytes, request: BuildRequest, *, on_message: Any) -> Built:
        """Refuse what is too large, as TensorRT does, and build the rest."""
        self.asked = [*getattr(self, "asked", []), request.workspace_mib]
        if (request.workspace_mib or 0) > self.limit:
            raise BuildFailed("OutOfMemory: cudaMalloc 1073741824", out_of_memory=True)
        return super().build(model, request, on_message=on_message)


class WithTimings(Toolkit):
    """The real builder, with a timing cache, which TensorRT-RTX has none of."""

    def build(self, model: bytes, request: BuildRequest, *, on_message: Any) -> Built:
        """Build, and give what TensorRT would have measured."""
        return dataclasses.replace(
            super().build(model, request, on_message=on_message), timing_cache=b"timings"
        )


def test_engine_is_plan_manifest_and_layers(built: BuildResult, models: Path) -> None:
    """The manifest is one that the box reads, and says what was built from what, by whom."""
    manifest = json.loads(built.manifest.read_text())
    qdq = json.loads((models / "small.qdq-fp16.json").read_text())
    fp32 = json.loads((models / "small.json").read_text())
    load_manifest(built.manifest).verify()
    assert (True, "there is none yet") == (built.built, built.reason)
    assert (qdq["sha256"], fp32["sha256"], qdq["scales_sha256"]) == (
        manifest["model_sha256"],
        manifest["embeds_as"],
        manifest["scales_sha256"],
    )
    assert ("int8", "int8", "tensorrt-rtx", "SM86", "8.6") == (
        manifest["precision"],
        manifest["precision_wanted"],
        manifest["builder"]["name"],
        manifest["builder"]["target"],
        manifest["builder"]["compute_capability"],
    )
    assert (7, 6, []) == tuple(manifest["layers"][key] for key in ("convolutions", "int8", "depthwise_int8"))
    golden = np.array(manifest["golden"]["embedding"])
    np.testing.assert_allclose(np.ones(2), np.linalg.norm(golden, axis=1), atol=1e-5)


def test_second_build_of_the_same_is_none(engines: Path, models: Path, rtx: Toolkit) -> None:
    """Nothing changed, so nothing is built and no file is touched."""
    before = files(engines)
    again = build_engine(rtx, options(models, engines), say=lambda _: None)
    assert (False, "nothing changed") == (again.built, again.reason)
    assert before == files(engines)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_batch": 4}, "the largest batch: 8 -> 4"),
        ({"target": "SM89"}, "the compute capability: 8.6 -> 8.9"),
        ({"force": True}, "asked for with --force"),
    ],
)
def test_change_is_the_reason_of_a_rebuild(
    engines: Path, models: Path, rtx: Toolkit, changes: dict[str, Any], reason: str
) -> None:
    """What differs from the engine that is there is said in words."""
    again = build_engine(rtx, options(models, engines, **changes), say=lambda _: None)
    assert (True, reason) == (again.built, again.reason)


@pytest.mark.parametrize(
    ("key", "old", "reason"),
    [
        ("l4t", "36.3.0", "the board's L4T release: 36.3.0 -> none"),
        ("builder_version", "8.6.2", "the builder's version: 8.6.2 -> "),
        ("gpu", "Orin (nvgpu)", "the GPU: Orin (nvgpu) -> none"),
    ],
)
def test_upgraded_board_builds_again(  # noqa: PLR0917 -- fixtures
    engines: Path, models: Path, rtx: Toolkit, key: str, old: str, reason: str
) -> None:
    """An engine of before a JetPack upgrade, or of another board, is not taken for this one's."""
    (path,) = engines.glob("small.int8-*.json")
    manifest = json.loads(path.read_text())
    manifest["fingerprint"][key] = old
    path.write_text(json.dumps(manifest))
    again = build_engine(rtx, options(models, engines), say=lambda _: None)
    assert again.built
    assert again.reason.startswith(reason)


def test_other_weights_and_scales_build_again(engines: Path, rtx: Toolkit, tmp_path: Path) -> None:
    """Another network under the same name is another engine."""
    other = engine_models.write(tmp_path / "other", seed=2).parent
    again = build_engine(rtx, options(other, engines), say=lambda _: None)
    assert again.built
    assert "the network: " in again.reason
    assert "the scales: " in again.reason
    assert 2 == len(list(engines.glob("*.plan")))


@pytest.mark.parametrize("damage", ["truncated", "empty", "bit-flipped", "missing"])
def test_damaged_plan_is_built_again(engines: Path, models: Path, rtx: Toolkit, damage: str) -> None:
    """The manifest alone does not make an engine."""
    (plan,) = engines.glob("*.plan")
    content = plan.read_bytes()
    if damage == "missing":
        plan.unlink()
    else:
        flipped = bytes([content[0] ^ 1]) + content[1:]
        bad = {"truncated": content[:-1], "empty": b"", "bit-flipped": flipped}
        plan.write_bytes(bad[damage])
    again = build_engine(rtx, options(models, engines), say=lambda _: None)
    assert again.built
    assert again.reason.endswith("is missing or damaged")
    load_manifest(again.manifest).verify()


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "bit-flipped"])
def test_damaged_graph_is_refused_before_the_builder_sees_it(
    models: Path, rtx: Toolkit, tmp_path: Path, damage: str
) -> None:
    """A flipped bit in a weight builds fine and answers wrongly: the hash finds it."""
    folder = shutil.copytree(models, tmp_path / "models")
    path = folder / "small.qdq-fp16.onnx"
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]
    bad = {"truncated": content[:-9], "empty": b"", "garbage": b"?" * len(content), "bit-flipped": flipped}
    path.write_bytes(bad[damage])
    with pytest.raises(ModelError, match=r"small.qdq-fp16.onnx (has \d+ bytes|is not the one)"):
        build_engine(rtx, options(folder, tmp_path / "out"), say=lambda _: None)
    assert [] == list((tmp_path / "out").glob("*.plan"))


def test_missing_graph_says_which_command_makes_it(models: Path, rtx: Toolkit, tmp_path: Path) -> None:
    """Without the quantised graph there is no INT8 engine."""
    folder = shutil.copytree(models, tmp_path / "models")
    (folder / "small.qdq-fp16.json").unlink()
    with pytest.raises(ModelError, match=r"made here from small.qdq-fp16.onnx, which is not there") as caught:
        build_engine(rtx, options(folder, tmp_path / "out"), say=lambda _: None)
    assert "dsr-engine quantize" in caught.value.fix


def test_graph_of_other_weights_is_refused(models: Path, rtx: Toolkit, tmp_path: Path) -> None:
    """A quantised graph whose golden embeddings are not those of the FP32 model is somebody else's."""
    folder = shutil.copytree(models, tmp_path / "models")
    path = folder / "small.qdq-fp16.json"
    manifest = json.loads(path.read_text())
    wrong = np.eye(2, 128).tolist()
    manifest["golden"] = {"pictures": "golden-v1", "embedding": wrong, "min_cosine": 0.99}
    path.write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="was made from other weights"):
        build_engine(rtx, options(folder, tmp_path / "out"), say=lambda _: None)


def test_int8_that_is_none_is_no_engine(models: Path, rtx: Toolkit, tmp_path: Path) -> None:
    """Where the builder silently computes in FP16, nothing is written, unless FP16 is allowed."""
    folder = shutil.copytree(models, tmp_path / "models")
    for suffix in ("onnx", "json"):  # a graph without Q/DQ, under the name of one with
        shutil.copy(folder / f"small.fp16.{suffix}", folder / f"small.qdq-fp16.{suffix}")
    wanted = options(folder, tmp_path / "out")
    with pytest.raises(NotInt8, match=r"only 0\.0%"):
        build_engine(rtx, wanted, say=lambda _: None)
    assert {} == files(tmp_path / "out")
    said: list[str] = []
    result = build_engine(rtx, dataclasses.replace(wanted, allow_fp16=True), say=said.append)
    manifest = json.loads(result.manifest.read_text())
    assert ("fp16", "int8") == (manifest["precision"], manifest["precision_wanted"])
    assert "only 0.0%" in manifest["fallback_reason"]
    assert any("building FP16 instead" in line for line in said)


def test_memory_that_runs_out_gets_less_workspace(models: Path, tmp_path: Path) -> None:
    """The workspace is halved until it fits, and every step is said."""
    toolkit = OutOfMemory(TENSORRT_RTX)
    said: list[str] = []
    result = build_engine(toolkit, options(models, tmp_path, workspace_mib=300), say=said.append)
    assert result.built
    assert [300, 150, 75] == toolkit.asked
    assert "out of memory; trying again with a workspace of 75 MiB" in said


def test_memory_that_stays_too_small_is_an_error_and_leaves_nothing(models: Path, tmp_path: Path) -> None:
    """There is a smallest workspace; below it the build gives up."""
    toolkit = OutOfMemory(TENSORRT_RTX)
    toolkit.limit = 1
    with pytest.raises(BuildFailed, match="OutOfMemory"):
        build_engine(toolkit, options(models, tmp_path, workspace_mib=150), say=lambda _: None)
    assert [150, 75, 64] == toolkit.asked
    assert {} == files(tmp_path)


def test_free_memory_is_read_from_linux(tmp_path: Path) -> None:
    """What can be had without swapping, in MiB; None where Linux does not say."""
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 8000000 kB\nMemFree: 100 kB\nMemAvailable:    2048000 kB\n")
    assert (2000, None) == (free_mib(info), free_mib(tmp_path / "none"))
    assert (free_mib() or 0) > 0


def test_folder_that_cannot_be_written_is_found_out_first(models: Path, rtx: Toolkit, tmp_path: Path) -> None:
    """Not after ten minutes of building: a file stands where the folder should be."""
    (tmp_path / "engines").write_text("in the way")
    said: list[str] = []
    with pytest.raises(ModelError, match="cannot be written"):
        build_engine(rtx, options(models, tmp_path / "engines"), say=said.append)
    assert [] == said


def test_timing_cache_that_cannot_be_written_costs_no_engine(models: Path, tmp_path: Path) -> None:
    """After minutes of building the engine is kept, and what could not be kept is said."""
    (tmp_path / "cache").write_text("in the way")
    said: list[str] = []
    wanted = options(models, tmp_path / "engines", cache=tmp_path / "cache")
    result = build_engine(WithTimings(TENSORRT_RTX), wanted, say=said.append)
    load_manifest(result.manifest).verify()
    assert any(line.startswith("the timing cache was not kept: ") for line in said)
    kept = options(models, tmp_path / "others", cache=tmp_path / "elsewhere")
    build_engine(WithTimings(TENSORRT_RTX), kept, say=lambda _: None)
    assert [b"timings"] == [path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()]


def test_graph_that_the_gate_refused_is_not_built(models: Path, rtx: Toolkit, tmp_path: Path) -> None:
    """Its engine would be no better; FP16 is, where that is allowed."""
    folder = shutil.copytree(models, tmp_path / "models")
    path = folder / "small.qdq-fp16.json"
    line = {"name": "least cosine, LFW", "value": 0.98, "passed": False}
    refused = {"accuracy": {"accepted": False, "gate": [line, {"name": "mean", "passed": True}]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | refused))
    wanted = options(folder, tmp_path / "out")
    with pytest.raises(BuildFailed, match=r"was refused when .* measured: least cosine, LFW\n"):
        build_engine(rtx, wanted, say=lambda _: None)
    result = build_engine(rtx, dataclasses.replace(wanted, allow_fp16=True), say=lambda _: None)
    manifest = json.loads(result.manifest.read_text())
    assert ("fp16", "int8") == (manifest["precision"], manifest["precision_wanted"])
    assert "least cosine, LFW" in manifest["fallback_reason"]


def test_verdict_on_the_graph_stands_in_the_engines_manifest(
    models: Path, rtx: Toolkit, tmp_path: Path
) -> None:
    """Whoever looks at an engine that was not measured itself sees how its graph did."""
    folder = shutil.copytree(models, tmp_path / "models")
    path = folder / "small.qdq-fp16.json"
    verdict = {"accepted": True, "backend": "openvino-cpu-bf16", "gate": []}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"accuracy": verdict}))
    result = build_engine(rtx, options(folder, tmp_path / "out"), say=lambda _: None)
    assert verdict == json.loads(result.manifest.read_text())["graph_accuracy"]


def test_one_build_at_a_time(models: Path, rtx: Toolkit, tmp_path: Path) -> None:
    """A second build says who is at it."""
    with (tmp_path / ".build.lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match=r"another build runs .*process 4711"):
            build_engine(rtx, options(models, tmp_path), say=lambda _: None)


#: Builds again with --force, and stands still where the next engine's manifest would be renamed.
STOP_BEFORE_MANIFEST = """
import sys, time
from pathlib import Path
real = Path.replace
def replace(self, target):
    if str(target).endswith(".json"):
        print("here", flush=True)
        time.sleep(60)
    return real(self, target)
Path.replace = replace
from build_engine.cli import main
main(sys.argv[1:])
"""


def test_killed_half_way_leaves_the_old_engine(engines: Path, models: Path, rtx: Toolkit) -> None:
    """The new plan is there, its manifest not yet: the old engine is whole, the next build clears up."""
    before = files(engines)
    arguments = ["build", "--model", str(models / "small.json"), "--backend", "tensorrt-rtx"]
    arguments += ["--target", "SM89", "--out", str(engines)]
    process = subprocess.Popen(
        [sys.executable, "-c", STOP_BEFORE_MANIFEST, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "here\n" == process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    after = files(engines)
    assert before == {name: content for name, content in after.items() if name in before}
    assert [1, 1] == [sum(name.endswith(end) for name in after) for end in (".json", ".tmp")]
    again = build_engine(rtx, options(models, engines, target="SM89"), say=lambda _: None)
    assert again.built
    assert [] == list(engines.glob("*.tmp"))
    assert 2 == len(list(engines.glob("*.json")))


def test_progress_is_never_silent_for_long(capsys: pytest.CaptureFixture[str]) -> None:
    """What the builder is at is printed with the elapsed time when it has said nothing for a while."""
    from build_engine.commands import build as command

    progress = command.Progress()
    progress._told -= command._QUIET_S
    with progress:
        progress.say("progress: Selecting tactics 12/80")
        deadline = time.monotonic() + 5
        while "tactics" not in capsys.readouterr().err:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_command_builds_and_inspects(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``dsr-engine build`` twice, then ``inspect`` with the graph: the share in INT8 is printed."""
    from build_engine.cli import main

    build = ["build", "--model", str(models / "small.json"), "--backend", "tensorrt-rtx", "--target", "SM86"]
    build += ["--out", str(tmp_path)]
    assert 0 == main(build)
    assert "because there is none yet" in capsys.readouterr().out
    assert 0 == main(build)
    assert "up to date; nothing changed" in capsys.readouterr().out
    (manifest,) = tmp_path.glob("*.json")
    graph = ["--graph", str(models / "small.qdq-fp16.onnx")]
    assert 0 == main(["inspect", str(manifest), *graph, "--layers"])
    text = capsys.readouterr().out
    assert "INT8: 99.3% of" in text
    assert "f2_depthwise (depthwise)" in text
    assert 4 == main(["inspect", str(manifest), "--graph", str(models / "small.qdq-fp32.onnx")])
    assert "is not what" in capsys.readouterr().err
    for wrong, said in (
        (["--max-batch", "0"], "faces above 0; received '0'"),
        (["--size", "640"], "640x384"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main([*build, *wrong])
        assert said in capsys.readouterr().err
