"""A run's figures as TensorBoard reads them, beside the CSV: where TensorFlow is installed.

TensorFlow writes the file; TensorBoard itself is not needed for it (``tensorboard --logdir RUN`` shows it, on
whatever machine has it). On another backend without TensorFlow there is the CSV alone.
"""

from __future__ import annotations

import csv
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_scalars(folder: Path, rows: Mapping[int, Mapping[str, float]]) -> bool:
    """Append `rows`, figures by name for each step, to a new event file in `folder`.

    Returns whether there is one: False where TensorFlow is not installed.
    """
    if importlib.util.find_spec("tensorflow") is None:
        return False
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default():
        writer = v1.summary.FileWriter(str(folder))
    for step, figures in rows.items():
        values = [v1.Summary.Value(tag=name, simple_value=float(value)) for name, value in figures.items()]
        writer.add_summary(v1.Summary(value=values), step)
    writer.close()
    return True


def rows_of(log: Path, *, step: str) -> dict[int, dict[str, float]]:
    """Return the figures of a ``log.csv`` by the column `step`."""
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {int(row[step]): {k: float(v) for k, v in row.items() if k != step} for row in rows}
