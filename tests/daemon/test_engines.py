"""The box with an engine for a GPU that this machine lacks: it says so to the mine, and works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jsonschema
import pytest

from build_engine.build import BuildOptions, build_engine
from build_engine.trt_api import TENSORRT_RTX, Toolkit
from edge_app.delivery.event import schema
from edge_app.engines.rebuild import REQUEST, take
from edge_app.engines.signing import TrustedKey, make_key, sign
from edge_app.engines.store import EngineStore
from tests.daemon.rig import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.daemon.rig import BoxRig, Listener


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    """Return the box's engines: one real engine of the shipped model, signed by the box, in use."""
    engines = tmp_path / "state" / "engines"
    options = BuildOptions(model=MODEL, out=engines, precision="fp32", target="SM86")
    built = build_engine(Toolkit(TENSORRT_RTX), options, say=lambda _: None)
    public = make_key(tmp_path / "state" / "engine.key")
    sign(built.manifest, tmp_path / "state" / "engine.key")
    store = EngineStore(engines, trusted=(TrustedKey("box", public),))
    store.activate(built.manifest.stem)
    return store


def flip(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda _store, _name: None, "needs a GPU; the CUDA driver finds none here"),
        (lambda store, name: flip(store.folder / f"{name}.plan"), "is not the one of its manifest"),
    ],
    ids=["no-gpu", "bit-flipped"],
)
def test_engine_that_cannot_be_used_is_an_event_and_the_box_works(  # noqa: PLR0917 -- fixtures
    rig: BoxRig,
    listener: Listener,
    clip: Path,
    store: EngineStore,
    damage: Callable[[EngineStore, str], None],
    said: str,
) -> None:
    """The next backend is named in every event, and the one that was passed over with its reason in one."""
    (name,) = store.ids()
    damage(store, name)
    rig.watch(clip, fps=40)
    assert rig.start().wait(60) == 0, rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))
    (changed,) = listener.of("backend_changed")
    assert name == changed["previous_backend"]
    assert said in changed["reason"]
    assert "rebuild" not in changed["reason"], "it is not allowed unless the operator says so"
    assert not (store.folder / REQUEST).exists()
    backends = {event["backend"] for event in listener.events() if "backend" in event}
    assert {changed["backend"]} == backends <= {"onnxruntime-cpu", "openvino-cpu-bf16"}
    assert name == store.choice().active, "a box that was started without its GPU tries again next time"
    for event in listener.events():
        jsonschema.validate(event, dict(schema()))


def test_choice_of_a_running_box_is_refused_when_it_cannot_be_opened(
    rig: BoxRig, listener: Listener, clip: Path, store: EngineStore
) -> None:
    """Activated while it runs: it is opened beside, fails, is noted as bad, and no frame is lost."""
    (name,) = store.ids()
    store.activate(None)
    rig.watch(clip, fps=40, loop=True)
    process = rig.start()
    listener.wait_for(lambda: listener.of("box_start"), timeout=40)
    store.activate(name)
    listener.wait_for(lambda: store.choice().rejected, timeout=40)
    assert "needs a GPU" in store.choice().rejected[name]
    assert None is store.choice().active
    assert process.poll() is None
    process.terminate()
    assert process.wait(30) == 0, rig.log()
    assert [] == listener.of("backend_changed")


def test_box_that_may_asks_for_a_rebuild_once_and_works_on(
    rig: BoxRig, listener: Listener, clip: Path, store: EngineStore
) -> None:
    """The request lies where the path unit waits, the event says so, and no process was started."""
    (name,) = store.ids()
    rig.config["engines"] = {"rebuild": True}
    rig.watch(clip, fps=40)
    assert rig.start().wait(60) == 0, rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))
    (changed,) = listener.of("backend_changed")
    assert changed["reason"].endswith("finds none here; a rebuild was asked for")
    request = take(store.folder)
    assert request is not None
    assert name == request.engine
    assert "needs a GPU" in request.reason
