from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_app.embedding.live import PATIENCE_NS, SHADOW_FACES, WATCHED_FACES, LiveRecogniser
from edge_app.embedding.opening import Fallback, Opening
from edge_app.embedding.recogniser import Recogniser
from edge_app.engines.manifest import load_manifest
from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.engines.store import Choice, EngineStore
from edge_app.errors import ModelError
from tests.tiny_models import WEIGHTS, mean_colour_network, recogniser

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

CPU = "onnxruntime-cpu"
RNG = np.random.default_rng(3)


class Named(OnnxEngine):
    """A real engine on the CPU that stands for one on a GPU: it has another name, and can be made to fail."""

    def __init__(self, path: Path, backend: str) -> None:
        super().__init__(path)
        self._name, self.fails, self.closed = backend, False, False

    @property
    def backend(self) -> str:
        """Return the name it was given."""
        return self._name

    def run(self, batch: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Run it, or fail as a GPU does."""
        if self.fails:
            raise ModelError("the GPU failed: an illegal memory access")
        return super().run(batch)

    def close(self) -> None:
        """Note that it was let go."""
        self.closed = True
        super().close()


class Bench:
    """A live recogniser with a store, engines by name, and all that it told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = load_manifest(recogniser(folder))
        self.store = EngineStore(folder / "engines", trusted=())
        self.weights = {
            "good": WEIGHTS * 1.5,
            "good2": WEIGHTS,
            "other": WEIGHTS[:, ::-1].copy(),
            None: WEIGHTS,
        }
        self.weights["slightly"] = WEIGHTS + RNG.normal(size=WEIGHTS.shape).astype(np.float32) * 0.01
        self.broken: set[str] = set()
        self.opened: dict[str | None, Named] = {}
        self.changes: list[tuple[str, str, str]] = []
        self.live = LiveRecogniser(
            self.open(), reopen=self.open, store=self.store, on_change=lambda *told: self.changes.append(told)
        )

    def open(self, _without: tuple[str, ...] = ()) -> Opening:
        """Open what the store says is in use, as `opening.open_recogniser` does."""
        wanted = self.store.choice().active
        if wanted in self.broken:
            return Opening(self.recogniser(None), None, (Fallback(str(wanted), "no GPU"),))
        return Opening(self.recogniser(wanted), wanted)

    def recogniser(self, name: str | None) -> Recogniser:
        """Open the network of this name."""
        path = mean_colour_network(self.folder / f"{name}.onnx", weights=self.weights[name])
        self.opened[name] = Named(path, name or CPU)
        return Recogniser(manifest=self.manifest, engine=self.opened[name])

    def activate(self, name: str) -> None:
        """Take an engine into use as the operator does, and let the daemon open it."""
        self.store.activate(name)
        self.settle()

    def settle(self, now_ns: int = 0) -> None:
        """Tick until nothing is being loaded."""
        self.live.tick(now_ns)
        while self.live._loading is not None:
            time.sleep(0.005)
            self.live.tick(now_ns)

    def faces(self, count: int) -> list[npt.NDArray[np.float32]]:
        """Let `count` faces pass, one a frame; returns their vectors."""
        crops = RNG.integers(0, 255, (count, 1, 224, 224, 3), dtype=np.uint8)
        crops[:] = RNG.integers(0, 255, (count, 1, 1, 1, 3), dtype=np.uint8)
        return [self.live.embed(crop)[0].vector for crop in crops]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return the bench."""
    return Bench(tmp_path)


def test_new_engine_is_tried_in_the_shadow_and_then_used(bench: Bench) -> None:
    """Not a face sooner; and the exchange is told with its reason."""
    bench.activate("good")
    bench.faces(SHADOW_FACES - 1)
    assert (CPU, []) == (bench.live.backend, bench.changes)
    bench.faces(1)
    assert ("good", "good") == (bench.live.backend, bench.live.engine_id)
    assert [("good", CPU, f"good: golden embeddings and {SHADOW_FACES} live faces agree")] == bench.changes


def test_old_engine_watches_for_a_while_and_is_let_go(bench: Bench) -> None:
    """It stays open until the new one has proved itself at work."""
    bench.activate("good")
    bench.faces(SHADOW_FACES + WATCHED_FACES - 1)
    assert not bench.opened[None].closed
    bench.faces(1)
    assert bench.opened[None].closed
    assert "good" == bench.live.backend


def test_engine_that_disagrees_is_never_used(bench: Bench) -> None:
    """Its answers were not used, it is noted as bad, and the choice goes back."""
    bench.activate("other")
    bench.faces(SHADOW_FACES)
    assert (CPU, []) == (bench.live.backend, bench.changes)
    choice = bench.store.choice()
    assert (None, ["other"]) == (choice.active, list(choice.rejected))
    assert "disagrees with the engine before it on a live face" in choice.rejected["other"]
    assert bench.opened["other"].closed
    bench.settle()
    assert CPU == bench.live.backend


def test_engine_that_is_a_little_off_passes(bench: Bench) -> None:
    """INT8 is not FP32; the register's embeddings still fit."""
    bench.activate("slightly")
    bench.faces(SHADOW_FACES)
    assert "slightly" == bench.live.backend


def test_engine_that_goes_wrong_later_is_rolled_back(bench: Bench) -> None:
    """While the old one watches, it takes over again when the two fall apart."""
    bench.activate("good")
    bench.faces(SHADOW_FACES)
    assert "good" == bench.live.backend
    other = mean_colour_network(bench.folder / "bad.onnx", weights=bench.weights["other"])
    bench.opened["good"]._session = OnnxEngine(other)._session
    bench.faces(8)
    assert (CPU, None) == (bench.live.backend, bench.store.choice().active)
    assert ("good", CPU) == bench.changes[0][:2]
    assert (CPU, "good") == bench.changes[1][:2]
    assert "good" in bench.store.choice().rejected


def test_engine_that_fails_at_work_is_replaced_at_once(bench: Bench) -> None:
    """The face is embedded by the one before, and no face is lost."""
    bench.activate("good")
    bench.faces(SHADOW_FACES)
    bench.opened["good"].fails = True
    (vector,) = bench.faces(1)
    np.testing.assert_allclose(1.0, np.linalg.norm(vector), atol=1e-5)
    assert (CPU, "good") == bench.changes[-1][:2]
    assert "an illegal memory access" in bench.changes[-1][2]
    assert {"good": "the GPU failed: an illegal memory access"} == dict(bench.store.choice().rejected)


def test_engine_that_fails_long_after_is_replaced_by_a_new_one(bench: Bench) -> None:
    """The old one has been let go by then: the next best is opened."""
    bench.activate("good")
    bench.faces(SHADOW_FACES + WATCHED_FACES)
    bench.opened["good"].fails = True
    bench.faces(1)
    assert (CPU, None) == (bench.live.backend, bench.live.engine_id)


def test_engine_that_fails_in_the_shadow_harms_nobody(bench: Bench) -> None:
    """The one in use has answered already."""
    bench.activate("good")
    bench.opened["good"].fails = True
    bench.faces(2)
    assert (CPU, []) == (bench.live.backend, bench.changes)
    assert ["good"] == list(bench.store.choice().rejected)


def test_engine_that_cannot_be_opened_is_refused_with_the_reason(bench: Bench) -> None:
    """The box goes on as it was."""
    bench.broken.add("good")
    bench.activate("good")
    assert {"good": "no GPU"} == dict(bench.store.choice().rejected)
    assert (CPU, None, []) == (bench.live.backend, bench.store.choice().active, bench.changes)


def test_rollback_is_at_once(bench: Bench) -> None:
    """Who goes back trusts the one before: it is not tried in the shadow of a bad one."""
    bench.activate("good")
    bench.faces(SHADOW_FACES + WATCHED_FACES)
    bench.activate("good2")
    bench.faces(SHADOW_FACES + WATCHED_FACES)
    assert Choice(active="good2", previous="good") == bench.store.choice()
    bench.store.rollback()
    bench.settle()
    assert ("good", "good2") == bench.changes[-1][:2]
    assert "good" == bench.live.backend


def test_nobody_passing_does_not_hold_it_up_for_ever(bench: Bench) -> None:
    """A tunnel may be empty for days; then the golden embeddings decide."""
    bench.activate("good")
    bench.live.tick(PATIENCE_NS)
    assert CPU == bench.live.backend
    bench.live.tick(PATIENCE_NS + 1)
    assert "good" == bench.live.backend
    assert "good: golden embeddings and 0 live faces agree" == bench.changes[-1][2]


def test_last_backend_that_fails_says_why(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing left to go to, the first error counts."""

    def nothing(_without: tuple[str, ...]) -> Opening:
        raise ModelError("no backend can run it")

    monkeypatch.setattr(bench.live, "_reopen", nothing)
    bench.opened[None].fails = True
    with pytest.raises(ModelError, match="an illegal memory access"):
        bench.faces(1)


def test_close_lets_go_of_all(bench: Bench) -> None:
    """Also of what is in the shadow, and twice is once."""
    bench.activate("good")
    bench.live.close()
    bench.live.close()
    assert [True, True] == [engine.closed for engine in bench.opened.values()]
