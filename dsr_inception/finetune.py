"""Training the closed set: what the frozen stages give is computed once, the rest is trained on it.

A recipe (``recipes/closed/*.yaml``) says how: the paper's is SGD, batch 64, rate 0.01 decayed as
``0.01 / (1 + 0.05 * epoch)``, 150 epochs; that its "natural decay index" is the 0.05 of this formula is our
reading, the formula is not printed. Each picture is kept as it is and mirrored; training draws one of
the two, the answer is the mean of both, as the box does.
"""

from __future__ import annotations

import csv
import logging
import random
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from dsr_inception import transfer
from dsr_inception.crops import aligned_crops
from dsr_inception.embedders import kept, picture_hash
from dsr_inception.errors import TrainingError
from dsr_inception.events import write_scalars
from edge_app.faces.preprocess import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dsr_inception.datasets import Photo, PhotoSet
    from dsr_inception.interrupted import Interrupted
    from dsr_inception.recipe import ClosedRecipe

    Halves = npt.NDArray[np.float16]
    Labels = npt.NDArray[np.intp]

CHUNK: Final = 256
_PREDICT: Final = 32

_log = logging.getLogger(__name__)


class Lower:
    """What the frozen stages say, (2, N, ...) float16: of pictures and of their mirror images.

    Args:
        recogniser: a `network.recogniser`.
        frozen: how many stages.
        key: names the weights, for the cache.
        cache: where the values are kept between runs, or None.
    """

    def __init__(self, recogniser: Any, frozen: int, *, key: str = "", cache: Path | None = None) -> None:
        self._model = transfer.lower(recogniser, frozen)
        self._folder = cache / f"lower{frozen}-{key[:12]}" if cache else None

    def of_crops(self, crops: npt.NDArray[np.uint8]) -> Halves:
        """Return the values of crops, (N, 224, 224, 3) uint8 RGB."""
        parts = [
            kept(self._folder, picture_hash(part), lambda part=part: self._run(part))  # type: ignore[misc]
            for part in (crops[i : i + CHUNK] for i in range(0, len(crops), CHUNK))
        ]
        return np.concatenate(parts, axis=1)

    def of_photos(self, photos: PhotoSet, files: Sequence[Photo | str]) -> Halves:
        """Return the values of aligned photos, a few hundred crops at a time."""
        chunks = (files[i : i + CHUNK] for i in range(0, len(files), CHUNK))
        return np.concatenate([self.of_crops(aligned_crops(photos, chunk)) for chunk in chunks], axis=1)

    def _run(self, crops: npt.NDArray[np.uint8]) -> Halves:
        found = []
        for start in range(0, len(crops), _PREDICT):
            pictures = normalise(crops[start : start + _PREDICT])
            both = np.concatenate([pictures, pictures[:, :, ::-1]])
            found.append(np.stack(np.split(np.asarray(self._model.predict_on_batch(both), np.float16), 2)))
        return np.concatenate(found, axis=1)


