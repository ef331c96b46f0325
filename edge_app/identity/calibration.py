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
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_app.durable import write_durably
from edge_app.errors import GalleryError
from edge_app.identity import likeness
from edge_app.identity.alike import look_alikes
from edge_app.identity.match import Matcher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.identity.snapshot import GallerySnapshot

VERSION: Final = 1
#: Fewest strangers of a cohort; and how many must lie above a bar for it to be counted, not continued.
LEAST_COHORT: Final = 50
_COUNTED: Final = 10
#: Fewest strangers, in the mean, above a bar to which the tail may be continued.
_LEAST_EXPECTED: Final = 0.1
#: A larger part of a cohort cannot be registered people.
_MOST_MEMBERS: Final = 0.25
#: Thresholds that a smaller share reaches, of those who reach the least threshold, are refused.
_REFUSED_BELOW: Final = 0.25
_MOST_SHOWN: Final = 10
_MOST_NEAREST: Final = 3
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
        cohort: how many strangers there were, without those left out.
        threshold: for everybody who is not in `people`: registered later.
        people: the threshold of each person.
        alike: pairs of people who look alike, with their similarity.
        continued: whether the cohort was too small and its tail was continued.
        left_out: who of the cohort was taken for a registered person: for whom, and how alike they are.
        unnamed: people whose own photos are less alike than their threshold asks.
        single: how many people have one photo only: what they would give is not known.
    """

    model_sha256: str
    preprocess_sha256: str
    far: float
    cohort: int
    threshold: float
    people: Mapping[str, float] = field(default_factory=dict)
    alike: tuple[tuple[str, str, float], ...] = ()
    continued: bool = False
    left_out: tuple[tuple[str, float], ...] = ()
    unnamed: tuple[str, ...] = ()
    single: int = 0

    @property
    def strict(self) -> frozenset[str]:
        """The people who look like somebody else in the register."""
        return frozenset(ref for one, other, _ in self.alike for ref in (one, other))


def calibrate(
    snapshot: GallerySnapshot,
    cohort: npt.NDArray[np.float32],
    *,
    far: float,
    floor: float,
    allow_unnamed: bool = False,
) -> Calibration:
    """Return the thresholds for a false-accept rate `far` (0..0.5).

    Args:
        snapshot: the register.
        cohort: (M, D) embeddings of M different strangers by the same model, of unit length; each the pooled
            views of a passage, as the box compares them. Registered people among them are left out.
        far: share of strangers who may be named as anybody.
        floor: no threshold is lower; the model's own, measured in worse light than a cohort of photos.
        allow_unnamed: also thresholds that not a quarter of those people reach who reach `floor`.

    Raises:
        GalleryError: nobody is registered, the cohort is too small or of another model, a rate that is
            senseless or more than the cohort can carry, thresholds at which hardly anybody would be named.
    """
    _check(snapshot, cohort, far)
    matcher = Matcher(snapshot=snapshot, threshold=floor)
    own_photos = likeness.own_likeness(snapshot)
    to_templates = cohort @ matcher.templates.T
    inside = likeness.members(to_templates, own_photos)
    left_out = _left_out(snapshot, to_templates[inside], of=len(cohort))
    scores = np.stack([matcher.scores_of(one) for one in cohort[~inside]])
    _check_size(len(scores), far, left_out)
    threshold, own = _thresholds(scores, far, floor)
    single, reached = np.isnan(own_photos), likeness.filled(own_photos)
    unnamed = reached < own
    before, named = int((reached >= floor).sum()), int((~unnamed).sum())
    out_of_reach = threshold > max(floor, likeness.SAME)
    if (_REFUSED_BELOW * before > named or out_of_reach) and not allow_unnamed:
        raise _unusable(threshold, named, before, _resembled(snapshot, scores)[:_MOST_NEAREST])
    alike = look_alikes(snapshot.refs, matcher.templates, np.minimum(own, threshold))
    return Calibration(
        model_sha256=snapshot.model_sha256,
        preprocess_sha256=snapshot.preprocess_sha256,
        far=far,
        cohort=len(scores),
        threshold=round(threshold, 4),
        people={ref: round(float(bar), 4) for ref, bar in zip(snapshot.refs, own, strict=True)},
        alike=alike,
        continued=len(scores) * far < _COUNTED,
        left_out=left_out,
        unnamed=tuple(np.array(snapshot.refs)[unnamed & ~single].tolist()),
        single=int(single.sum()),
    )


def _thresholds(
    scores: npt.NDArray[np.floating], far: float, floor: float
) -> tuple[float, npt.NDArray[np.floating]]:
    """Return the common threshold and each person's, (P,), by the similarities of strangers, (M, P)."""
    middle, spread = scores.mean(axis=0), np.maximum(scores.std(axis=0), 1e-3)
    common = _bar(scores.max(axis=1), far)
    units = _bar(((scores - middle) / spread).max(axis=1), far)
    threshold = float(np.clip(common, floor, 1.0))
    least = max(floor, threshold - _MOST_BELOW * (1.0 - threshold))
    most = threshold + _MOST_ABOVE * (1.0 - threshold)
    return threshold, np.clip(middle + units * spread, least, most)


