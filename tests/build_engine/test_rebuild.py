"""What the daemon asked for is built by a process of its own, with the real builder."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from build_engine import rebuild as rebuilding
from build_engine.build import BuildOptions, build_engine
from build_engine.trt_api import TENSORRT, TENSORRT_RTX, Toolkit
from edge_app.cli.main import main
from edge_app.config import load_config
from edge_app.engines import tensorrt_engine
from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.engines.rebuild import REQUEST, Request, ask, last_outcome
from edge_app.errors import ModelError
from edge_app.wiring import engine_store
from tests import engine_models

if TYPE_CHECKING:
    from pathlib import Path

    from edge_app.config import Config

CONFIG = """
box: {site: mine-1, node: box-01}
cameras: [{name: a, zone: b, source: {kind: v4l2}}]
recogniser: {model: models/small.json}
engines: {rebuild: true}
delivery: {brokers: [{host: 127.0.0.1}]}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a box's folder with a key and one real engine for another GPU than it has now."""
    folder = tmp_path_factory.mktemp("box")
    model = engine_models.write(folder / "models")
    options = BuildOptions(model=model, out=folder / "state" / "engines", target="SM86", max_batch=4)
    build_engine(Toolkit(TENSORRT_RTX), options, say=lambda _: None)
    (folder / "box.yaml").write_text(CONFIG)
    assert 0 == main(["engine", "key", "--config", str(folder / "box.yaml")])
    return folder


@pytest.fixture
def box(made: Path, tmp_path: Path) -> Path:
    """Return such a folder of one's own."""
    return shutil.copytree(made, tmp_path / "box")


@pytest.fixture
def config(box: Path) -> Config:
    """Return the box's configuration."""
    return load_config(box / "box.yaml")


@pytest.fixture
def name(config: Config) -> str:
    """Return the engine's name."""
    (engine_id,) = engine_store(config).ids()
    return engine_id


