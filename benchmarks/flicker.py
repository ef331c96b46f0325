"""Lamps that flicker: should the bright views of a passage count more than the dark and the banded ones?

Development people of CelebA are registered on four clean photos each, and for one another they are strangers.
Everybody passes by with another photo, clean or under simulated ash, in eight views: small, dim, noisy,
placed as badly as a detector places a face, under lamps that swing with the mains. A rolling shutter lays
the swing over the rows, so a face has a dark band, or a bright one, or lies between the two; a global one
makes frames darker and brighter. The views are pooled as the box pools them, under several weights:

- ``quality`` is what the box does;
- ``even`` multiplies it by the darkest strip of the face over the mean of its strips; ``even, capped`` by
  that over .8, at most 1: under a steady lamp a face's own shades make it .6 to .9;
- ``bright`` by the face's brightness over that of the passage's brightest view;
- ``strips`` by the darkest strip over the brightest that this strip ever is in the passage, which takes the
  face's own shades out;
- ``half`` drops the darker half of the views;
- ``known`` is no way but a bound: it knows the light of each view's darkest row.

Printed: the share of people who pass as themselves at the threshold which one of a thousand pairs of
strangers passes, and one of a hundred (set for each way and each lamp), the difference to ``quality`` with a
95 % interval over people, and the mean similarity to oneself. Run as ``python -m benchmarks.flicker``; it
needs the research data, and says so without it. All of it is simulated.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from benchmarks.research import data_or_word, embedded, parser_for
from dsr_inception.crops import LEVELS, aligned_crops, degraded_crops
from dsr_inception.datasets import PhotoSet, Splits
from dsr_inception.metrics import threshold_at
from edge_app.embedding.recogniser import Recogniser
from edge_app.faces.preprocess import ARCFACE_TEMPLATE_112, align
from edge_app.faces.quality import assess
from edge_app.records import Box, Face

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    Crop = npt.NDArray[np.uint8]
    Floats = npt.NDArray[np.floating]

FARS: Final = (1e-3, 1e-2)
ENROLLED: Final = 4
VIEWS: Final = 8
#: Strips across the middle of the face, forehead to chin; the share of the crop's side that a face takes.
STRIPS: Final = 8
_FACE_SHARE: Final = 0.76
_FACE_PX: Final = (44.0, 100.0)
_GAIN: Final = (0.06, 0.7)
_NOISE: Final = (2.0, 6.0)
_MISPLACED: Final = 0.02
_BANDS: Final = (0.25, 1.5)


@dataclass(frozen=True, slots=True)
class Lamp:
    """How deep it swings (share of its light), and whether the shutter lays the swing over the rows."""

    depth: float
    rolling: bool = True


#: .35 is the lamp of the field test.
LAMPS: Final[Mapping[str, Lamp]] = {
    "steady": Lamp(0.0),
    "rolling-.35": Lamp(0.35),
    "rolling-.7": Lamp(0.7),
    "rolling-.95": Lamp(0.95),
    "global-.95": Lamp(0.95, rolling=False),
}


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage's usable views: vectors (N, D), qualities (N,), strips (N, 8) of luma, darkest row (N,)."""

    vectors: Floats
    quality: Floats
    strips: Floats
    light: Floats


def _even(one: Passage) -> Floats:
    return one.quality * one.strips.min(axis=1) / one.strips.mean(axis=1)


def _capped(one: Passage) -> Floats:
    return np.asarray(np.minimum(_even(one) / 0.8, one.quality))


def _bright(one: Passage) -> Floats:
    luma = one.strips.mean(axis=1)
    return np.asarray(one.quality * luma / luma.max())


def _strips(one: Passage) -> Floats:
    return np.asarray(one.quality * (one.strips / one.strips.max(axis=0)).min(axis=1))


def _half(one: Passage) -> Floats:
    luma = one.strips.mean(axis=1)
    return np.asarray(one.quality * (luma >= np.median(luma)))


WAYS: Final[Mapping[str, Callable[[Passage], Floats]]] = {
    "plain mean": lambda one: np.ones_like(one.quality),
    "quality": lambda one: one.quality,
    "even": _even,
    "even, capped": _capped,
    "bright": _bright,
    "strips": _strips,
    "strips, squared": lambda one: np.asarray(_strips(one) ** 2 / one.quality),
    "half": _half,
    "known": lambda one: np.asarray(one.quality * one.light),
}


def passage(recogniser: Recogniser, crop: Crop, lamp: Lamp, rng: np.random.Generator) -> Passage:
    """Return the passage of whoever is on an aligned (224, 224, 3) uint8 RGB `crop`, lit by `lamp`."""
    gain, bands, noise = (rng.uniform(*one) for one in (_GAIN, _BANDS, _NOISE))
    seen = [_view(crop, lamp, float(gain), float(bands), float(noise), rng) for _ in range(VIEWS)]
    usable = [one for one in seen if one is not None]
    if not usable:
        return Passage(np.zeros((0, recogniser.dim)), np.zeros(0), np.zeros((0, STRIPS)), np.zeros(0))
    crops, quality, light = zip(*usable, strict=True)
    strips = [_strips_of(one) for one in crops]
    return Passage(
        embedded(recogniser, np.stack(crops)), np.array(quality), np.array(strips), np.array(light)
    )


