"""How many pictures a second a training step learns, on whatever Keras runs on here.

- ``python -m benchmarks.training_step [SIDE [BATCH]]``: float32, bfloat16 and Keras' layers, alternating;
- ``python -m benchmarks.training_step RECIPE.yaml``: every phase of a recipe, learning and cutting apart, and
  what the first step costs (on jax: compiling it, once for every side and batch).

The environment of docs/training.md helps. Nothing is learned: the pictures are drawn, the people are too.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dsr_inception import network, recipe
from dsr_inception.batches import Batches

if TYPE_CHECKING:
    from dsr_inception.step import Learner

RECIPE: Final = Path(recipe.__file__).parent / "recipes" / "cpu.yaml"
PEOPLE: Final = 8_934
PHOTOS: Final = 512
WARM: Final = 4
ROUNDS: Final = 12
#: Batches that are cut; what lies ready before is not counted.
CUT: Final = (40, 60)
CASES: Final = (("Keras' layers", "float32", True), ("fast", "float32", False), ("fast", "bfloat16", False))


def learner_of(chosen: recipe.Recipe, *, plain: bool = False) -> Learner:
    """Return a fresh recogniser with what learning needs."""
    from dsr_inception.step import Learner

    model = network.recogniser(None, dim=network.EMBEDDING_DIM)
    return Learner(model, _prototypes(), chosen, plain=plain)


def _prototypes() -> Any:
    found = np.random.default_rng(0).normal(size=(PEOPLE, network.EMBEDDING_DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _given(side: int, batch: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, PEOPLE, batch)
    return rng.integers(0, 256, (batch, side, side, 3), np.uint8), _prototypes()[labels], labels


def compare(side: int, batch: int) -> None:
    """Print what a step takes in each of `CASES`."""
    cpu = recipe.load_recipe(RECIPE)
    learners = [
        learner_of(dataclasses.replace(cpu, precision=precision), plain=plain)
        for _, precision, plain in CASES
    ]
    given = _given(side, batch)
    taken: list[list[float]] = [[] for _ in CASES]
    for step in range(1, WARM + ROUNDS + 1):
        for learner, times in zip(learners, taken, strict=True):
            start = time.perf_counter()
            np.asarray(learner.learn(*given, [1e-4, step, 0.9, 0.1]))
            times.append(time.perf_counter() - start)
    first = statistics.median(taken[1][WARM:])
    print(f"{side}x{side}, {batch} a step, {ROUNDS} rounds, medians; ratio: of the time of fast float32")
    for (name, precision, _), times in zip(CASES, taken, strict=True):
        middle = statistics.median(times[WARM:])
        print(f"{name:>14} {precision:>9} {batch / middle:7.1f} pictures/s  ratio {middle / first:5.2f}")


def phases(path: Path) -> None:
    """Print, for each phase of the recipe in `path`, what learning and cutting manage apart."""
    chosen = recipe.load_recipe(path)
    learner = learner_of(chosen)
    print(f"{path.name}, {chosen.precision}; {ROUNDS} steps after {WARM}")
    for phase in chosen.phases:
        given = _given(phase.side, phase.batch)
        clock, quantised = [1e-4, 1, 0.9, 0.1], bool(phase.quantised)
        start = time.perf_counter()
        np.asarray(learner.learn(*given, clock, quantised=quantised))
        first = time.perf_counter() - start
        for _ in range(WARM):
            figures = learner.learn(*given, clock, quantised=quantised)
        np.asarray(figures)
        start = time.perf_counter()
        for _ in range(ROUNDS):
            figures = learner.learn(*given, clock, quantised=quantised)
        np.asarray(figures)
        learnt = ROUNDS * phase.batch / (time.perf_counter() - start)
        print(
            f"side {phase.side:>3} batch {phase.batch:>4} rounded {phase.quantised}: first step {first:5.1f} "
            f"s, learns {learnt:8.1f} pictures/s, cuts {_cut(phase):8.1f}",
            flush=True,
        )


def _cut(phase: recipe.Phase) -> float:
    """Return how many pictures a second are cut and degraded beside an idle step."""
    with tempfile.TemporaryDirectory() as folder:
        drawn = np.random.default_rng(2).integers(0, 256, (PHOTOS, 128, 128, 3), np.uint8)
        np.save(f"{folder}/photos.npy", drawn)
        batches = Batches(np.load(f"{folder}/photos.npy", mmap_mode="r"), lambda: phase, seed=0)
        for _ in range(CUT[0]):
            batches.next()
        start = time.perf_counter()
        for _ in range(CUT[1]):
            batches.next()
        taken = time.perf_counter() - start
        batches.close()
    return CUT[1] * phase.batch / taken


def main() -> int:
    """Print a table."""
    words = sys.argv[1:]
    if words and words[0].endswith((".yaml", ".yml")):
        phases(Path(words[0]))
    else:
        side, batch = (int(word) for word in (*words, "64", "64")[:2])
        compare(side, batch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