def run(box: Path) -> subprocess.CompletedProcess[str]:
    """Run what ``dsr-edge-build.service`` runs."""
    command = [sys.executable, "-m", "build_engine", "rebuild", "--config", str(box / "box.yaml")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_process_takes_the_request_builds_and_signs(box: Path, config: Config, name: str) -> None:
    """Anew although its fingerprint is the same, and refused only because this machine has no GPU."""
    plan = config.engines.folder / f"{name}.plan"
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1
    plan.write_bytes(content)
    assert ask(config.engines.folder, Request(engine=name, reason="the plan is not the one of its manifest"))
    done = run(box)
    assert 4 == done.returncode, done.stderr
    assert "needs a GPU; the CUDA driver finds none here" in done.stderr
    assert not (config.engines.folder / REQUEST).exists()
    stored = engine_store(config).read(name)
    assert ("box", 4) == (stored.signed_by, json.loads((plan.with_suffix(".json")).read_bytes())["max_batch"])
    outcome = last_outcome(config.engines.folder)
    assert outcome is not None
    assert (name, False) == (outcome.built, outcome.in_use)
    assert "needs a GPU" in outcome.said
    assert None is engine_store(config).choice().active, "what cannot be opened is not taken into use"
    again = run(box)
    assert (0, f"nothing was asked for in {config.engines.folder}\n") == (again.returncode, again.stdout)


def test_engine_is_taken_into_use_where_there_is_a_gpu(
    config: Config, name: str, box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime runs the quantised graph where a GPU would run its plan; all else is real."""
    graph = box / "models" / "small.qdq-fp32.onnx"
    monkeypatch.setattr(tensorrt_engine, "open_plan", lambda _: OnnxEngine(graph))
    ask(config.engines.folder, Request(engine=name, reason="the board's L4T release has changed"))
    said: list[str] = []
    outcome = rebuilding.rebuild(config, say=said.append)
    assert outcome is not None
    assert (name, True) == (outcome.built, outcome.in_use)
    assert f"asked to build {name} again: the board's L4T release has changed" == said[0]
    assert name == engine_store(config).choice().active
    assert 0 == main(["engine", "list", "--config", str(box / "box.yaml")])
    assert "last rebuild, asked for because the board's L4T release has changed" in capsys.readouterr().out


def test_without_a_key_nothing_is_built(config: Config, name: str) -> None:
    """An engine that nobody may load would be built in vain."""
    config.engines.box_key.with_suffix(".key").unlink()
    ask(config.engines.folder, Request(engine=name, reason="another JetPack"))
    with pytest.raises(ModelError, match="this box has no key") as caught:
        rebuilding.rebuild(config, say=lambda _: None)
    assert "dsr-edge engine key" in caught.value.fix
    outcome = last_outcome(config.engines.folder)
    assert outcome is not None
    assert (None, False) == (outcome.built, outcome.in_use)


def test_build_that_fails_leaves_the_old_engine_and_says_why(config: Config, name: str) -> None:
    """TensorRT is what an engine without a manifest is built with, and it is not here."""
    before = (config.engines.folder / f"{name}.plan").read_bytes()
    ask(config.engines.folder, Request(engine="gone.int8-00000000", reason="it is missing"))
    with pytest.raises(ModelError, match="tensorrt cannot be used here"):
        rebuilding.rebuild(config, say=lambda _: None)
    assert before == (config.engines.folder / f"{name}.plan").read_bytes()


def test_what_it_was_built_for_is_built_again(config: Config, name: str) -> None:
    """Builder, GPU, type and batch are the manifest's; everything else is the configuration's."""
    backend, options = rebuilding.as_before(config, name)
    assert TENSORRT_RTX == backend
    expected = BuildOptions(
        model=config.recogniser.model, out=config.engines.folder, target="SM86", max_batch=4, force=True
    )
    assert expected == options


@pytest.mark.parametrize(
    "damage",
    [
        {"builder": {"name": "make"}, "precision_wanted": "rm -rf", "max_batch": 10**9},
        {"builder": 7, "max_batch": "8", "precision_wanted": None},
    ],
)
def test_manifest_without_sense_gives_the_usual_engine(
    config: Config, name: str, damage: dict[str, object]
) -> None:
    """It may have been damaged, or written by somebody else: nothing of it is believed unseen."""
    path = config.engines.folder / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    backend, options = rebuilding.as_before(config, name)
    assert (TENSORRT, "int8", 8, None) == (backend, options.precision, options.max_batch, options.target)


def test_name_with_a_folder_is_not_followed(config: Config) -> None:
    """The request names an engine of the folder, never a file elsewhere."""
    (config.engines.folder.parent / "other.json").write_text('{"max_batch": 2}')
    assert 8 == rebuilding.as_before(config, "../other")[1].max_batch


def test_fp16_stays_allowed_where_it_was(config: Config, name: str) -> None:
    """An engine that fell to FP16 with leave may do so again; another may not."""
    path = config.engines.folder / f"{name}.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"precision": "fp16", "precision_wanted": "int8"}))
    assert rebuilding.as_before(config, name)[1].allow_fp16
    path.write_text(json.dumps(record | {"precision": "fp16", "precision_wanted": "fp16"}))
    options = rebuilding.as_before(config, name)[1]
    assert ("fp16", False) == (options.precision, options.allow_fp16)


def test_dla_is_built_by_hand(config: Config, name: str) -> None:
    """It wants the calibration pictures."""
    path = config.engines.folder / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dla_core": 0}))
    with pytest.raises(ModelError, match="built for a DLA"):
        rebuilding.as_before(config, name)


def test_request_names_are_those_of_the_options() -> None:
    """Whoever adds an option thinks of the rebuild."""
    assert {
        "model", "out", "precision", "target", "dla_core", "max_batch", "workspace_mib", "cache",
        "allow_fp16", "force", "size",
    } == {field.name for field in dataclasses.fields(BuildOptions)}  # fmt: skip