class Drawn(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches in a new order each epoch, each picture mirrored half of the time.

    It also says which pictures a batch is of, so ``fit`` is told not to shuffle: the batches are drawn here,
    as it would.
    """

    def __init__(self, values: Halves, labels: Labels, *, batch: int, seed: int) -> None:
        super().__init__()
        self._values, self._labels, self._batch = values, labels, batch
        self.rng = np.random.default_rng(seed)
        self._batches = list(range(len(self)))
        self.on_epoch_end()

    def __len__(self) -> int:
        return int(np.ceil(len(self._labels) / self._batch))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        rows = self.rows(index)
        return self._values[self.mirror[rows], rows].astype(np.float32), self._labels[rows]

    def rows(self, index: int) -> Labels:
        """Return which pictures the batch `index` of this epoch is of."""
        place = self._batches[index]
        return self.order[place * self._batch : (place + 1) * self._batch]

    def on_epoch_begin(self) -> None:
        """Draw the order of the batches."""
        self._batches = list(range(len(self)))
        random.shuffle(self._batches)

    def on_epoch_end(self) -> None:
        """Draw a new order, and which pictures are mirrored."""
        self.order = self.rng.permutation(len(self._labels))
        self.mirror = self.rng.integers(2, size=len(self._labels))


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Stops at the batch whose loss is no number.

    Args:
        batches: that are trained on.
        values: of all pictures, (2, N, ...).
        names: of the pictures; none: their numbers.
    """

    def __init__(self, batches: Drawn, values: Halves, names: Sequence[str]) -> None:
        super().__init__()
        self._batches, self._values, self._names = batches, values, names
        self.epoch = 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Look at the loss, which Keras gives as the mean since the epoch began.

        Raises:
            TrainingError: it is no number; the message names the batch's pictures.
        """
        loss = float((logs or {})["loss"])
        if not np.isfinite(loss):
            rate = float(self.model.optimizer.learning_rate)
            pictures = ", ".join(_name(self._names, i) for i in self._batches.rows(batch))
            raise TrainingError(
                f"the loss is {loss} in epoch {self.epoch}, batch {batch + 1} of {len(self._batches)}, rate "
                f"{rate:.2e}; {_suspects(self._values, self._names)}. The batch: {pictures}"
            )


@dataclass(frozen=True, slots=True)
class Epoch:
    """One row of a run's log: loss and accuracy on the training pictures, and on the others if given."""

    epoch: int
    loss: float
    accuracy: float
    test_accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The classifier above the frozen stages, and how it went."""

    model: Any
    log: tuple[Epoch, ...]

    def scores(self, values: Halves) -> npt.NDArray[np.float32]:
        """Return the logits, (N, C): mean of the picture's and its mirror image's."""
        return np.asarray(np.mean([_logits(self.model, half) for half in values], axis=0), np.float32)


def _logits(model: Any, half: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    parts = [
        np.asarray(model.predict_on_batch(half[i : i + CHUNK].astype(np.float32))["logits"])
        for i in range(0, len(half), CHUNK)
    ]
    return np.concatenate(parts)


def train_upper(
    recogniser: Any,
    values: Halves,
    labels: Labels,
    recipe: ClosedRecipe,
    *,
    names: Sequence[str] = (),
    test: tuple[Halves, Labels] | None = None,
    each: Callable[[Epoch], None] | None = None,
    interrupted: Interrupted | None = None,
) -> Trained:
    """Train what `recipe`'s scheme leaves free on the `values` (2, N, ...) of the frozen stages.

    Args:
        recogniser: whose stages are taken over.
        values: of `Lower`, with the scheme's number of frozen stages.
        labels: (N,), 0..C-1 without a gap.
        recipe: how to train.
        names: of the pictures, for messages.
        test: values and labels that the log's last column is of; nothing is chosen by it.
        each: called after every epoch.
        interrupted: where the state is kept after every epoch, and gone on from if it is there.

    Raises:
        TrainingError: an unknown scheme, one that trains nothing, a gap in the labels, a loss that is no
            number, or a state that cannot be gone on from.
    """
    frozen = transfer.frozen_stages(recipe.scheme)
    if recipe.scheme == "a":
        raise TrainingError("scheme a trains nothing; b to f do")
    keras.utils.set_random_seed(recipe.seed)
    classifier = transfer.upper(recogniser, frozen, int(labels.max()) + 1, dropout=recipe.dropout)
    features = _features(classifier, values[0])
    centres = transfer.class_means(features, labels)
    if recipe.sharpness:
        head = recogniser.get_layer("embedding_linear").get_weights()
        transfer.start_at_means(classifier, head, features, labels, sharpness=recipe.sharpness)
    model = transfer.JointModel(classifier, weight=recipe.centre, alpha=recipe.alpha, start=centres)
    model.compile(keras.optimizers.SGD(recipe.learning_rate, momentum=recipe.momentum))
    transfer.without_compiler(model)
    batches = Drawn(values, labels, batch=recipe.batch, seed=recipe.seed)
    log = [Epoch(**row) for row in interrupted.go_on(model, batches)] if interrupted else []
    watch = Watch(batches, values, names)
    for epoch in range(len(log), recipe.epochs):
        model.optimizer.learning_rate = recipe.learning_rate / (1 + recipe.decay * epoch)
        watch.epoch, started = epoch + 1, time.monotonic()
        fitted = model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[watch])
        loss = float(fitted.history["loss"][0])
        row = _epoch(classifier, (values, labels), test, epoch + 1, loss, time.monotonic() - started)
        log.append(row)
        left = (recipe.epochs - epoch - 1) * row.seconds
        _log.info("epoch %d of %d: loss %.4f, %.0f s left", epoch + 1, recipe.epochs, loss, left)
        if interrupted:
            interrupted.keep(model, batches, log)
        if each:
            each(row)
    return Trained(classifier, tuple(log))


def _suspects(values: Halves, names: Sequence[str]) -> str:
    """Name pictures that the frozen stages give no numbers for, at most ten, or say that there are none."""
    odd = [i for i in range(values.shape[1]) if not np.isfinite(values[:, i]).all()]
    if not odd:
        return "every picture gives numbers: lower learning_rate or centre"
    shown = ", ".join(_name(names, i) for i in odd[:10])
    return f"{len(odd)} pictures give no numbers, look at them: {shown}"


def _name(names: Sequence[str], row: int) -> str:
    return names[row] if names else f"number {row}"


def _epoch(  # noqa: PLR0917 -- one call, in reading order
    classifier: Any,
    train: tuple[Halves, Labels],
    test: tuple[Halves, Labels] | None,
    number: int,
    loss: float,
    seconds: float,
) -> Epoch:
    some = slice(None, None, max(1, len(train[1]) // 1000))
    own = float((_logits(classifier, train[0][0][some]).argmax(axis=1) == train[1][some]).mean())
    others = float("nan")
    if test is not None:
        others = float((_logits(classifier, test[0][0]).argmax(axis=1) == test[1]).mean())
    return Epoch(number, loss, own, others, seconds)


def _features(classifier: Any, half: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    model = transfer.without_compiler(keras.Model(classifier.input, classifier.output["feature"]))
    parts = [
        np.asarray(model.predict_on_batch(half[i : i + CHUNK].astype(np.float32)))
        for i in range(0, len(half), CHUNK)
    ]
    return np.concatenate(parts)


def write_log(folder: Path, log: Sequence[Epoch]) -> Path:
    """Write ``log.csv`` into `folder`, one row an epoch, and an event file beside it; return the first."""
    path = folder / "log.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f.name for f in fields(Epoch)])
        writer.writerows([getattr(row, f.name) for f in fields(Epoch)] for row in log)
    names = ("loss", "accuracy", "test_accuracy")
    write_scalars(folder, {row.epoch: {name: getattr(row, name) for name in names} for row in log})
    return path
