"""Simulated coal ash on a face: what sticks, where it sticks, and what it does to the light.

There are no pictures of real coal-ash faces to be had, so this is a simulation and every figure made
with it says so. Dust settles as a thin film, is smeared by sleeves and fingers, runs with sweat in
streaks, sticks in patches where the skin is moist (forehead, nose, cheeks, chin, beard), and sits as
grains. Each of these is a *family*: a function that draws a coverage map in 0..1. A picture gets one
to three of them, a matte dark colour that still carries some of the face's shading, and grain.

The families are drawn with strokes, ellipses, dots and stretched noise, on purpose unlike the
thresholded isotropic noise that comparisons are reported on, so that a network trained on these is
tested on others. All randomness comes from the generator passed in: same seed, same picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

Image = npt.NDArray[np.uint8]
Map = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]

#: Coverage maps are drawn with the longer side at most this many pixels, then enlarged.
MAP_SIDE: Final = 112

#: Share of films in which the eyes have been wiped.
WIPED_EYES: Final = 0.6

#: A splash has at most so many scales.
MOST_SCALES: Final = 500
#: Share of thick ash that holds a crust beside other families.
CRUSTED: Final = 0.5

#: Per level: (coverage low, high, opacity low, high). 1 is light, 2 is heavy, 3 hides nearly everything.
LEVELS: Final[dict[int, tuple[float, float, float, float]]] = {
    1: (0.15, 0.45, 0.35, 0.65),
    2: (0.40, 0.75, 0.60, 0.92),
    3: (0.60, 0.90, 0.80, 0.95),
}

#: Where ash sticks, as (x, y, spread) in units of the face box: forehead, cheeks, nose, chin, temples.
_SPOTS: Final = (
    (0.5, 0.15, 0.30), (0.2, 0.6, 0.20), (0.8, 0.6, 0.20), (0.5, 0.55, 0.12),
    (0.5, 0.9, 0.22), (0.1, 0.3, 0.15), (0.9, 0.3, 0.15), (0.5, 0.8, 0.25),
)  # fmt: skip


def _cover(field: npt.NDArray[Any], coverage: float, softness: float) -> Map:
    """Return `field` thresholded softly so that about `coverage` of the pixels are set."""
    at = float(np.quantile(field[::2, ::2], 1.0 - coverage))
    spread = max(1e-6, float(field.std()) * softness)
    return np.asarray(np.clip((field - at) / spread + 0.5, 0.0, 1.0), np.float32)


def _soft(mask: npt.NDArray[Any], deviation: float) -> Map:
    """Return `mask` blurred by `deviation` pixels."""
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), deviation), np.float32)


def _streaks(rng: np.random.Generator, size: tuple[int, int], face: Box, coverage: float) -> Map:
    """Runs of sweat and wiping: noise stretched six- to fifteenfold along one direction."""
    height, width = size
    across = max(2.0, face[2] * rng.uniform(0.04, 0.12))
    along = across * rng.uniform(6, 15)
    side = int(np.hypot(height, width)) + 2
    grid = rng.random((int(side / along) + 3, int(side / across) + 3), dtype=np.float32)
    field = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.normal(0, 35), 1.0)
    turn[:, 2] += np.array([width / 2 - side / 2, height / 2 - side / 2])
    field = cv2.warpAffine(field, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    return _cover(field, coverage, rng.uniform(0.6, 1.5))


def _smears(rng: np.random.Generator, size: tuple[int, int], face: Box, coverage: float) -> Map:
    """Strokes of a sleeve or of fingers: curved, thick, soft at the edge."""
    mask = np.zeros(size, np.float32)
    area = 0.0
    while area < coverage * 3.0:
        x, y = face[0] + face[2] * rng.random(), face[1] + face[3] * rng.random()
        angle, bend = rng.uniform(0, np.pi), rng.normal(0, 0.35)
        steps = np.arange(6)
        turn = angle + bend * steps
        reach = face[2] * rng.uniform(0.06, 0.18)
        points = np.stack([x + np.cumsum(np.cos(turn)) * reach, y + np.cumsum(np.sin(turn)) * reach], 1)
        thick = max(1, int(face[2] * rng.uniform(0.05, 0.28)))
        stroke = np.zeros(size, np.float32)
        cv2.polylines(stroke, [points.astype(np.int32)], isClosed=False, color=1.0, thickness=thick)
        mask = np.maximum(mask, stroke * np.float32(rng.uniform(0.5, 1.0)))
        area += float(thick * 5 * reach / (face[2] * face[3]))
    return _soft(mask, max(0.6, face[2] * rng.uniform(0.01, 0.05)))


def _patches(rng: np.random.Generator, size: tuple[int, int], face: Box, coverage: float) -> Map:
    """Moist places: ellipses around forehead, nose, cheeks and chin with a ragged edge."""
    mask = np.zeros(size, np.float32)
    for _ in range(max(3, round(26 * coverage))):
        u, v, spread = _SPOTS[rng.integers(len(_SPOTS))]
        centre = (
            int(face[0] + face[2] * rng.normal(u, 0.10)),
            int(face[1] + face[3] * rng.normal(v, 0.10)),
        )
        axes = tuple(max(1, int(face[2] * spread * rng.uniform(0.35, 1.1))) for _ in range(2))
        value = rng.uniform(0.6, 1.0)
        cv2.ellipse(mask, centre, (axes[0], axes[1]), rng.uniform(0, 180), 0, 360, value, -1)
    shift = rng.normal(0, 1, (2, 9, 9)).astype(np.float32) * np.float32(face[2] * 0.06)
    dx, dy = (cv2.resize(s, (size[1], size[0]), interpolation=cv2.INTER_CUBIC) for s in shift)
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    ragged = cv2.remap(mask, xs + dx, ys + dy, cv2.INTER_LINEAR)
    return _soft(ragged, max(0.5, face[2] * rng.uniform(0.008, 0.05)))


def _grains(rng: np.random.Generator, size: tuple[int, int], face: Box, coverage: float) -> Map:
    """Single grains and clots, few large and many small."""
    mask = np.zeros(size, np.float32)
    count = int(60 + 440 * coverage)
    radii = np.exp(rng.normal(np.log(face[2] * 0.010), 0.65, count))
    xs = face[0] + face[2] * rng.uniform(-0.1, 1.1, count)
    ys = face[1] + face[3] * rng.uniform(-0.1, 1.1, count)
    for x, y, r in zip(xs, ys, radii, strict=True):
        cv2.circle(mask, (int(x), int(y)), int(r + 0.5), 1.0, -1, lineType=cv2.LINE_AA)
    return _soft(mask, 0.6)


def _film(rng: np.random.Generator, size: tuple[int, int], face: Box, coverage: float) -> Map:
    """An even film, thinner on one side, with the wiped rings of the eyes left lighter."""
    slope = cv2.resize(rng.uniform(0.3, 1.0, (3, 3)).astype(np.float32), (size[1], size[0]))
    film = slope * np.float32(0.35 + 0.6 * coverage)
    if rng.random() < WIPED_EYES:
        eyes = np.zeros(size, np.float32)
        radius = max(1, int(face[2] * rng.uniform(0.08, 0.16)))
        for u in (0.3, 0.7):
            cv2.circle(eyes, (int(face[0] + face[2] * u), int(face[1] + face[3] * 0.35)), radius, 1.0, -1)
        film *= 1 - np.float32(rng.uniform(0.3, 0.9)) * cv2.GaussianBlur(eyes, (0, 0), radius * 0.5)
    return film


def _crust(rng: np.random.Generator, size: tuple[int, int], face: Box, coverage: float) -> Map:
    """Dried slurry: scales and clots of all sizes with crisp edges, on the face and on what is around it."""
    reach = face[2] * rng.uniform(0.6, 1.6)
    x, y = face[0] + face[2] / 2, face[1] + face[3] / 2
    return _scales(rng, size, (x - reach, y - reach, 2 * reach, 2 * reach), face[2], coverage)


def _scales(rng: np.random.Generator, size: tuple[int, int], area: Box, unit: float, coverage: float) -> Map:
    """Cover about `coverage` of `area` with many-cornered scales, up to a fifth of `unit` in radius."""
    mask = np.zeros(size, np.float32)
    largest, least = rng.uniform(0.08, 0.22) * unit, max(0.7, 0.015 * unit)
    covered, wanted = 0.0, 1.3 * coverage * area[2] * area[3]
    for _ in range(MOST_SCALES):
        if covered >= wanted:
            break
        radius = float(np.exp(rng.uniform(np.log(least), np.log(max(largest, least + 0.1)))))
        x, y = area[0] + area[2] * rng.random(), area[1] + area[3] * rng.random()
        corners = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 9))))
        reach = radius * rng.uniform(0.6, 1.4, len(corners))
        points = np.stack([x + reach * np.cos(corners), y + reach * np.sin(corners)], 1)
        fixed = np.round(points * 16).astype(np.int32)
        cv2.fillPoly(mask, [fixed], float(rng.uniform(0.75, 1.0)), lineType=cv2.LINE_AA, shift=4)
        covered += 2.2 * radius * radius
    return _soft(mask, max(0.4, unit * rng.uniform(0.0, 0.015)))


def _everywhere(rng: np.random.Generator, size: tuple[int, int], face: Box, coverage: float) -> Map:
    """The same over the whole picture: splashes on wall, helmet and lens alike."""
    return _scales(rng, size, (0.0, 0.0, float(size[1]), float(size[0])), face[2], coverage)


FAMILIES: Final[dict[str, Callable[[np.random.Generator, tuple[int, int], Box, float], Map]]] = {
    "streaks": _streaks,
    "smears": _smears,
    "patches": _patches,
    "grains": _grains,
    "film": _film,
    "crust": _crust,
    "everywhere": _everywhere,
}
#: Families that a face's ash of the levels 1 and 2 is made of.
_THIN: Final = tuple(name for name in FAMILIES if name not in ("crust", "everywhere"))


def _head(size: tuple[int, int], face: Box) -> Map:
    """Return 1 on the head around the face box, falling to 0.1 beyond: ash sticks to skin, not to walls."""
    ys = (np.arange(size[0], dtype=np.float32) - (face[1] + face[3] / 2)) / (0.72 * face[3])
    xs = (np.arange(size[1], dtype=np.float32) - (face[0] + face[2] / 2)) / (0.78 * face[2])
    d = np.sqrt(ys[:, None] ** 2 + xs[None, :] ** 2)
    return np.asarray(np.clip((1.35 - d) / 0.35, 0.1, 1.0), np.float32)


def _fraction(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def ash_map(
    size: tuple[int, int], face: Box, level: int, rng: np.random.Generator, family: str | None = None
) -> Map:
    """Return how much ash lies on each pixel, (height, width) float32 in 0..1.

    One family if `family` names it, otherwise one to three at random. See `coal_ash` for errors.
    """
    low, high, least, most = LEVELS[level]
    scale = min(1.0, MAP_SIDE / max(size))
    small = (max(8, round(size[0] * scale)), max(8, round(size[1] * scale)))
    near = (face[0] * scale, face[1] * scale, max(4.0, face[2] * scale), max(4.0, face[3] * scale))
    thick = level == max(LEVELS)
    among = [*_THIN, "crust"] if thick else list(_THIN)
    names = [family] if family else list(rng.choice(among, size=rng.integers(1, 4), replace=False))
    if thick and not family and "crust" not in names and rng.random() < CRUSTED:
        names.append("crust")
    clear = np.ones(small, np.float32)
    for name in names:
        part = FAMILIES[name](rng, small, near, _fraction(rng, low, high))
        clear *= 1 - np.clip(part, 0, 1) * np.float32(_fraction(rng, least, most))
    mask: npt.NDArray[Any] = 1 - clear
    if not {"crust", "everywhere"} & set(names):  # these lie on helmet and collar as well
        mask = mask * _head(small, near)
    if small != size:
        mask = cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(mask, 0, 1), np.float32)


def coal_ash(
    image: Image,
    level: int,
    rng: np.random.Generator,
    *,
    face: Box | None = None,
    family: str | None = None,
) -> Image:
    """Return `image` with simulated coal ash of `level`: 0 none, 1 light, 2 heavy, 3 thick.

    Args:
        image: (H, W, 3) uint8, BGR.
        level: 0, 1, 2 or 3.
        rng: the only source of randomness.
        face: x, y, width, height in pixels; the whole picture where it is None.
        family: one of `FAMILIES`; one to three at random where it is None.

    Raises:
        ValueError: unknown level or family, or a picture that is not (H, W, 3) uint8.
    """
    if image.dtype != np.uint8 or image.shape[2:] != (3,):
        msg = f"image must be (H, W, 3) uint8 BGR; received {image.shape} {image.dtype}"
        raise ValueError(msg)
    if level not in (0, *LEVELS) or (family is not None and family not in FAMILIES):
        msg = f"level must be 0 to 3 and family one of {sorted(FAMILIES)}; received {level}, {family!r}"
        raise ValueError(msg)
    if level == 0:
        return image
    height, width = image.shape[:2]
    mask = ash_map((height, width), face or (0.0, 0.0, float(width), float(height)), level, rng, family)
    grain = cv2.resize(rng.random((height // 2 + 1, width // 2 + 1), dtype=np.float32), (width, height))
    mask = mask * (0.8 + 0.2 * grain)
    dark = float(rng.uniform(18, 58))
    tint = np.array([dark, dark * rng.uniform(0.98, 1.04), dark * rng.uniform(0.98, 1.12)], np.float32)
    light = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    carried = rng.uniform(0.1, 0.6) * (0.4 if level == max(LEVELS) else 1.0)
    shading = 1 + np.float32(carried) * (light / max(20.0, float(light.mean())) - 1)
    shaded = shading + 0.5 * (grain - 0.5)
    grey = cv2.merge([shaded * channel for channel in tint])  # three whole planes: broadcasting is slow
    mixed = image + cv2.merge([mask] * 3) * (grey - image)
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)
