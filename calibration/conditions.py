"""What a tunnel does to a picture: LED light, dust in the air, darkness, the camera and the wire.

Each function takes a (H, W, 3) uint8 BGR picture and a generator and returns a picture of the same
shape; all randomness comes from the generator, so the same seed gives the same picture. `degrade`
composes them, ash first (``calibration.ash``), then light, then lens and sensor, then the codec, which
is the order in which they happen. It is used to augment training, to make calibration sets and to
make the dark and dusty probes that the acceptance threshold is chosen on. All of it is simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from calibration.ash import Box, Image, coal_ash
from calibration.clothing import worn

Map = npt.NDArray[np.float32]

#: Shares of pictures: white balance lost to nearly grey; noise smeared over neighbours by the camera.
NEARLY_GREY: Final = 0.3
CORRELATED: Final = 0.4


def _clip(values: npt.ArrayLike) -> Image:
    """Return `values` as uint8, held to 0..255."""
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def _blend(image: Image, factor: Map) -> Image:
    """Return `image` times a (H, W) or (H, W, 3) factor."""
    gain = factor if factor.shape[2:] else cv2.merge([factor] * 3)  # broadcasting over three is slow
    return _clip(image * gain)


def _distance(shape: tuple[int, ...], x: float, y: float) -> Map:
    """Return each pixel's distance from (x, y), all in units of the longer side."""
    longest = max(shape[:2])
    ys = (np.arange(shape[0], dtype=np.float32) / longest - y)[:, None]
    xs = (np.arange(shape[1], dtype=np.float32) / longest - x)[None, :]
    return np.sqrt(ys * ys + xs * xs)


def led_cone(image: Image, rng: np.random.Generator) -> Image:
    """A lamp's cone: bright inside, falling off steeply to the dark of the tunnel."""
    d = _distance(image.shape, rng.uniform(0.1, 0.9), rng.uniform(0.0, 0.9))
    radius, floor = rng.uniform(0.35, 0.8), rng.uniform(0.08, 0.5)
    return _blend(
        image, (floor + (rng.uniform(0.9, 1.4) - floor) / (1 + (d / radius) ** 4)).astype(np.float32)
    )


def glare(image: Image, rng: np.random.Generator) -> Image:
    """A lamp looking into the lens: a saturated spot with a wide halo."""
    d = _distance(image.shape, rng.uniform(-0.1, 1.1), rng.uniform(-0.1, 1.1))
    spot = np.exp(-((d / rng.uniform(0.04, 0.16)) ** 2)) * 220 + np.exp(
        -d / rng.uniform(0.1, 0.4)
    ) * rng.uniform(20, 90)
    return _clip(image + cv2.merge([spot] * 3))


def colour_cast(image: Image, rng: np.random.Generator) -> Image:
    """White balance gone wrong under one LED: blue-green or yellow gain, or nearly grey."""
    out = _blend(image, np.exp(rng.normal(0, 0.08, (1, 1, 3))).astype(np.float32))
    if rng.random() < NEARLY_GREY:
        grey = cv2.cvtColor(out, cv2.COLOR_BGR2GRAY)[..., None].astype(np.float32)
        keep = np.float32(rng.uniform(0, 0.6))
        out = np.clip(out * keep + grey * (1 - keep), 0, 255).astype(np.uint8)
    return out


def lamp_colour(image: Image, rng: np.random.Generator) -> Image:
    """Lamps of one colour and no white balance: sodium yellow to blue-white."""
    warm = rng.uniform(-0.6, 0.6)
    gains = np.exp(np.array([[[-warm, rng.normal(0, 0.08), 0.4 * warm]]]))
    return _blend(image, gains.astype(np.float32))


def flicker_bands(image: Image, rng: np.random.Generator) -> Image:
    """Rolling shutter under a pulsed LED: horizontal bands."""
    rows = np.arange(image.shape[0], dtype=np.float32) / image.shape[0]
    wave = np.sin(2 * np.pi * (rows * rng.uniform(1.5, 6) + rng.random()))
    return _blend(
        image,
        np.repeat((1 - rng.uniform(0.08, 0.3) * (wave * 0.5 + 0.5))[:, None], image.shape[1], 1).astype(
            np.float32
        ),
    )


