"""A training run as one YAML file: its budget, its phases, its loss.

A recipe is checked before anything is read: an unknown or missing key, a wrong type or an impossible
value is an error that names the key and what was received.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_type_hints

import yaml

from dsr_inception.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALLEST_SIDE: Final = 32

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Until which share of the run, at which side, in which batches, with how much of the mine.

    `quantised` 1 rounds every stage's input to 255 levels, as an INT8 engine will, and 0 does not.
    """

    until: float
    side: int
    batch: int
    degraded: float
    quantised: int = 0

    def __post_init__(self) -> None:
        """Refuse sides that five poolings do not leave a pixel of, and shares outside 0..1."""
        _require(self.side >= SMALLEST_SIDE, "side", self.side, f"at least {SMALLEST_SIDE} pixels")
        _require(self.batch > 1, "batch", self.batch, "at least 2: batch normalisation needs them")
        _require(0 <= self.degraded <= 1, "degraded", self.degraded, "a share, 0..1")
        _require(0 < self.until <= 1, "until", self.until, "a share of the run, above 0, at most 1")
        _require(self.quantised in (0, 1), "quantised", self.quantised, "0 or 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """The loss: see ``losses.soft_prototype_loss`` and ``losses.distillation_loss``."""

    scale: float
    margin: float
    soft: float
    cosine: float
    whiten: float

    def __post_init__(self) -> None:
        """Refuse negative weights."""
        for field in dataclasses.fields(self):
            _require(
                getattr(self, field.name) >= 0, f"loss.{field.name}", getattr(self, field.name), "0 or more"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One run. `minutes` is wall-clock time, summed over resumed runs.

    `final_learning_rate` restarts the rate for the last phase, 0 does not; `reduce` is the averaging in
    front of the trunk of the model that leaves (`network.trunk`): 2 when the last phase is at 112.
    `precision` is what the network computes in, ``float32`` or ``bfloat16`` (weights stay float32).
    """

    minutes: float
    seed: int
    learning_rate: float
    warmup_steps: int
    final_learning_rate: float
    weight_decay: float
    bn_momentum: float
    ema: float
    reduce: int
    loss: LossWeights
    phases: tuple[Phase, ...]
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Refuse runs that end before they start, and phases out of order."""
        _require(self.minutes > 0, "minutes", self.minutes, "above 0")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        _require(self.reduce in (1, 2), "reduce", self.reduce, "1 or 2")
        known = ("float32", "bfloat16")
        _require(self.precision in known, "precision", self.precision, " or ".join(known))
        ends = [phase.until for phase in self.phases]
        in_order = bool(ends) and ends == sorted(set(ends)) and ends[-1] == 1.0
        _require(in_order, "phases", ends, "at least one, `until` rising and ending at 1.0")

    def phase(self, progress: float) -> Phase:
        """Return the phase that a share `progress` of the run falls into."""
        return next((p for p in self.phases if progress < p.until), self.phases[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedRecipe:
    """One training of the closed set's classifier (`finetune`).

    Attributes:
        scheme: of Table 3, a to f.
        epochs: passes over the training pictures.
        batch: pictures a step.
        learning_rate: of SGD in the first epoch.
        decay: the rate of epoch e, from 0, is ``learning_rate / (1 + decay * e)``.
        momentum: of SGD; the paper names none.
        dropout: before the classifier.
        centre: lambda of the centre loss; 0 is softmax alone.
        alpha: how far centres move a batch.
        sharpness: the logits begin as so many times the cosine to the class means in the embedding; 0 begins
            at zero.
        seed: of order, mirroring and dropout.
    """

    scheme: str
    epochs: int
    batch: int
    learning_rate: float
    decay: float
    momentum: float
    dropout: float
    centre: float
    alpha: float
    sharpness: float
    seed: int

    def __post_init__(self) -> None:
        """Refuse a scheme that does not exist and numbers that cannot train."""
        _require(self.scheme in tuple("abcdef"), "scheme", self.scheme, "one of a, b, c, d, e, f")
        for key in ("epochs", "batch", "learning_rate"):
            _require(getattr(self, key) > 0, key, getattr(self, key), "above 0")
        for key in ("decay", "centre", "sharpness"):
            _require(getattr(self, key) >= 0, key, getattr(self, key), "0 or more")
        for key in ("momentum", "dropout"):
            _require(0 <= getattr(self, key) < 1, key, getattr(self, key), "a share, 0 to below 1")
        _require(0 < self.alpha <= 1, "alpha", self.alpha, "a share, above 0, at most 1")


def _require(ok: bool, key: str, received: object, allowed: str) -> None:  # noqa: FBT001 -- reads as a sentence
    if not ok:
        raise RecipeError(f"{key} must be {allowed}; received {received!r}")


def load_recipe(path: Path) -> Recipe:
    """Return the recipe in the YAML file `path`.

    Raises:
        RecipeError: it is missing, no mapping, or a key is unknown, missing or wrong.
    """
    return _loaded(path, recipe_from)


def load_closed_recipe(path: Path) -> ClosedRecipe:
    """Return the closed set's recipe in the YAML file `path`.

    Raises:
        RecipeError: it is missing, no mapping, or a key is unknown, missing or wrong.
    """
    return _loaded(path, lambda content: _made(ClosedRecipe, content, ""))


def _loaded(path: Path, make: Callable[[dict[str, Any]], T]) -> T:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"the recipe {path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"the recipe {path} is not a mapping of keys to values")
    try:
        return make(content)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error


def recipe_from(content: dict[str, Any]) -> Recipe:
    """Return the recipe in `content`, as it stands in YAML.

    Raises:
        RecipeError: a key is unknown, missing or wrong.
    """
    values = dict(content)
    if isinstance(values.get("loss"), dict):
        values["loss"] = _made(LossWeights, values["loss"], "loss.")
    if isinstance(values.get("phases"), list):
        phases = [p if isinstance(p, dict) else {} for p in values["phases"]]
        values["phases"] = tuple(_made(Phase, p, f"phases[{i}].") for i, p in enumerate(phases))
    return _made(Recipe, values, "")


def _made(kind: type[T], values: dict[str, Any], prefix: str) -> T:
    """Return ``kind(**values)`` after checking names and types."""
    hints = get_type_hints(kind)
    optional = {f.name for f in dataclasses.fields(kind) if f.default is not dataclasses.MISSING}  # type: ignore[arg-type]
    unknown, missing = sorted(set(values) - set(hints)), sorted(set(hints) - set(values) - optional)
    if unknown or missing:
        words = [f"unknown key {prefix}{k}" for k in unknown] + [f"missing key {prefix}{k}" for k in missing]
        raise RecipeError(f"{'; '.join(words)}; the keys are {', '.join(sorted(hints))}")
    for key, value in values.items():
        wanted = {float: (int, float), int: (int,)}.get(hints[key])
        if hints[key] is str:
            _require(isinstance(value, str), f"{prefix}{key}", value, "a word")
            continue
        if wanted and (isinstance(value, bool) or not isinstance(value, wanted)):
            raise RecipeError(f"{prefix}{key} must be a number ({hints[key].__name__}); received {value!r}")
        if wanted is None and isinstance(value, str | int | float | dict | list | None):
            raise RecipeError(f"{prefix}{key} must be a section of its own; received {value!r}")
    return kind(**values)
