from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from build_engine.build import BuildOptions, build_engine
from build_engine.trt_api import TENSORRT_RTX, Toolkit
from edge_app.cli.main import main
from edge_app.engines import tensorrt_engine
from edge_app.engines.onnx_engine import OnnxEngine
from tests import engine_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = """
box: {site: mine-1, node: box-01}
cameras: [{name: a, zone: b, source: {kind: v4l2}}]
recogniser: {model: models/small.json}
delivery: {brokers: [{host: 127.0.0.1}]}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a box's folder with a model and a real engine of TensorRT-RTX, not signed yet."""
    folder = tmp_path_factory.mktemp("box")
    model = engine_models.write(folder / "models")
    options = BuildOptions(model=model, out=folder / "state" / "engines", target="SM86")
    build_engine(Toolkit(TENSORRT_RTX), options, say=lambda _: None)
    (folder / "box.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def box(built: Path, tmp_path: Path) -> Path:
    """Return such a folder of one's own."""
    return shutil.copytree(built, tmp_path / "box")


@pytest.fixture
def engine(box: Path) -> Callable[..., int]:
    """Return what runs ``dsr-edge engine`` on the box."""
    return lambda *words: main(["engine", *words, "--config", str(box / "box.yaml")])


@pytest.fixture
def name(box: Path) -> str:
    """Return the engine's name."""
    (path,) = (box / "state" / "engines").glob("small.int8-*.json")
    return path.stem


@pytest.fixture
def _with_gpu(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ONNX Runtime run the quantised graph where a GPU would run its plan."""
    graph = box / "models" / "small.qdq-fp32.onnx"
    monkeypatch.setattr(tensorrt_engine, "open_plan", lambda _: OnnxEngine(graph))


def test_list_says_why_an_engine_cannot_be_used(
    engine: Callable[..., int], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was built is there, and nobody has signed it."""
    assert 0 == engine("list")
    text = capsys.readouterr().out
    assert "in use: none; the CPU runs the recogniser" in text
    assert f"{name}: cannot be used: the engine {name} is not signed" in text


@pytest.mark.usefixtures("_with_gpu")
def test_from_the_key_to_the_way_back(
    engine: Callable[..., int], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Make the key, sign and activate what was built here, see it in the list, go back."""
    assert 4 == engine("activate", name)
    assert f"dsr-edge engine activate {name} --sign" in capsys.readouterr().err
    assert 0 == engine("key")
    assert 0 == engine("activate", name, "--sign")
    text = capsys.readouterr().out
    assert f"{name}: signed by box, golden cosine 0.99" in text
    assert f"in use: {name}" in text
    assert 0 == engine("list", "--json")
    found = json.loads(capsys.readouterr().out)
    assert (name, None, True) == (found["active"], found["previous"], found["engines"][0]["usable"])
    assert "int8, 99.3% of MACs in INT8" in found["engines"][0]["text"]
    assert "signed by box, accuracy not measured" in found["engines"][0]["text"]
    assert 0 == engine("rollback")
    assert "in use: none; the CPU runs the recogniser" in capsys.readouterr().out
    assert 0 == engine("activate", "cpu")


def test_engine_that_does_not_run_here_is_not_taken_into_use(
    engine: Callable[..., int], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signed and whole, but there is no GPU: nothing changes."""
    assert 0 == engine("key")
    assert 4 == engine("activate", name, "--sign")
    assert "needs a GPU" in capsys.readouterr().err
    assert 0 == engine("list")
    assert "in use: none" in capsys.readouterr().out


def test_second_key_is_refused(engine: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """The first has signed what is in use."""
    assert 0 == engine("key")
    assert 4 == engine("key")
    assert "there is a key already" in capsys.readouterr().err


def test_unknown_engine_lists_those_there_are(
    engine: Callable[..., int], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip of the pen."""
    assert 4 == engine("activate", "small.int8")
    assert name in capsys.readouterr().err
