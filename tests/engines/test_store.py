from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_app.engines import store as stores
from edge_app.engines.machine import Gpu
from edge_app.engines.signing import sign
from edge_app.engines.store import Choice, plan_version
from edge_app.errors import ModelError, NotSigned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_app.engines.store import EngineStore


@pytest.fixture
def change(box: Path, store: EngineStore, engine_id: str) -> Callable[..., None]:
    """Return what changes the engine's manifest and has the box sign it again."""

    def changed(**keys: Any) -> None:
        path = store.path(engine_id)
        path.write_text(json.dumps(json.loads(path.read_text()) | keys))
        sign(path, box / "engine.key")

    return changed


def test_real_engine_is_read_with_all_that_it_is(store: EngineStore, engine_id: str) -> None:
    """Checked, and whose key signed it."""
    stored = store.read(engine_id)
    manifest = stored.manifest
    assert ("box", "int8", "tensorrt-rtx", "8.6") == (
        stored.signed_by,
        manifest.precision,
        manifest.builder,
        manifest.compute_capability,
    )
    assert manifest.model.sha256 == hashlib.sha256(stored.plan).hexdigest()
    assert ("tensorrt-rtx", manifest.builder_version) == plan_version(stored.plan)


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "bit-flipped", "missing"])
def test_damaged_plan_never_reaches_a_runtime(store: EngineStore, engine_id: str, damage: str) -> None:
    """A plan is a program: bytes that are not the signed ones are not loaded."""
    path = store.folder / f"{engine_id}.plan"
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    bad = {"truncated": content[:-1], "empty": b"", "garbage": b"?" * len(content), "bit-flipped": flipped}
    path.unlink()
    if damage in bad:
        path.write_bytes(bad[damage])
    with pytest.raises(ModelError, match=r"is not the one of its manifest|cannot be read"):
        store.read(engine_id)


def test_unsigned_engine_is_not_read(store: EngineStore, engine_id: str) -> None:
    """Nor is its plan's content looked at."""
    (store.folder / f"{engine_id}.sig").unlink()
    with pytest.raises(NotSigned):
        store.read(engine_id)


def test_changed_manifest_needs_a_new_signature(store: EngineStore, engine_id: str, box: Path) -> None:
    """Also for a verdict written by hand."""
    path = store.path(engine_id)
    path.write_text(path.read_text().replace('"int8"', '"fp16"', 1))
    with pytest.raises(NotSigned):
        store.read(engine_id)
    sign(path, box / "engine.key")
    assert "box" == store.read(engine_id).signed_by


def test_engine_below_the_gate_is_refused(
    store: EngineStore, engine_id: str, change: Callable[..., None]
) -> None:
    """Signed or not."""
    change(accuracy={"accepted": False})
    with pytest.raises(ModelError, match="accuracy is below the gate"):
        store.read(engine_id)


@pytest.mark.parametrize(
    ("builder", "said"),
    [
        ({"name": "tensorrt-rtx", "version": "1.6.0.9"}, r"is a plan of tensorrt-rtx 1\.7\.1\.\d+; its"),
        ({"name": "tensorrt", "version": "10.3.0"}, "its manifest says tensorrt 10.3.0"),
        ({"name": "tensorrt"}, "is no manifest of an engine"),
        ("tensorrt", "is no manifest of an engine"),
    ],
)
def test_plan_of_another_builder_is_refused_without_one(
    store: EngineStore, engine_id: str, change: Callable[..., None], builder: Any, said: str
) -> None:
    """Its header says who built it; no TensorRT is needed to read that."""
    change(builder=builder)
    with pytest.raises(ModelError, match=said):
        store.read(engine_id)


