"""What a calibration set must be, and in words why one is refused.

Measured on this network: four pictures calibrate about as well as forty-eight, *if* they look like what
the camera will see. Too dark (a quarter of the light) leaves a cosine of .44 to FP32, a wrong
preprocessing turns it negative. So the checks are about light, balance and origin, and every refusal
says what was found and what to do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from calibration.pictures import LEVELS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy.typing as npt

#: Fewest pictures, people and poses, and the largest share of one of them.
LEAST_PICTURES: Final = 64
LEAST_PEOPLE: Final = 8
LEAST_POSES: Final = 3
MOST_OF_ONE_PERSON: Final = 0.25
MOST_OF_ONE_POSE: Final = 0.6
LEAST_OF_A_LEVEL: Final = 0.15
#: Luminance of a crop (0..255): below, it is dark; above, burnt out; spread below, it shows nothing.
DARK: Final = 40.0
BRIGHT: Final = 215.0
FLAT: Final = 8.0
MOST_ODD_LIGHT: Final = 0.2
MEDIAN_LIGHT: Final = (50.0, 200.0)
#: Thumbnails (8x8, 0..255) nearer than this on average are one picture.
SAME_PICTURE: Final = 1.5
_WEIGHTS: Final = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: `code` is stable, `refuses` says whether the set cannot be used."""

    code: str
    text: str
    refuses: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """What the checks know of one picture: its labels, its hash, and figures of its aligned crop.

    `luminance` and `spread` are mean and standard deviation of luminance, `mean` of R, G, B, all 0..255;
    `thumbnail` is (8, 8) luminance.
    """

    person: str
    level: str
    pose: str
    file_sha256: str
    simulated: bool
    luminance: float
    spread: float
    mean: tuple[float, float, float]
    thumbnail: npt.NDArray[np.float32]


def light_of(crop: npt.NDArray[np.uint8]) -> tuple[float, float, npt.NDArray[np.float32]]:
    """Return luminance, its spread, and the (8, 8) thumbnail of a crop, (H, W, 3) uint8 RGB."""
    grey = crop.astype(np.float32) @ _WEIGHTS
    rows, columns = grey.shape[0] // 8, grey.shape[1] // 8
    blocks = grey[: rows * 8, : columns * 8].reshape(8, rows, 8, columns).mean(axis=(1, 3))
    return float(grey.mean()), float(grey.std()), np.asarray(blocks, np.float32)


