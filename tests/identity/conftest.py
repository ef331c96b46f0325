"""Synthetic people with real arithmetic: unit vectors at chosen angles, and a register of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_app.clock import WallQuality, WallTime
from edge_app.identity.gallery import Gallery
from edge_app.identity.people import NewPhoto
from edge_app.records import Embedding, Quality

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

DIM = 128
MODEL = "a" * 64
PREPROCESS = "b" * 64


class FakeTime:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000
        self.wall_ms: int | None = 1_800_000_000_000

    def mono_ns(self) -> int:
        """Return the time as it was set."""
        return self.now_ns

    def wall(self) -> WallTime:
        """Return the wall time as it was set."""
        return WallTime(self.wall_ms, WallQuality.NONE if self.wall_ms is None else WallQuality.SYNC)

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.now_ns += int(seconds * 1e9)


@pytest.fixture
def clock() -> FakeTime:
    """Return a clock that the test moves."""
    return FakeTime()


@pytest.fixture
def unit() -> Callable[..., npt.NDArray[np.float32]]:
    """Return a maker of unit vectors: weights of the axes, e.g. ``unit(a=0.8, b=0.3)``.

    The named axes are orthogonal; what is missing to length 1 goes to an axis that nobody else has.
    """

    def make(**weights: float) -> npt.NDArray[np.float32]:
        vector = np.zeros(DIM)
        for name, weight in weights.items():
            vector[ord(name) - ord("a")] = weight
        rest = 1.0 - float((vector**2).sum())
        assert rest > -1e-9, "weights are longer than 1"
        vector[-1] = np.sqrt(max(rest, 0.0))
        return vector.astype(np.float32)

    return make


@pytest.fixture
def embed() -> Callable[..., Embedding]:
    """Return a maker of embeddings by the test's model."""

    def make(
        vector: npt.NDArray[np.float32], *, model: str = MODEL, preprocess: str = PREPROCESS
    ) -> Embedding:
        return Embedding(vector=vector, model_sha256=model, preprocess_sha256=preprocess)

    return make


@pytest.fixture
def quality() -> Callable[..., Quality]:
    """Return a maker of qualities that differ in what the test names."""

    def make(**changed: object) -> Quality:
        values: dict[str, object] = {
            "face_px": 90.0,
            "sharpness": 200.0,
            "brightness": 110.0,
            "contrast": 50.0,
            "yaw": 3.0,
            "pitch": -2.0,
            "roll": 1.0,
            "score": 0.8,
        }
        return Quality(**(values | changed))  # type: ignore[arg-type]

    return make


@pytest.fixture
def photo(embed: Callable[..., Embedding], quality: Callable[..., Quality]) -> Callable[..., NewPhoto]:
    """Return a maker of photos; `source` makes the SHA-256."""

    def make(source: str, vector: npt.NDArray[np.float32], *, crop: bool = True, **keys: str) -> NewPhoto:
        pixels = np.random.default_rng(len(source)).integers(0, 256, (224, 224, 3), np.uint8)
        return NewPhoto(
            source_name=f"{source}.jpg",
            source_sha256=source.encode().hex().rjust(64, "0"),
            quality=quality(),
            embedding=embed(vector, **keys),
            crop=pixels if crop else None,
        )

    return make


@pytest.fixture
def gallery(tmp_path: Path, clock: FakeTime) -> Gallery:
    """Return an empty register on disk."""
    result = Gallery(path=tmp_path / "people.db", clock=clock)
    result.create()
    return result
