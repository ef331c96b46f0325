"""The acceptance threshold for a stated false-accept rate, from the register and a cohort of strangers.

A false accept is a stranger who is named, whoever it is they are named as: what counts is a stranger's
best similarity to anybody in the register, so more registered people need a higher threshold. People
differ: some look like many strangers. So the similarities to each person are measured in that person's
own spread (Z-norm: Auckenthaler, Carey, Lloyd-Thomas 2000), one bar is set for all in these units, and
everybody gets the threshold that it means for them. Where the cohort is too small for the rate (fewer
than ten strangers would be expected above the bar), its upper tail is continued by an exponential, and
the result says so.

Two registered people who look alike (as similar as a name needs) are both strict: they need twice the
usual lead over the second best.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_app.errors import GalleryError
from edge_app.identity.alike import look_alikes
from edge_app.identity.match import templates_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.identity.snapshot import GallerySnapshot

VERSION: Final = 1
#: Fewest strangers of a cohort; and how many must lie above a bar for it to be counted, not continued.
LEAST_COHORT: Final = 50
_COUNTED: Final = 10
#: The part of the cohort that its tail is fitted to.
_TAIL: Final = 0.1
#: Thresholds of people stay within these shares (of what lies between it and 1) below and above the
#: common one: nobody is an open door, and everybody remains nameable.
_MOST_BELOW: Final = 0.15
_MOST_ABOVE: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a calibration found.

    Attributes:
        model_sha256: the model that made all embeddings.
        preprocess_sha256: the preprocessing before it.
        far: the false-accept rate that was asked for.
        cohort: how many strangers there were.
        threshold: for everybody who is not in `people`: registered later.
        people: the threshold of each person.
        alike: pairs of people who look alike, with their similarity.
        continued: whether the cohort was too small and its tail was continued.
    """

    model_sha256: str
    preprocess_sha256: str
    far: float
    cohort: int
    threshold: float
    people: Mapping[str, float] = field(default_factory=dict)
    alike: tuple[tuple[str, str, float], ...] = ()
    continued: bool = False

    @property
    def strict(self) -> frozenset[str]:
        """The people who look like somebody else in the register."""
        return frozenset(ref for one, other, _ in self.alike for ref in (one, other))


def calibrate(
    snapshot: GallerySnapshot, cohort: npt.NDArray[np.float32], *, far: float, floor: float
) -> Calibration:
    """Return the thresholds for a false-accept rate `far` (0..0.5).

    Args:
        snapshot: the register.
        cohort: (M, D) embeddings of M different strangers by the same model, of unit length; each the pooled
            views of a passage, as the box compares them.
        far: share of strangers who may be named as anybody.
        floor: no threshold is lower; the model's own, measured in worse light than a cohort of photos.

    Raises:
        GalleryError: nobody is registered, the cohort is too small or of another model, a senseless rate.
    """
    _check(snapshot, cohort, far)
    templates = templates_of(snapshot)
    scores = cohort @ templates.T
    middle, spread = scores.mean(axis=0), np.maximum(scores.std(axis=0), 1e-3)
    common = _bar(scores.max(axis=1), far)
    units = _bar(((scores - middle) / spread).max(axis=1), far)
    threshold = float(np.clip(common, floor, 1.0))
    most = threshold + _MOST_ABOVE * (1.0 - threshold)
    own = np.clip(middle + units * spread, max(floor, threshold - _MOST_BELOW * (1.0 - threshold)), most)
    alike = look_alikes(snapshot.refs, templates, np.minimum(own, threshold))
    return Calibration(
        model_sha256=snapshot.model_sha256,
        preprocess_sha256=snapshot.preprocess_sha256,
        far=far,
        cohort=len(cohort),
        threshold=round(threshold, 4),
        people={ref: round(float(bar), 4) for ref, bar in zip(snapshot.refs, own, strict=True)},
        alike=alike,
        continued=len(cohort) * far < _COUNTED,
    )


def path_beside(gallery: Path) -> Path:
    """Return where the calibration of the register at `gallery` is kept."""
    return gallery.with_name(gallery.name + ".calibration.json")


def save(path: Path, calibration: Calibration) -> None:
    """Replace the file at `path` as a whole.

    Raises:
        GalleryError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(json.dumps({"v": VERSION, **asdict(calibration)}, indent=1), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise GalleryError(
            f"{path} cannot be written: {error.strerror}", fix="run the command as the register's owner"
        ) from error


def load(path: Path) -> Calibration | None:
    """Return the calibration in `path`, None where there is none.

    Raises:
        GalleryError: the file is damaged or of another version.
    """
    try:
        body: Any = json.loads(path.read_bytes())
        if body.pop("v") != VERSION:
            raise GalleryError(f"{path} is of another version", fix="run `dsr-edge people calibrate`")
        alike = tuple((str(a), str(b), float(score)) for a, b, score in body.pop("alike"))
        people = {str(ref): float(bar) for ref, bar in body.pop("people").items()}
        found = Calibration(**body, people=people, alike=alike)
        bars = (found.threshold, *people.values())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise GalleryError(
            f"{path} cannot be used: {error}", fix="run `dsr-edge people calibrate`, or remove the file"
        ) from error
    if not all(isinstance(bar, (int, float)) and -1.0 <= bar <= 1.0 for bar in bars):
        raise GalleryError(
            f"{path} has a threshold outside -1..1", fix="run `dsr-edge people calibrate`, or remove the file"
        )
    return found


def _bar(best: npt.NDArray[np.floating], far: float) -> float:
    """Return the value that a share `far` of `best` lies above; a tail that is too thin is continued."""
    if len(best) * far >= _COUNTED:
        return float(np.quantile(best, 1.0 - far))
    start = float(np.quantile(best, 1.0 - _TAIL))
    above = best[best > start] - start
    scale = float(above.mean()) if len(above) else 0.0
    return start + scale * float(np.log(_TAIL / far)) if far < _TAIL else float(np.quantile(best, 1.0 - far))


def _check(snapshot: GallerySnapshot, cohort: npt.NDArray[np.float32], far: float) -> None:
    if not snapshot.refs:
        raise GalleryError("nobody is registered: there is nothing to calibrate", fix="register people first")
    if not 0.0 < far <= 0.5:  # noqa: PLR2004
        raise GalleryError(f"a false-accept rate lies between 0 and 0.5; received {far}", fix="try 0.001")
    if cohort.ndim != 2 or cohort.shape[1] != snapshot.vectors.shape[1]:  # noqa: PLR2004
        raise GalleryError(
            f"the cohort has the shape {cohort.shape}, the register {snapshot.vectors.shape}",
            fix="make the cohort with the model in use: `dsr-edge people cohort`",
        )
    if len(cohort) < LEAST_COHORT:
        raise GalleryError(
            f"{len(cohort)} strangers are too few; {LEAST_COHORT} are needed, better {10 / far:.0f}",
            fix="give more photos of other people to `dsr-edge people cohort`",
        )
