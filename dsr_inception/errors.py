"""What goes wrong while training and measuring, apart from a box's own errors.

::

    TrainError
    ├── DataError       a set of pictures is missing, or not what it should be
    ├── RecipeError     a recipe cannot be used
    └── TrainingError   a run cannot go on: no checkpoint, or a loss that is no number

A message says what happened, what was received and what to do.
"""

from __future__ import annotations


class TrainError(Exception):
    """Base of what `dsr-train` reports in one line."""


class DataError(TrainError):
    """A set of pictures is missing, or not what it should be; the message says what to put where."""


class RecipeError(TrainError):
    """A recipe cannot be used; the message names the key, what was received and what is allowed."""


class TrainingError(TrainError):
    """Training cannot go on; the message says why and names the photos."""