def test_file_that_is_no_plan_is_refused(
    store: EngineStore, engine_id: str, change: Callable[..., None]
) -> None:
    """A signed hash of something else, say of an ONNX file."""
    content = b"\x08\x08\x12\x07pytorch" * 20
    (store.folder / f"{engine_id}.plan").write_bytes(content)
    change(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    with pytest.raises(ModelError, match="is no TensorRT plan"):
        store.read(engine_id)


@pytest.mark.parametrize(
    ("gpu", "l4t", "said"),
    [
        (None, None, "the CUDA driver finds none here"),
        (
            Gpu("RTX 4000", "8.9", "13.0"),
            None,
            r"was built for a GPU \(8\.6\); this box has RTX 4000 \(8\.9\)",
        ),
        (Gpu("RTX 3060", "8.6", "13.0"), "36.4.3", r"was built on L4T None; this box has L4T 36\.4\.3"),
        (Gpu("RTX 3060", "8.6", "13.0"), None, None),
    ],
)
def test_engine_of_another_gpu_or_release_is_refused(  # noqa: PLR0917 -- fixtures
    store: EngineStore,
    engine_id: str,
    monkeypatch: pytest.MonkeyPatch,
    gpu: Gpu | None,
    l4t: str | None,
    said: str | None,
) -> None:
    """It would load with luck, and answer wrongly without."""
    monkeypatch.setattr(stores, "find_gpu", lambda: gpu)
    monkeypatch.setattr(stores, "find_l4t", lambda: l4t)
    manifest = store.read(engine_id).manifest
    if said is None:
        manifest.require_here()
    else:
        with pytest.raises(ModelError, match=said):
            manifest.require_here()


def test_unknown_engine_lists_the_others(store: EngineStore, engine_id: str) -> None:
    """A slip of the pen, or a way out of the folder."""
    for name in ("net", f"../engines/{engine_id}"):
        with pytest.raises(ModelError, match="there is no engine") as caught:
            store.read(name)
        assert engine_id in caught.value.fix


def test_choice_and_the_way_back(store: EngineStore) -> None:
    """Every step is one rename; going back twice ends at the CPU."""
    assert Choice() == store.choice()
    store.activate("a")
    assert Choice(active="b", previous="a") == store.activate("b") == store.choice()
    assert Choice(active="b", previous="a") == store.activate("b")
    assert Choice(active="a", went_back=True) == store.rollback() == store.choice()
    assert Choice(went_back=True) == store.rollback()
    with pytest.raises(ModelError, match="no engine to go back to"):
        store.rollback()


def test_engine_that_proved_bad_gives_way_to_the_one_before(store: EngineStore) -> None:
    """And is not gone back to; whoever takes it into use again must have repaired it."""
    store.activate("a")
    store.activate("b")
    assert Choice(active="a", went_back=True, rejected={"b": "slow"}) == store.reject("b", "slow")
    assert {"b": "slow", "z": "bad"} == store.reject("z", "bad").rejected
    assert Choice(active="b", previous="a", rejected={"z": "bad"}) == store.activate("b")
    store.reject("a", "dark")
    assert None is store.reject("b", "again").active


@pytest.mark.parametrize("text", ["", "{", "[]", '{"active": 1}', "\x00"])
def test_damaged_choice_is_the_cpu(store: EngineStore, text: str) -> None:
    """The box goes on without an engine, and the operator sees that none is in use."""
    store.folder.joinpath("active.json").write_text(text)
    assert Choice() == store.choice()


def test_choice_that_cannot_be_written_is_an_error(store: EngineStore) -> None:
    """A folder stands where the file should be."""
    store.folder.joinpath("active.json").mkdir()
    with pytest.raises(ModelError, match="cannot be written"):
        store.activate("a")


@pytest.mark.parametrize("plan", [b"", b"ftrt", b"GIF89a" * 10])
def test_what_is_no_plan_has_no_version(plan: bytes) -> None:
    """Too short, or something else."""
    assert None is plan_version(plan)


def test_full_tensorrts_header_is_read() -> None:
    """As TensorRT writes it: ``ftrt``, and the version in bytes 24 to 27."""
    assert ("tensorrt", "10.3.0.26") == plan_version(b"ftrt" + bytes(20) + bytes([10, 3, 0, 26]) + bytes(9))
