"""Training of the dust detector: what the network says of the clean picture, it shall say of the dusty one.

YuNet with its authors' weights (the teacher) looks at the clean picture. Where it is sure of a face that is
really there, the trained network must be as sure on the dusty picture, in the same cells; everywhere else it
must say nothing, even where the teacher is wrong. Boxes and landmarks of those cells are pulled to the
known ones. A face that the teacher does not see goes to the cell at its middle, on the stride of its size.

AdamW with a cosine, gradients cut at a norm, and a running mean of the weights, which is what is kept.
"""

from __future__ import annotations

import itertools
import json
import logging
import multiprocessing
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
import tensorflow as tf

from dsr_inception.detector import CELL_VALUES, STRIDES, build_detector
from dsr_inception.scenes import make_scene
from edge_app.faces.geometry import pairwise_iou

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dsr_inception.scenes import Image, Portrait, Scene

_log = logging.getLogger(__name__)
#: A teacher's cell is a face's when it scores so much and its box overlaps so much.
_SURE: Final = 0.25
_OVERLAP: Final = 0.5
#: Faces up to these heights belong to the first and the second stride where the teacher sees none.
_LEVEL_HEIGHTS: Final = (40.0, 100.0)
#: What a cell that is given to a face says at least.
_SAID: Final = 0.85
_EMA: Final = 0.995
#: Steps whose pictures are made ahead.
_AHEAD: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DustRecipe:
    """How long and how: `minutes` of steps of `batch` pictures of `side` pixels.

    `rate` falls to nothing by a cosine over the minutes, so that a busy machine makes fewer steps and
    not an unfinished run; it makes at most `steps`.
    """

    minutes: float = 55.0
    steps: int = 4000
    batch: int = 16
    side: int = 192
    rate: float = 1e-3
    warmup: int = 50
    decay: float = 1e-4
    box_weight: float = 20.0
    mark_weight: float = 16.0
    seed: int = 6


