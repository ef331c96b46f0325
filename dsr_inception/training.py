"""One training run: from a recipe and photos to weights, by the clock, and on again after a kill.

The run is driven by wall-clock time, because a shared two-core machine gives no promise of steps: each
phase of the recipe ends at its share of the minutes, and the learning rate follows the same clock. A
checkpoint is written every few minutes, on SIGTERM and on Ctrl-C -- weights, optimiser, moving averages, time
used -- aside and renamed; `resume` goes on from it. A loss that is no number stops the run and names
the batch's photos. The weights that leave are exponential moving averages, restarted with every
phase, since weights of different input sides must not be averaged.

The step is `step`'s, on any backend of Keras.
"""

from __future__ import annotations

import csv
import functools
import json
import logging
import os
import signal
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import numpy as np

from dsr_inception import network
from dsr_inception.batches import Batches, upright_crops
from dsr_inception.embedders import KerasEmbedder
from dsr_inception.errors import TrainingError
from dsr_inception.run_record import CHECKPOINT, tidy
from dsr_inception.step import Learner
from dsr_inception.targets import rotation_between

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from dsr_inception.batches import Batch
    from dsr_inception.recipe import Phase, Recipe
    from dsr_inception.targets import Targets

SAVE_EVERY: Final = 150.0
LOG_EVERY: Final = 20.0
FLOOR: Final = 0.02
#: So many photos say how earlier weights' embeddings lie to this run's targets.
TURNED_BY: Final = 1024
COLUMNS: Final = (
    "seconds",
    "step",
    "pictures",
    "side",
    "rate",
    "loss",
    "cosine",
    "accuracy",
    "norm",
    "speed",
    "left",
)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Progress:
    """Where a run is: `seconds` of wall-clock used, `steps`, `pictures`, and steps within this `side`."""

    seconds: float = 0.0
    steps: int = 0
    pictures: int = 0
    side: int = 0
    side_steps: int = 0


def learning_rate(recipe: Recipe, share: float, steps: int, side_steps: int) -> float:
    """Return the rate at a `share` 0..1 of the run: warm-up, cosine, perhaps a restart in the last phase."""
    last_start = recipe.phases[-2].until if len(recipe.phases) > 1 else 0.0
    if recipe.final_learning_rate and share >= last_start > 0:
        within = (share - last_start) / (1 - last_start)
        return recipe.final_learning_rate * min(1.0, side_steps / 20) * _cosine(within)
    return recipe.learning_rate * min(1.0, steps / max(1, recipe.warmup_steps)) * _cosine(share)