def backscatter(image: Image, rng: np.random.Generator) -> Image:
    """Dust in the air, lit by the camera's own lamp: a grey veil and bright blurred specks."""
    height, width = image.shape[:2]
    veil = np.float32(rng.uniform(0.05, 0.4))
    haze = np.float32(rng.uniform(70, 170))
    specks = np.zeros((height, width), np.float32)
    for _ in range(rng.integers(5, 40)):
        at = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(
            specks,
            at,
            int(max(height, width) * rng.uniform(0.002, 0.02) + 0.5),
            float(rng.uniform(20, 140)),
            -1,
        )
    blur = max(0.5, max(height, width) * rng.uniform(0.004, 0.015))
    soft = cv2.GaussianBlur(specks, (0, 0), blur)
    return _clip(image * (1 - veil) + haze * veil + cv2.merge([soft] * 3))


def brim_shadow(image: Image, rng: np.random.Generator) -> Image:
    """The shadow that a helmet's brim or cap lamp throws over forehead and eyes."""
    height, width = image.shape[:2]
    ys = np.arange(height, dtype=np.float32)[:, None] / height
    xs = np.arange(width, dtype=np.float32)[None, :] / width - 0.5
    edge = rng.uniform(0.15, 0.5) + rng.normal(0, 0.25) * xs + rng.uniform(-0.4, 0.4) * xs * xs
    inside = 0.5 - 0.5 * np.tanh((ys - edge) / rng.uniform(0.02, 0.12))
    return _blend(image, (1 - rng.uniform(0.4, 0.85) * inside).astype(np.float32))


def darkness(image: Image, rng: np.random.Generator) -> Image:
    """Too little light: the picture times 0.08 to 0.55, with shot and read noise, lifted again in part."""
    gain = rng.uniform(0.08, 0.55)
    dark = image.astype(np.float32) * np.float32(gain)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    dark += noise * np.sqrt(dark * np.float32(rng.uniform(0.02, 0.3)) + np.float32(rng.uniform(0.5, 9)))
    lift = np.float32((1 / gain) ** rng.uniform(0, 0.8))
    return _clip(dark * lift)


def noise(image: Image, rng: np.random.Generator) -> Image:
    """Sensor noise of 2 to 18 grey levels, partly correlated between neighbours."""
    field: npt.NDArray[Any] = rng.standard_normal(image.shape, dtype=np.float32)
    if rng.random() < CORRELATED:
        field = cv2.GaussianBlur(field, (0, 0), 0.8) * 2
    return _clip(image + field * np.float32(rng.uniform(2, 18)))