def decode(cells: npt.NDArray[np.floating], stride: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return corners (h, w, 4) in pixels and score (h, w) of one map (h, w, `CELL_VALUES`) with logits."""
    h, w = cells.shape[:2]
    columns, rows = np.meshgrid(np.arange(w), np.arange(h))
    x, y = (cells[..., 2] + columns) * stride, (cells[..., 3] + rows) * stride
    size = np.exp(np.clip(cells[..., 4:6], -8, 8)) * stride
    corners = np.stack(
        [x - size[..., 0] / 2, y - size[..., 1] / 2, x + size[..., 0] / 2, y + size[..., 1] / 2], -1
    )
    score = np.sqrt(1 / (1 + np.exp(-cells[..., 0])) / (1 + np.exp(-cells[..., 1])))
    return corners.astype(np.float32), score.astype(np.float32)


def encode(
    box: npt.NDArray[np.float32], marks: npt.NDArray[np.float32], row: int, column: int, stride: int
) -> npt.NDArray[np.float32]:
    """Return the fourteen values by which the cell tells `box` (left, top, width, height) and `marks`."""
    middle = (box[:2] + box[2:] / 2) / stride - (column, row)
    size = np.log(np.maximum(box[2:], 1.0) / stride)
    points = marks / stride - (column, row)
    return np.concatenate([middle, size, points.ravel()]).astype(np.float32)


def targets_of(scene: Scene, clean: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
    """Return what each map shall say, (h, w, 17): class, objectness, box, landmarks, and the weight of these.

    Args:
        scene: the picture and its faces.
        clean: the teacher's maps of the clean picture, with logits.
    """
    maps = [np.zeros((*cells.shape[:2], CELL_VALUES + 1), np.float32) for cells in clean]
    decoded = [decode(cells, stride) for cells, stride in zip(clean, STRIDES, strict=True)]
    for box, marks in zip(scene.boxes, scene.marks, strict=True):
        corners = np.array([[*box[:2], *(box[:2] + box[2:])]], np.float32)
        taken = 0
        for level, (boxes, score) in enumerate(decoded):
            overlap = pairwise_iou(boxes.reshape(-1, 4), corners).reshape(score.shape)
            for row, column in zip(*np.nonzero((overlap >= _OVERLAP) & (score >= _SURE)), strict=True):
                said = np.maximum(1 / (1 + np.exp(-clean[level][row, column, :2])), score[row, column])
                _give(maps, level, row, column, box, marks, np.maximum(said, score[row, column] ** 0.5))
                taken += int(score[row, column] >= 0.5)  # noqa: PLR2004
        if not taken:
            level = int(np.searchsorted(_LEVEL_HEIGHTS, box[3]))
            middle = (box[:2] + box[2:] / 2) / STRIDES[level]
            column, row = (int(v) for v in np.clip(middle, 0, np.array(maps[level].shape[1::-1]) - 1))
            _give(maps, level, row, column, box, marks, np.full(2, _SAID, np.float32))
    return maps


def _give(  # noqa: PLR0917 -- one call, in reading order
    maps: list[npt.NDArray[np.float32]],
    level: int,
    row: int,
    column: int,
    box: npt.NDArray[np.float32],
    marks: npt.NDArray[np.float32],
    said: npt.NDArray[np.float32],
) -> None:
    cell = maps[level][row, column]
    cell[:2] = np.maximum(cell[:2], said)
    cell[2:CELL_VALUES] = encode(box, marks, row, column, STRIDES[level])
    cell[CELL_VALUES] = 1.0


def loss_of(outputs: Sequence[Any], targets: Sequence[Any], recipe: DustRecipe) -> Any:
    """Return the loss: cross-entropy of class and objectness in all cells, smooth L1 of the rest."""
    said = box_error = mark_error = 0.0
    count = tf.add_n([tf.reduce_sum(target[..., CELL_VALUES]) for target in targets]) + 1.0
    for output, target in zip(outputs, targets, strict=True):
        weight = target[..., CELL_VALUES]
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(target[..., :2], output[..., :2])
        certain = tf.nn.sigmoid(output[..., :2])
        focus = tf.stop_gradient(tf.abs(target[..., :2] - certain))  # hard cells count
        said += tf.reduce_sum(entropy * tf.where(weight[..., None] > 0, 1.0, focus * 4.0))
        scale = tf.exp(target[..., 4:5])  # errors as shares of the face, whatever the stride
        box_error += _smooth((output[..., 2:4] - target[..., 2:4]) / scale, weight)
        box_error += _smooth(output[..., 4:6] - target[..., 4:6], weight)
        mark_error += _smooth((output[..., 6:] - target[..., 6:CELL_VALUES]) / scale, weight)
    return (
        said + recipe.box_weight * 10.0 * box_error + recipe.mark_weight * 10.0 * mark_error / 2.5
    ) / count


def _smooth(difference: Any, weight: Any, beta: float = 0.05) -> Any:
    away = tf.abs(difference)
    values = tf.where(away < beta, 0.5 * away * away / beta, away - 0.5 * beta)
    return tf.reduce_sum(values * weight[..., None])


class DustTrainer:
    """Trains the detector on pictures that it makes as it goes.

    Args:
        recipe: how long and how.
        portraits, photos, backgrounds: what scenes are made of.
        model: what is trained, with its first weights.
        teacher: what looks at the clean pictures.
        folder: where `dustface.keras` and the log go.
    """

    def __init__(
        self,
        *,
        recipe: DustRecipe,
        portraits: Sequence[Portrait],
        photos: Sequence[Portrait],
        backgrounds: Sequence[Image],
        model: keras.Model,
        teacher: keras.Model,
        folder: Path,
    ) -> None:
        self._recipe, self._folder = recipe, folder
        self.losses: list[float] = []
        self._sources = (portraits, photos, backgrounds)
        self.model, self._teacher = model, teacher
        self._optimiser = keras.optimizers.AdamW(recipe.rate, weight_decay=recipe.decay, global_clipnorm=5.0)
        self._mean = [np.array(w) for w in self.model.get_weights()]
        self._teach = tf.function(lambda x: self._teacher(x, training=False))
        self._step = tf.function(self._one_step)

    def run(self) -> Path:
        """Train and return the path of the weights' running mean, ``dustface.keras``."""
        recipe, began = self._recipe, time.monotonic()
        self.losses = []
        for step, scenes in enumerate(self._scenes()):
            done = max(step / recipe.steps, (time.monotonic() - began) / 60 / recipe.minutes)
            if done >= 1:
                break
            self._optimiser.learning_rate.assign(self._rate(step, done))
            pictures, targets = self._batch(scenes)
            self.losses.append(float(self._step(pictures, targets)))
            keep = min(_EMA, (1 + step) / (10 + step))
            now = self.model.get_weights()
            self._mean = [keep * mean + (1 - keep) * one for mean, one in zip(self._mean, now, strict=True)]
            if (step + 1) % 50 == 0:
                minutes = (time.monotonic() - began) / 60
                _log.info("step %d loss %.4f, %.1f min", step + 1, float(np.mean(self.losses[-50:])), minutes)
            if (step + 1) % 200 == 0:
                self.save()
        (self._folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
        return self.save()

    def save(self) -> Path:
        """Write the running mean of the weights aside, rename it, and return its path."""
        path, aside = self._folder / "dustface.keras", self._folder / ".aside.keras"
        kept = build_detector()
        kept.set_weights(self._mean)
        kept.save(aside)
        aside.replace(path)
        return path

    def _rate(self, step: int, done: float) -> float:
        warm = min(1.0, (step + 1) / self._recipe.warmup)
        return self._recipe.rate * warm * 0.5 * (1 + float(np.cos(np.pi * done))) + 1e-6

    def _scenes(self) -> Iterator[list[Scene]]:
        """Yield each step's pictures, made a few steps ahead by a process of its own."""
        recipe = self._recipe
        context = multiprocessing.get_context("spawn")
        given = (self._sources, recipe.seed, recipe.batch, recipe.side)
        with ProcessPoolExecutor(1, context, initializer=_begin_scenes, initargs=given) as pool:
            ahead = deque(pool.submit(_scenes_of, step) for step in range(_AHEAD))
            for step in itertools.count(_AHEAD):
                ready = ahead.popleft().result()
                ahead.append(pool.submit(_scenes_of, step))
                try:
                    yield ready
                except GeneratorExit:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise

    def _batch(self, scenes: Sequence[Scene]) -> tuple[Any, list[Any]]:
        clean = [cells.numpy() for cells in self._teach(_stacked([s.clean for s in scenes]))]
        each = [targets_of(scene, [cells[i] for cells in clean]) for i, scene in enumerate(scenes)]
        targets = [tf.constant(np.stack(maps)) for maps in zip(*each, strict=True)]
        return _stacked([s.seen for s in scenes]), targets

    def _one_step(self, pictures: Any, targets: list[Any]) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(self.model(pictures, training=True), targets, self._recipe)
        variables = self.model.trainable_variables
        self._optimiser.apply(tape.gradient(loss, variables), variables)
        return loss


_scene_sources: tuple[Any, ...] = ()


def _begin_scenes(*sources: Any) -> None:
    """Note in the process that makes pictures what they are made of."""
    import cv2

    global _scene_sources  # noqa: PLW0603 -- one of this process, sent once
    cv2.setNumThreads(1)
    _scene_sources = sources


def _scenes_of(step: int) -> list[Scene]:
    sources, seed, batch, side = _scene_sources
    rng = np.random.default_rng([seed, step])
    return [make_scene(rng, *sources, side=side) for _ in range(batch)]


def _stacked(pictures: Sequence[Image]) -> Any:
    return tf.constant(np.stack(pictures).astype(np.float32))