def _cosine(share: float) -> float:
    return float(FLOOR + (1 - FLOOR) * 0.5 * (1 + np.cos(np.pi * min(1.0, share))))


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Let layers that are made inside compute in ``float32`` or ``bfloat16``; weights stay float32."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Trainer:
    """Holds the model and everything that a checkpoint needs.

    Args:
        recipe: of the run.
        pixels: photos, (N, 128, 128, 3) uint8 BGR.
        names: of the photos, for messages.
        targets: of the photos, same order.
        folder: for checkpoint, log and weights; made if missing.
    """

    def __init__(
        self,
        *,
        recipe: Recipe,
        pixels: npt.NDArray[np.uint8],
        names: list[str],
        targets: Targets,
        folder: Path,
    ) -> None:
        if not len(pixels) == len(names) == len(targets.labels):
            msg = f"{len(pixels)} pictures, {len(names)} names and {len(targets.labels)} targets do not match"
            raise ValueError(msg)
        self.recipe, self.folder, self.progress = recipe, folder, Progress()
        self._pixels, self._names, self._targets = pixels, names, targets
        folder.mkdir(parents=True, exist_ok=True)
        import keras

        keras.utils.set_random_seed(recipe.seed)
        with computing_in(recipe.precision):
            self.model = network.recogniser(None, dim=targets.vectors.shape[1])
        self.learner = Learner(self.model, targets.prototypes, recipe)
        #: The number of the signal that stopped the run, 0 without one.
        self.stopped = 0

    # -- the step ---------------------------------------------------------------------------------

    def learn(self, batch: Batch) -> npt.NDArray[np.float32]:
        """Take one step on `batch`; return loss, cosine to the teacher, accuracy and gradient norm.

        Raises:
            TrainingError: the loss or the gradient's norm is no number.
        """
        return self._stepped(batch)()

    def _stepped(self, batch: Batch) -> Callable[[], npt.NDArray[np.float32]]:
        """Begin one step on `batch`; what comes back waits for its figures."""
        progress, share = self.progress, self.share
        side = batch.pictures.shape[1]
        progress.side_steps = progress.side_steps + 1 if side == progress.side else 1
        progress.side = side
        progress.steps += 1
        progress.pictures += len(batch.rows)
        rate = learning_rate(self.recipe, share, progress.steps, progress.side_steps)
        keep = min(self.recipe.ema, 1 - 10 / (progress.side_steps + 20))
        clock = [rate, progress.steps, keep, self.recipe.loss.margin * min(1.0, 4 * share)]
        figures = self.learner.learn(
            batch.pictures,
            self._targets.vectors[batch.rows],
            self._targets.labels[batch.rows],
            clock,
            quantised=bool(self.phase().quantised),
        )
        return functools.partial(self._figures, figures, batch, progress.steps, rate)

    def _figures(self, found: Any, batch: Batch, step: int, rate: float) -> npt.NDArray[np.float32]:
        import keras

        figures = np.asarray(keras.ops.convert_to_numpy(found), np.float32)
        for what, value in (("loss", figures[0]), ("gradient's norm", figures[-1])):
            if not np.isfinite(value):
                photos = ", ".join(self._names[i] for i in batch.rows)
                raise TrainingError(
                    f"the {what} is {value} at step {step}, rate {rate:.2e}. Lower learning_rate, "
                    f"or look at the batch's photos: {photos}"
                )
        return figures

    @property
    def share(self) -> float:
        """How much of the recipe's time is used, 0..1."""
        return min(1.0, self.progress.seconds / 60 / self.recipe.minutes)

    def phase(self) -> Phase:
        """Return the phase that the clock is in."""
        return self.recipe.phase(self.share)

    # -- the run ----------------------------------------------------------------------------------

    def run(self) -> Path:
        """Train until the recipe's time is used, SIGTERM or Ctrl-C; return the path of the weights."""
        tidy(self.folder, self.progress.steps)
        batches = Batches(self._pixels, self.phase, seed=self.recipe.seed + self.progress.steps)
        before = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)
        }
        started, used = time.monotonic(), self.progress.seconds
        saved = logged = started
        pending: list[npt.NDArray[np.float32]] = []
        pictures = self.progress.pictures
        begun: list[Callable[[], npt.NDArray[np.float32]]] = []
        try:
            while self.share < 1.0 and not self.stopped:
                begun.append(self._stepped(batches.next()))
                pending += [figures() for figures in begun[:-1]]  # of the step before: a GPU never waits
                del begun[:-1]
                now = time.monotonic()
                self.progress.seconds = used + now - started
                if pending and now - logged >= LOG_EVERY:
                    speed = (self.progress.pictures - pictures) / (now - logged)
                    self._log(np.mean(pending, axis=0), speed)
                    pending, logged, pictures = [], now, self.progress.pictures
                if now - saved >= SAVE_EVERY:
                    pending += [figures() for figures in begun]  # what is kept must be numbers
                    begun.clear()
                    self.save()
                    saved = now
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            batches.close()
        pending += [figures() for figures in begun]
        if pending and self.progress.pictures > pictures:
            seconds = max(time.monotonic() - logged, 1e-3)
            self._log(np.mean(pending, axis=0), (self.progress.pictures - pictures) / seconds)
        self.save()
        if self.stopped:
            _log.info("stopped by a signal: `dsr-train resume --out %s` goes on from here", self.folder)
        return self.write_weights()

    def _on_signal(self, number: int, _: object) -> None:
        self.stopped = number

    def _log(self, figures: npt.NDArray[np.float32], speed: float) -> None:
        progress = self.progress
        rate = learning_rate(self.recipe, self.share, progress.steps, progress.side_steps)
        left = max(0.0, self.recipe.minutes - progress.seconds / 60)
        row = [round(progress.seconds), progress.steps, progress.pictures, progress.side, f"{rate:.2e}"]
        row += [*(f"{v:.4f}" for v in figures), f"{speed:.1f}", f"{left:.1f}"]
        _log.info("%s", "  ".join(f"{name} {value}" for name, value in zip(COLUMNS, row, strict=True)))
        path = self.folder / "log.csv"
        fresh = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(COLUMNS)
            writer.writerow(row)

    # -- what stays -------------------------------------------------------------------------------

    def save(self) -> Path:
        """Write the checkpoint aside, rename it, and return its path."""
        import keras

        self.learner.settle()
        path = self.folder / CHECKPOINT
        arrays: dict[str, Any] = {"progress": json.dumps(asdict(self.progress))}
        for key, values in self._parts().items():
            arrays |= {f"{key}{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(values)}
        aside = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(aside, **arrays)
        aside.replace(path)
        return path

    def restore(self) -> None:
        """Go on from the folder's checkpoint.

        Raises:
            TrainingError: there is none, it is damaged, or it is another network's.
        """
        path = self.folder / CHECKPOINT
        try:
            with path.open("rb") as file, np.load(file) as kept:  # numpy leaves a damaged one open
                for key, values in self._parts().items():
                    for i, variable in enumerate(values):
                        variable.assign(kept[f"{key}{i}"])
                self.progress = Progress(**json.loads(str(kept["progress"])))
        except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
            raise TrainingError(
                f"{path} cannot be resumed: {error}. Move it away and start again with `pretrain`, from the "
                "weights beside it with --init"
            ) from error

    def start_from(self, path: Path) -> None:
        """Take over the weights of a recogniser in `path`, .keras; optimiser and clock stay fresh.

        Its embeddings may lie another way round than this run's targets (taught on other photos, or by the
        axes of another machine): the head is turned to where both agree best, which changes no similarity.

        Raises:
            TrainingError: it is missing or another network.
        """
        import keras

        try:
            earlier = keras.saving.load_model(path)
            self.model.set_weights(earlier.get_weights())
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path} gives no weights for this network: {error}") from error
        rows = np.linspace(0, len(self._names) - 1, min(TURNED_BY, len(self._names))).astype(int)
        found = KerasEmbedder(earlier).embed(upright_crops(self._pixels, rows, earlier.input_shape[1]))
        turn = rotation_between(found, self._targets.vectors[rows])
        head = self.model.get_layer("embedding_linear")
        head.set_weights([weight @ turn for weight in head.get_weights()])
        for average, weight in zip(self.learner.average, self.learner.weights, strict=True):
            average.assign(weight.value)

    def _parts(self) -> dict[str, list[Any]]:
        learner = self.learner
        moments = {"m": learner.optimiser.first, "s": learner.optimiser.second}
        return {"w": learner.weights, "a": learner.average, **moments}

    def write_weights(self) -> Path:
        """Write the averaged weights as ``recogniser.keras`` (224x224) and their record beside it."""
        self.learner.settle()
        dim = self._targets.vectors.shape[1]
        model = network.recogniser(network.INPUT_SIDE, dim=dim, reduce=self.recipe.reduce)
        for target, average in zip(
            (v for v in model.variables if "seed" not in v.path), self.learner.average, strict=True
        ):
            target.assign(average)
        path = self.folder / "recogniser.keras"
        model.save(path)
        record = asdict(self.progress) | {"recipe": asdict(self.recipe), "photos": len(self._names)}
        path.with_suffix(".keras.json").write_text(json.dumps(record, indent=1) + "\n")
        return path