def path_beside(gallery: Path) -> Path:
    """Return where the calibration of the register at `gallery` is kept."""
    return gallery.with_name(gallery.name + ".calibration.json")


def save(path: Path, calibration: Calibration) -> None:
    """Replace the file at `path` as a whole, mode 0600: it names people.

    Raises:
        GalleryError: it cannot be written.
    """
    body = json.dumps({"v": VERSION, **asdict(calibration)}, indent=1)
    try:
        write_durably(path, body.encode("utf-8"), for_owner=True)
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
        left_out = tuple((str(ref), float(score)) for ref, score in body.pop("left_out", ()))
        unnamed = tuple(str(ref) for ref in body.pop("unnamed", ()))
        found = Calibration(**body, people=people, alike=alike, left_out=left_out, unnamed=unnamed)
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
    if far >= likeness.TAIL:
        return float(np.quantile(best, 1.0 - far))
    start, scale = likeness.tail_of(best)
    return start + scale * float(np.log(likeness.TAIL / far))


def _left_out(
    snapshot: GallerySnapshot, scores: npt.NDArray[np.floating], *, of: int
) -> tuple[tuple[str, float], ...]:
    """Return whom those with `scores` (K, P) resemble; `of` is how large the cohort was."""
    left_out = _resembled(snapshot, scores)
    if len(left_out) > _MOST_MEMBERS * of:
        raise GalleryError(
            f"{len(left_out)} of {of} in the cohort are as alike to registered people as their own photos: "
            + shown(left_out),
            fix="make a cohort of people who are not registered: `dsr-edge people cohort`",
        )
    return left_out


def _resembled(snapshot: GallerySnapshot, scores: npt.NDArray[np.floating]) -> tuple[tuple[str, float], ...]:
    """Return whom each row of `scores` is most alike to, and how much, the most alike first."""
    pairs = [(snapshot.refs[int(row.argmax())], round(float(row.max()), 4)) for row in scores]
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))


def shown(left_out: Sequence[tuple[str, float]]) -> str:
    """Return whom people resemble, for a person to read: the first ones, and how many more."""
    names = ", ".join(f"{ref} ({score:.2f})" for ref, score in left_out[:_MOST_SHOWN])
    more = len(left_out) - _MOST_SHOWN
    return f"{names}, and {more} more" if more > 0 else names


def _unusable(
    threshold: float, named: int, before: int, nearest: Sequence[tuple[str, float]]
) -> GalleryError:
    return GalleryError(
        f"at the threshold {threshold:.3f} only {named} people would be named by their own photos, of"
        f" {before} before; the most alike resemble {shown(nearest)}",
        fix="take photos of registered people out of the cohort, give more strangers or a higher --far, or "
        "register more photos of each; --allow-unnamed sets it all the same",
    )


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
    _check_size(len(cohort), far, ())


def _check_size(strangers: int, far: float, left_out: Sequence[tuple[str, float]]) -> None:
    without = f" without {len(left_out)} who resemble {shown(left_out)}" if left_out else ""
    if strangers < LEAST_COHORT:
        raise GalleryError(
            f"{strangers} strangers are too few{without}; {LEAST_COHORT} are needed, better {10 / far:.0f}",
            fix="give more photos of other people to `dsr-edge people cohort`",
        )
    if strangers * far < _LEAST_EXPECTED:
        raise GalleryError(
            f"{strangers} strangers{without} say nothing about a rate of {far:g}",
            fix=f"ask for --far {_rounded_up(_LEAST_EXPECTED / strangers):g} or more, or make a cohort of"
            f" {math.ceil(_LEAST_EXPECTED / far):,} strangers or more",
        )


def _rounded_up(rate: float) -> float:
    """Return `rate` with two digits, not below it."""
    unit = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return math.ceil(rate / unit - 1e-9) * unit