def motion_blur(image: Image, rng: np.random.Generator) -> Image:
    """A walking person at a long exposure: 2 to 8 % of the side along one direction."""
    length = max(3, int(max(image.shape[:2]) * rng.uniform(0.02, 0.08)) | 1)
    kernel = np.zeros((length, length), np.float32)
    angle, middle = rng.uniform(0, np.pi), length // 2
    dx, dy = np.cos(angle) * middle, np.sin(angle) * middle
    ends = (
        (round(float(middle - dx)), round(float(middle - dy))),
        (round(float(middle + dx)), round(float(middle + dy))),
    )
    cv2.line(kernel, ends[0], ends[1], 1.0, 1)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def low_resolution(image: Image, rng: np.random.Generator) -> Image:
    """A face far away: reduced to 20 to 64 pixels and enlarged again."""
    height, width = image.shape[:2]
    small = int(rng.integers(20, 65))
    if small >= max(height, width):
        return image
    reduced = cv2.resize(image, (small, max(1, small * height // width)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def defocus(image: Image, rng: np.random.Generator) -> Image:
    """A dusty or misfocused lens: blur with a deviation of 0.4 to 2 % of the side."""
    return np.asarray(
        cv2.GaussianBlur(image, (0, 0), max(image.shape[:2]) * rng.uniform(0.004, 0.02)), np.uint8
    )


def compression(image: Image, rng: np.random.Generator) -> Image:
    """JPEG at quality 15 to 70."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 71))])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.asarray(decoded, np.uint8)


def tone(image: Image, rng: np.random.Generator) -> Image:
    """Exposure, contrast and gamma of an ordinary camera."""
    ramp = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.25))
    ramp = (ramp - 0.5) * np.exp(rng.normal(0, 0.18)) + 0.5 + rng.normal(0, 0.06)
    return np.asarray(cv2.LUT(image, np.clip(ramp * 255, 0, 255).astype(np.uint8)), np.uint8)


Effect = Callable[[Image, np.random.Generator], Image]

EFFECTS: Final[dict[str, Effect]] = {
    f.__name__: f
    for f in (
        led_cone, brim_shadow, glare, colour_cast, lamp_colour, flicker_bands, backscatter, darkness,
        motion_blur, defocus, low_resolution, noise, tone, compression,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Severity:
    """How often each thing happens to a picture, as probabilities in 0..1.

    `light_ash` and `heavy_ash` exclude each other; `worn` is hood and helmet; `effects` maps names of
    `EFFECTS` to probabilities and is applied in its own order.
    """

    light_ash: float
    heavy_ash: float
    effects: dict[str, float]
    worn: float = 0.0

    def __post_init__(self) -> None:
        """Refuse unknown effects and numbers that are not probabilities."""
        wrong = set(self.effects) - set(EFFECTS)
        shares = (self.light_ash + self.heavy_ash, self.worn, *self.effects.values())
        odd = [p for p in shares if not 0 <= p <= 1]
        if wrong or odd or min(self.light_ash, self.heavy_ash) < 0:
            msg = f"effects must be among {sorted(EFFECTS)} with probabilities; received {wrong or odd}"
            raise ValueError(msg)


def _all(p: float, **changed: float) -> dict[str, float]:
    return {name: changed.get(name, p) for name in EFFECTS}


SEVERITIES: Final[dict[str, Severity]] = {
    "camera": Severity(
        light_ash=0,
        heavy_ash=0,
        effects=_all(0, tone=0.5, colour_cast=0.3, defocus=0.1, noise=0.15, compression=0.2),
    ),
    "mild": Severity(
        light_ash=0.4, heavy_ash=0.1, effects=_all(0.06, lamp_colour=0, tone=0.4, compression=0.15)
    ),
    "mine": Severity(
        light_ash=0.3, heavy_ash=0.5, effects=_all(0.13, lamp_colour=0, tone=0.4, compression=0.2)
    ),
    "dark_dust": Severity(
        light_ash=0.5,
        heavy_ash=0.2,
        effects=_all(0.1, lamp_colour=0, led_cone=0.5, backscatter=0.6, darkness=0.7, compression=0.4),
    ),
    "miner": Severity(
        light_ash=0.33,
        heavy_ash=0.33,
        worn=1,
        effects=_all(
            0.05,
            brim_shadow=0,
            tone=0.4,
            lamp_colour=0.3,
            led_cone=0.1,
            backscatter=0.3,
            darkness=0.2,
            motion_blur=0.1,
            low_resolution=0.35,
            noise=0.3,
            compression=0.4,
        ),
    ),
}


def degrade(
    image: Image, severity: Severity | str, rng: np.random.Generator, *, face: Box | None = None
) -> Image:
    """Return `image` as a tunnel camera might have seen it.

    Args:
        image: (H, W, 3) uint8, BGR.
        severity: a `Severity` or the name of one in `SEVERITIES`.
        rng: the only source of randomness.
        face: x, y, width, height in pixels for the ash; the whole picture where it is None.

    Raises:
        ValueError: unknown severity, or a picture of the wrong shape or type.
    """
    if isinstance(severity, str):
        if severity not in SEVERITIES:
            msg = f"severity must be one of {sorted(SEVERITIES)}; received {severity!r}"
            raise ValueError(msg)
        severity = SEVERITIES[severity]
    draw = rng.random()
    level = 2 if draw < severity.heavy_ash else 1 if draw < severity.heavy_ash + severity.light_ash else 0
    image = coal_ash(image, level, rng, face=face)
    if severity.worn and rng.random() < severity.worn:
        image = worn(image, face or (0.0, 0.0, float(image.shape[1]), float(image.shape[0])), rng)
    for name, probability in severity.effects.items():
        if probability and rng.random() < probability:
            image = EFFECTS[name](image, rng)
    return image