def duplicates(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """Return pairs (kept, repeated): same file under the same ash, or crops that look the same."""
    thumbnails = np.stack([s.thumbnail.ravel() for s in samples]) if samples else np.zeros((0, 64))
    found: list[tuple[int, int]] = []
    gone: set[int] = set()
    for later in range(1, len(samples)):
        far = np.abs(thumbnails[:later] - thumbnails[later]).mean(axis=1)
        for earlier in range(later):
            if earlier in gone:
                continue
            first, second = samples[earlier], samples[later]
            same_file = first.file_sha256 == second.file_sha256 and first.level == second.level
            if same_file or far[earlier] < SAME_PICTURE:
                found.append((earlier, later))
                gone.add(later)
                break
    return found


def check_number(samples: Sequence[Sample]) -> list[Finding]:
    """Refuse fewer than 64 pictures."""
    if len(samples) >= LEAST_PICTURES:
        return []
    text = f"{len(samples)} different pictures; at least {LEAST_PICTURES} are needed: add pictures"
    return [Finding("too-few", text)]


def check_people(samples: Sequence[Sample]) -> list[Finding]:
    """Refuse few people, or one that outweighs the others."""
    return [
        *_least("people", Counter(s.person for s in samples), LEAST_PEOPLE),
        *_most("person", Counter(s.person for s in samples), MOST_OF_ONE_PERSON),
    ]


def check_poses(samples: Sequence[Sample]) -> list[Finding]:
    """Refuse few poses, or one that outweighs the others."""
    return [
        *_least("poses", Counter(s.pose for s in samples), LEAST_POSES),
        *_most("pose", Counter(s.pose for s in samples), MOST_OF_ONE_POSE),
    ]


def check_levels(samples: Sequence[Sample]) -> list[Finding]:
    """Refuse a set that lacks clean, lightly or heavily ash-covered faces."""
    count = Counter(s.level for s in samples)
    few = [name for name in LEVELS if count[name] < LEAST_OF_A_LEVEL * max(1, len(samples))]
    if not few:
        return []
    have = ", ".join(f"{name} {count[name]}" for name in LEVELS)
    text = f"ash levels out of balance ({have}): each needs {LEAST_OF_A_LEVEL:.0%}; add {', '.join(few)}"
    return [Finding("levels", text)]


def _least(what: str, count: Counter[str], least: int) -> list[Finding]:
    if len(count) >= least:
        return []
    names = ", ".join(sorted(count)[:5]) or "none"
    return [Finding(f"few-{what}", f"{len(count)} {what} ({names}); at least {least} are needed: add {what}")]


def _most(what: str, count: Counter[str], most: float) -> list[Finding]:
    total = count.total()
    name, times = count.most_common(1)[0] if count else ("", 0)
    if times <= most * total:
        return []
    text = f"{times} of {total} pictures are of one {what}, {name!r}; at most {most:.0%} may be"
    return [Finding(f"one-{what}", text)]


def check_light(samples: Sequence[Sample]) -> list[Finding]:
    """Refuse what is too dark, burnt out or shows nothing: it ruins the scales."""
    if not samples:
        return []
    light = np.array([s.luminance for s in samples])
    flat = sum(s.spread < FLAT for s in samples)
    dark, bright = int((light < DARK).sum()), int((light > BRIGHT).sum())
    median = float(np.median(light))
    found = []
    if flat:
        found.append(
            Finding(
                "flat", f"{flat} of {len(samples)} crops show nothing (spread below {FLAT:g}): remove them"
            )
        )
    if dark > MOST_ODD_LIGHT * len(samples) or median < MEDIAN_LIGHT[0]:
        text = f"too dark: {dark} of {len(samples)} crops below {DARK:g}, median {median:.0f} of 255"
        found.append(Finding("dark", f"{text}: scales would cut off normal faces; use pictures with light"))
    if bright > MOST_ODD_LIGHT * len(samples) or median > MEDIAN_LIGHT[1]:
        text = f"burnt out: {bright} of {len(samples)} crops above {BRIGHT:g}, median {median:.0f} of 255"
        found.append(Finding("bright", f"{text}: use pictures with less light"))
    return found


def check_colour(samples: Sequence[Sample]) -> list[Finding]:
    """Warn where faces are bluer than red: often red and blue are swapped, sometimes it is the light."""
    blue = sum(s.mean[2] > s.mean[0] + 5 for s in samples)
    if not samples or blue <= len(samples) / 2:
        return []
    text = f"{blue} of {len(samples)} faces are more blue than red: are red and blue swapped in the files?"
    return [Finding("colour", text, refuses=False)]


def check_overlap(samples: Sequence[Sample], held_out: Collection[str] | None) -> list[Finding]:
    """Refuse people on whom the engine will be judged; warn where nobody said who they are."""
    if held_out is None:
        text = "nobody said who the evaluation people are (--splits or --held-out): overlap not checked"
        return [Finding("overlap-unchecked", text, refuses=False)]
    both = sorted({s.person for s in samples} & set(held_out))
    if not both:
        return []
    text = f"{len(both)} people are also evaluation people ({', '.join(both[:5])}): leave them out"
    return [Finding("overlap", text)]


def check_consent(samples: Sequence[Sample], consented: Collection[str] | None) -> list[Finding]:
    """Refuse pictures of people without a consent note; `consented` None means that there is no note."""
    if consented is None:
        text = "no consent note: put consent.json into the folder, or give --consent (docs/calibration.md)"
        return [Finding("consent", text)]
    without = sorted({s.person for s in samples} - set(consented)) if "*" not in consented else []
    if not without:
        return []
    text = f"the consent note does not cover {len(without)} people ({', '.join(without[:5])})"
    return [Finding("consent", text)]


def check_set(
    samples: Sequence[Sample],
    *,
    held_out: Collection[str] | None,
    consented: Collection[str] | None,
) -> list[Finding]:
    """Return everything that is wrong with `samples`, refusals first."""
    found = [
        *check_consent(samples, consented),
        *check_number(samples),
        *check_people(samples),
        *check_poses(samples),
        *check_levels(samples),
        *check_light(samples),
        *check_colour(samples),
        *check_overlap(samples, held_out),
    ]
    return sorted(found, key=lambda finding: not finding.refuses)