def _view(  # noqa: PLR0917 -- one call, in the order in which it happens
    crop: Crop, lamp: Lamp, gain: float, bands: float, noise: float, rng: np.random.Generator
) -> tuple[Crop, float, float] | None:
    """Return the crop that the box would cut out, its quality, its darkest row's light; None if rejected."""
    side = round(float(rng.uniform(*_FACE_PX)) / _FACE_SHARE)
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    rows = np.arange(side, dtype=np.float32)[:, None, None] / side if lamp.rolling else np.zeros((1, 1, 1))
    swing = 1 - lamp.depth * (0.5 + 0.5 * np.sin(2 * np.pi * (rows * bands + rng.random())))
    lit = 255 * ((small / 255) ** 2.2 * gain * swing) ** (1 / 2.2)
    picture = np.clip(lit + rng.normal(0, noise, lit.shape), 0, 255).astype(np.uint8)
    true = ARCFACE_TEMPLATE_112 * (side / 112)
    marks = (true + rng.normal(0, _MISPLACED * side, true.shape)).astype(np.float32)
    margin = (1 - _FACE_SHARE) / 2 * side
    face = Face(box=Box(margin, margin, _FACE_SHARE * side, _FACE_SHARE * side), landmarks=marks, score=0.9)
    cut = align(picture[:, :, ::-1], marks)
    quality = assess(picture, face, cut)
    return None if quality.rejection is not None else (cut, quality.score, float(swing.min()))


def _strips_of(crop: Crop) -> Floats:
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[48:208, 40:184]
    return np.asarray(luma.reshape(STRIPS, -1).mean(axis=1) + 1.0)


def pooled(passages: Sequence[Passage], way: str) -> Floats:
    """Return each passage's pooled unit vector, (N, D); zeros for one without a usable view."""
    out = np.zeros((len(passages), passages[0].vectors.shape[1]))
    for row, one in zip(out, passages, strict=True):
        total = WAYS[way](one) @ one.vectors if len(one.quality) else row
        row[...] = total / max(float(np.linalg.norm(total)), 1e-9)
    return out


def table(templates: Floats, passages: Sequence[Passage], lamp: str) -> list[str]:
    """Return the lines of one lamp: passages and templates (N, D) are those of the same people."""
    strangers = ~np.eye(len(templates), dtype=bool)
    scores = {way: pooled(passages, way) @ templates.T for way in WAYS}
    passes = {
        way: [np.diag(one) >= threshold_at(one[strangers], far) for far in FARS]
        for way, one in scores.items()
    }
    draws = np.random.default_rng(0).integers(0, len(templates), (2000, len(templates)))
    lines = []
    for way, hits in passes.items():
        cells = []
        for own, usual in zip(hits, passes["quality"], strict=True):
            gain = 100 * (own.astype(float) - usual)
            low, high = np.percentile(gain[draws].mean(axis=1), (2.5, 97.5))
            cells.append(f"{100 * own.mean():.1f} %, {gain.mean():+.1f} [{low:+.1f}, {high:+.1f}]")
        lines.append(f"| {lamp} | {way} | {' | '.join(cells)} | {np.diag(scores[way]).mean():.3f} |")
    return lines


def main() -> int:
    """Print the table; returns 0."""
    parser = parser_for(__doc__)
    parser.add_argument("--lamps", nargs="+", choices=LAMPS, default=LAMPS, help="only these")
    parser.add_argument("--every", type=int, default=1, help="only every so many people")
    parser.add_argument("--backend", help="which engine embeds (default: ONNX Runtime)")
    parser.add_argument("--seed", type=int, default=0, help="other sizes, lights, phases and noise")
    args, data = parser.parse_args(), data_or_word()
    if data is None:
        return 0
    recogniser = Recogniser.open(args.model, preferred=args.backend)
    photos, chosen = PhotoSet(data, "celeba_train"), sorted(Splits.load(data).celeba_development)
    everybody = photos.by_person()
    people = [own for who in chosen if len(own := everybody.get(who, [])) > ENROLLED][:: args.every]
    templates = []
    for own in people:
        mean = embedded(recogniser, aligned_crops(photos, own[:ENROLLED])).mean(axis=0)
        templates.append(mean / np.linalg.norm(mean))
    seen = aligned_crops(photos, [own[ENROLLED] for own in people])
    ashen = {level: degraded_crops(seen, level, seed=3) for level in LEVELS}
    print(
        f"{len(people)} people, {VIEWS} views each; model {recogniser.model_sha256[:12]} on"
        f" {recogniser.backend}\n\n| lamp | weight | pass, of strangers one of {1 / FARS[0]:.0f} |"
        f" one of {1 / FARS[1]:.0f} | similarity |\n{'|---' * 5}|",
        flush=True,
    )
    for name in args.lamps:
        passages = [
            passage(recogniser, ashen[LEVELS[n % 3]][n], LAMPS[name], np.random.default_rng([args.seed, n]))
            for n in range(len(people))
        ]
        print("\n".join(table(np.stack(templates), passages, name)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
