"""A classifier's training goes on after a kill: what its next epoch hangs on is kept after every epoch.

That is the weights, the optimiser, the centres, the states of what draws dropout, the order of the pictures
and of the batches, and the log so far. The file is written aside and renamed, and removed when the training
is done; it is taken up by the same recipe on the same pictures and weights alone.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import keras
import numpy as np

from dsr_inception.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dsr_inception.finetune import Drawn, Epoch

STATE: Final = "state.npz"


class Interrupted:
    """The state of one training in a folder.

    Args:
        folder: of the training; made when something is kept.
        key: what the training is of, as JSON has it; a state of another key is refused.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self._path, self._key = folder / STATE, json.dumps(key, sort_keys=True)

    def keep(self, model: Any, batches: Drawn, log: Sequence[Epoch]) -> None:
        """Write down where the training of `model` is."""
        version, words, gauss = random.getstate()
        told = {
            "key": self._key,
            "log": [asdict(row) for row in log],
            "rng": batches.rng.bit_generator.state,
            "random": [version, list(words), gauss],
        }
        arrays = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(_variables(model))}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_suffix(f".{os.getpid()}.npz")
        np.savez(aside, told=json.dumps(told), order=batches.order, mirror=batches.mirror, **arrays)
        aside.replace(self._path)

    def go_on(self, model: Any, batches: Drawn) -> list[dict[str, Any]]:
        """Put `model` and `batches` where the training was; return its log's rows, none if it begins.

        Raises:
            TrainingError: the folder's state is another training's, or damaged.
        """
        for left in self._path.parent.glob(f"{self._path.stem}.*.npz"):
            left.unlink(missing_ok=True)
        if not self._path.is_file():
            return []
        try:
            with self._path.open("rb") as file, np.load(file) as kept:
                told = json.loads(str(kept["told"]))
                own = told["key"] == self._key
                if own:
                    for i, variable in enumerate(_variables(model)):
                        variable.assign(kept[f"v{i}"])
                    batches.order, batches.mirror = kept["order"], kept["mirror"]
        except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
            raise TrainingError(f"{self._path} cannot be gone on from: {error}. Remove it") from error
        if not own:
            raise TrainingError(
                f"{self._path} is of a training with another recipe, other pictures or other weights: give "
                "the same, another --out, or remove it"
            )
        batches.rng.bit_generator.state = told["rng"]
        version, words, gauss = told["random"]
        random.setstate((version, tuple(words), gauss))
        return list(told["log"])

    def done(self) -> None:
        """Remove the state: the training is finished, and the next one begins anew."""
        self._path.unlink(missing_ok=True)


def _variables(model: Any) -> list[Any]:
    model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]
