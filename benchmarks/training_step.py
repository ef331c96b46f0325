"""How many pictures a second a training step learns: float32 and bfloat16, alternating, beside Keras' layers.

Run as ``python -m benchmarks.training_step [SIDE [BATCH]]``; the environment of docs/training.md helps all
three. Nothing is learned: the pictures are drawn, the people are too.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dsr_inception import network, recipe

if TYPE_CHECKING:
    from dsr_inception.step import Learner

RECIPE: Final = Path(recipe.__file__).parent / "recipes" / "cpu.yaml"
PEOPLE: Final = 8_934
WARM: Final = 4
ROUNDS: Final = 12
CASES: Final = (("Keras' layers", "float32", True), ("fast", "float32", False), ("fast", "bfloat16", False))


def learner_of(precision: str, *, plain: bool, prototypes: Any) -> Learner:
    """Return a fresh recogniser with what learning needs."""
    from dsr_inception.step import Learner

    chosen = dataclasses.replace(recipe.load_recipe(RECIPE), precision=precision)
    return Learner(network.recogniser(None, dim=prototypes.shape[1]), prototypes, chosen, plain=plain)


def main() -> int:
    """Print the table."""
    side, batch = (int(word) for word in (*sys.argv[1:], "64", "64")[:2])
    rng = np.random.default_rng(0)
    prototypes = rng.normal(size=(PEOPLE, network.EMBEDDING_DIM)).astype(np.float32)
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    pictures, labels = rng.integers(0, 256, (batch, side, side, 3), np.uint8), rng.integers(0, PEOPLE, batch)
    learners = [learner_of(precision, plain=plain, prototypes=prototypes) for _, precision, plain in CASES]
    taken: list[list[float]] = [[] for _ in CASES]
    for step in range(1, WARM + ROUNDS + 1):
        for learner, times in zip(learners, taken, strict=True):
            start = time.perf_counter()
            learner.learn(pictures, prototypes[labels], labels, [1e-4, step, 0.9, 0.1])
            times.append(time.perf_counter() - start)
    first = statistics.median(taken[1][WARM:])
    print(f"{side}x{side}, {batch} a step, {ROUNDS} rounds, medians; ratio: of the time of fast float32")
    for (name, precision, _), times in zip(CASES, taken, strict=True):
        middle = statistics.median(times[WARM:])
        print(f"{name:>14} {precision:>9} {batch / middle:7.1f} pictures/s  ratio {middle / first:5.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
