"""`dsr-train finetune`: the closed set by one of Table 3's schemes, with or without the centre term.

The set is the deep CelebA people of ``splits.json`` (at least 15 photos each): trained on all photos but
the last five, which no training set holds, and tested on those. The optimiser is the paper's: SGD, batch
64, rate 0.01 decayed by ``0.01 / (1 + 0.05 * epoch)``.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from dsr_inception import transfer
from dsr_inception.crops import aligned_crops
from dsr_inception.datasets import HELD_BACK, PhotoSet, Splits, require_classes
from dsr_inception.errors import TrainingError
from edge_app.faces.preprocess import normalise

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

BATCH: Final = 64
RATE: Final = 0.01
DECAY: Final = 0.05

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Split:
    """Crops, (N, 224, 224, 3) uint8 RGB, and labels, (N,), of a closed set's two halves."""

    train: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.intp]
    test: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.intp]


def deep_split(photos: PhotoSet, splits: Splits, *, identities: int | None = None) -> Split:
    """Return the deep people's closed set, the first `identities` of them if given.

    Raises:
        DataError: somebody has too few photos for five test photos and two to train on.
    """
    people = {who: own for who, own in photos.by_person().items() if who in splits.celeba_deep}
    chosen = dict(sorted(people.items())[:identities])
    train = [photo for own in chosen.values() for photo in own[:-HELD_BACK]]
    test = [photo for own in chosen.values() for photo in own[-HELD_BACK:]]
    require_classes(train, least=2)
    number = {who: i for i, who in enumerate(chosen)}
    return Split(
        aligned_crops(photos, train),
        np.array([number[p.person] for p in train]),
        aligned_crops(photos, test),
        np.array([number[p.person] for p in test]),
    )


def finetune(recogniser: Any, split: Split, *, scheme: str, weight: float, epochs: int) -> transfer.ClosedSet:
    """Train `recogniser`'s trunk as a classifier by `scheme` and return the test half's figures.

    Raises:
        TrainingError: an unknown scheme, or a loss that is no number.
    """
    if scheme == "a":
        features = keras.Model(recogniser.input, recogniser.get_layer("gap").output)
        train, test = (_predict(features, crops) for crops in (split.train, split.test))
        return transfer.closed_set_figures(
            transfer.nearest_mean(train, split.train_labels, test), split.test_labels
        )
    classifier = transfer.classifier_from(recogniser, int(split.train_labels.max()) + 1)
    transfer.freeze(classifier, scheme)
    model = transfer.JointModel(classifier, weight=weight)
    model.compile(keras.optimizers.SGD(RATE))
    batches = Pictures(split.train, split.train_labels)
    for epoch in range(epochs):
        model.optimizer.learning_rate = RATE / (1 + DECAY * epoch)
        started = time.monotonic()
        loss = float(model.fit(batches, epochs=1, verbose=0).history["loss"][0])
        if not np.isfinite(loss):
            raise TrainingError(f"the loss is {loss} in epoch {epoch + 1}; lower the centre weight")
        _log.info("epoch %d of %d: loss %.4f, %.0f s", epoch + 1, epochs, loss, time.monotonic() - started)
    predicted = _predict(classifier, split.test)["logits"].argmax(axis=1)
    return transfer.closed_set_figures(predicted, split.test_labels)


def _predict(model: Any, crops: npt.NDArray[np.uint8]) -> Any:
    """Return the model's outputs for uint8 crops."""
    return model.predict(Pictures(crops, np.zeros(len(crops), int), shuffled=False), verbose=0)


class Pictures(keras.utils.PyDataset):  # type: ignore[misc]
    """Crops as float32 batches, mirrored half of the time and in a new order each epoch to train on."""

    def __init__(self, crops: Any, labels: Any, *, shuffled: bool = True, seed: int = 0) -> None:
        super().__init__()
        self._crops, self._labels, self._shuffled = crops, labels, shuffled
        self._rng = np.random.default_rng(seed)
        self._order = self._rng.permutation(len(crops)) if shuffled else np.arange(len(crops))

    def __len__(self) -> int:
        return int(np.ceil(len(self._crops) / BATCH))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        rows = self._order[index * BATCH : (index + 1) * BATCH]
        pictures = normalise(self._crops[rows])
        if self._shuffled:
            mirrored = self._rng.random(len(rows)) < 0.5  # noqa: PLR2004 -- half
            pictures[mirrored] = pictures[mirrored, :, ::-1]
        return pictures, self._labels[rows]

    def on_epoch_end(self) -> None:
        """Draw a new order."""
        if self._shuffled:
            self._order = self._rng.permutation(len(self._crops))


def write_figures(path: Path, figures: transfer.ClosedSet, **about: object) -> None:
    """Write figures and what they are of as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(figures) | about, indent=1) + "\n")
