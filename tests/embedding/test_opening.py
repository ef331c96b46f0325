from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from build_engine.sources import golden_of
from edge_app.embedding import opening
from edge_app.embedding.opening import open_recogniser, open_stored, recogniser_manifest, require_golden
from edge_app.engines import openvino_engine, tensorrt_engine
from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.engines.signing import TrustedKey, make_key, sign
from edge_app.engines.store import EngineStore
from edge_app.errors import ModelError, PreprocessMismatch
from tests import engine_models

if TYPE_CHECKING:
    from pathlib import Path

    from edge_app.engines.store import StoredEngine


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the small recogniser, the golden record in its manifest."""
    folder = tmp_path_factory.mktemp("models")
    path = engine_models.write(folder)
    change(path, golden=golden_of(folder / "small.onnx") | {"min_cosine": 0.999})
    return folder


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    """Return the manifest of one's own copy."""
    return shutil.copytree(made, tmp_path / "models") / "small.json"


def change(path: Path, **keys: Any) -> None:
    """Change keys of a manifest."""
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.fixture
def store(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineStore:
    """Return a store with one signed engine; its plan is run by ONNX Runtime in the GPU's place."""
    fp32 = json.loads(model.read_text())
    folder = tmp_path / "engines"
    folder.mkdir()
    plan = b"vtrt" + bytes(20) + bytes([1, 7, 1, 116]) + b"\x00" * 100
    (folder / "small.int8-1.plan").write_bytes(plan)
    builder = {"name": "tensorrt-rtx", "version": "1.7.1.116", "compute_capability": "8.6"}
    import hashlib

    manifest = fp32 | {
        "file": "small.int8-1.plan",
        "sha256": hashlib.sha256(plan).hexdigest(),
        "bytes": len(plan),
        "embeds_as": fp32["sha256"],
        "precision": "int8",
        "precision_wanted": "int8",
        "builder": builder,
    }
    (folder / "small.int8-1.json").write_text(json.dumps(manifest))
    make_key(tmp_path / "box.key")
    sign(folder / "small.int8-1.json", tmp_path / "box.key")

    def open_plan(_stored: StoredEngine) -> OnnxEngine:
        return OnnxEngine(model.parent / "small.qdq-fp32.onnx")

    monkeypatch.setattr(tensorrt_engine, "open_plan", open_plan)
    return EngineStore(folder, trusted=(TrustedKey("box", tmp_path / "box.pub"),))


@pytest.fixture
def _with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processor be one that computes in BF16."""
    monkeypatch.setattr(openvino_engine, "cpu_flags", lambda: frozenset({"avx512_bf16"}))


@pytest.mark.usefixtures("_with_bf16")
def test_without_engines_the_cpus_best_is_used(model: Path) -> None:
    """OpenVINO where the processor has BF16, and the reason says so."""
    found = open_recogniser(model)
    assert (None, (), "openvino-cpu-bf16") == (found.engine_id, found.fallbacks, found.recogniser.backend)
    assert "the best backend here" in found.recogniser.reason


def test_engine_in_use_comes_first(model: Path, store: EngineStore) -> None:
    """Signed, for this model, and with the golden embeddings: the reason names all three."""
    store.activate("small.int8-1")
    fp32 = json.loads(model.read_text())
    change(store.folder / "small.int8-1.json", golden=fp32["golden"] | {"min_cosine": 0.99})
    sign(store.folder / "small.int8-1.json", store.trusted[0].path.with_suffix(".key"))
    found = open_recogniser(model, store=store)
    assert ("small.int8-1", ()) == (found.engine_id, found.fallbacks)
    assert found.recogniser.reason.startswith("small.int8-1: signed by box, golden cosine 0.99")
    assert fp32["sha256"] == found.recogniser.model_sha256


def test_engine_that_was_not_chosen_is_not_used(model: Path, store: EngineStore) -> None:
    """Lying in the folder is not enough."""
    assert None is open_recogniser(model, store=store).engine_id


def test_engine_that_cannot_be_used_is_passed_over_aloud(model: Path, store: EngineStore) -> None:
    """The box works on the CPU, and the caller is told what to report."""
    store.activate("small.int8-1")
    (store.folder / "small.int8-1.sig").unlink()
    found = open_recogniser(model, store=store)
    (passed,) = found.fallbacks
    assert (None, "small.int8-1") == (found.engine_id, passed.backend)
    assert "is not signed" in passed.reason


@pytest.mark.usefixtures("_with_bf16")
def test_backend_that_answers_wrongly_is_passed_over(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The golden embeddings find out what loads and runs and is wrong."""
    real = openvino_engine.OpenVinoEngine.run
    monkeypatch.setattr(
        openvino_engine.OpenVinoEngine, "run", lambda self, batch: [-out for out in real(self, batch)]
    )
    found = open_recogniser(model)
    (passed,) = found.fallbacks
    assert ("onnxruntime-cpu", "openvino-cpu-bf16") == (found.recogniser.backend, passed.backend)
    assert "does not give the golden embeddings: cosine -1.0" in passed.reason


def test_nothing_left_is_an_error(model: Path) -> None:
    """A damaged model file that somehow has the right hash: no backend gives the golden embeddings."""
    record = json.loads(model.read_text())["golden"]
    change(model, golden=record | {"embedding": np.eye(2, 128).tolist()})
    with pytest.raises(ModelError, match="onnxruntime-cpu does not give the golden embeddings"):
        open_recogniser(model)


def test_engine_of_another_model_is_refused(model: Path, store: EngineStore) -> None:
    """Its embeddings would not fit the register."""
    change(store.folder / "small.int8-1.json", embeds_as="0" * 64)
    sign(store.folder / "small.int8-1.json", store.trusted[0].path.with_suffix(".key"))
    with pytest.raises(ModelError, match=r"stands for the model 0000000000000000\.\.\.; the configured one"):
        open_stored(recogniser_manifest(model), store, "small.int8-1")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"pictures": "golden-v0"}, "is for 'golden-v0'"),
        ({"embedding": [[1.0, 0.0]]}, r"\(1, 2\); this program draws 'golden-v1' \(2, 128\)"),
        ({"embedding": "x"}, "cannot be read"),
        ({"min_cosine": None}, "cannot be read"),
        ({"embedding": np.full((2, 128), np.nan).tolist()}, "cosine nan"),
    ],
)
def test_golden_record_that_says_nothing_is_no_pass(model: Path, record: dict[str, Any], said: str) -> None:
    """Other pictures, another size, no numbers: refused, never skipped."""
    manifest = recogniser_manifest(model)
    golden = {**(manifest.golden or {}), **record}
    with pytest.raises(ModelError, match=said):
        require_golden(OnnxEngine(manifest.path), manifest, golden)


def test_other_preprocessing_is_refused_before_anything_is_opened(model: Path) -> None:
    """Whatever the engine."""
    change(model, preprocess={"id": "other", "sha256": "1" * 64})
    with pytest.raises(PreprocessMismatch):
        opening.open_recogniser(model)
