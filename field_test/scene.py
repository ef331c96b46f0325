"""The empty tunnel: rock, steel arches, a floor, LED lamps in the roof, dust in the air, a small sensor.

A camera looks along a straight tunnel with an arched roof. Every pixel's ray is met with the rock
once (x to the right, y down, z along the tunnel, metres; the camera is the origin), which gives its
depth and its surface; lamps light the surface by the inverse square of the distance and its angle.
The air is not empty: light is lost on the way through it, a lit haze is added, and single grains
drift through the beam of the camera's own lamp and shine back at it (backscatter).

Brightness is linear until the sensor, which adds shot and read noise, a little row noise, and the
curve that cameras put on a picture. What is simulated is meant to look right and to be hard in the
ways that a tunnel is hard; it is not photometry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Picture = npt.NDArray[np.float32]

WIDTH: Final = 640
HEIGHT: Final = 360
#: Focal length in pixels: about 40 degrees across, a usual camera for a passage.
FOCAL: Final = 880.0
HORIZON: Final = 168.0
_RADIUS, _FLOOR = 2.3, 1.75
#: LED lamps in the roof: where (metres) and how strong.
_LAMPS: Final = (
    (-0.9, -1.9, 4.2, 2.6),
    (0.75, -1.62, 9.5, 3.6),
    (-0.9, -1.95, 16.0, 3.6),
    (0.9, -1.95, 24.0, 4.0),
)
#: The camera's own lamp, just above it.
HEADLIGHT: Final = (0.35, -0.5, 0.0, 3.6)
ALL_LAMPS: Final = (*_LAMPS, HEADLIGHT)
TINT: Final = np.array([1.06, 1.0, 0.93], dtype=np.float32)  # BGR: cold white
_ROCK: Final = np.array([0.20, 0.22, 0.235], dtype=np.float32)
EXTINCTION: Final = 0.055
#: Above the knee the camera presses highlights together.
_KNEE: Final = np.float32(0.8)
_HEADROOM: Final = np.float32(0.2)


@dataclass(frozen=True, slots=True)
class Scene:
    """The lit rock (H, W, 3), its depth in metres and the lamps' cones in the dust (H, W), all float32."""

    rock: Picture
    depth: Picture
    cones: Picture


def _noise(rng: np.random.Generator, shape: tuple[int, int], octaves: int = 5) -> Picture:
    """Return smooth noise of several scales, 0..1."""
    total = np.zeros(shape, dtype=np.float32)
    for octave in range(octaves):
        cells = (max(2, shape[0] >> (octaves - octave)), max(2, shape[1] >> (octaves - octave)))
        layer = rng.random(cells, dtype=np.float32)
        total += cv2.resize(layer, shape[::-1], interpolation=cv2.INTER_CUBIC) * np.float32(0.5**octave)
    low, high = np.percentile(total, (1, 99))
    return np.asarray(np.clip((total - low) / (high - low), 0, 1), dtype=np.float32)


def _rays() -> tuple[Picture, Picture]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return (columns - np.float32(WIDTH / 2)) / np.float32(FOCAL), (rows - np.float32(HORIZON)) / np.float32(
        FOCAL
    )


def light_at(x: Picture, y: Picture, z: Picture, lamp: tuple[float, float, float, float]) -> Picture:
    """Return the light of `lamp` at points in metres, whatever the surface's angle: inverse square."""
    lx, ly, lz, power = lamp
    return np.asarray(np.float32(power) / ((x - lx) ** 2 + (y - ly) ** 2 + (z - lz) ** 2 + np.float32(0.6)))


def make_scene(seed: int) -> Scene:
    """Build the tunnel once; frames are made from it by `Weather` and the walkers."""
    rng = np.random.default_rng(seed)
    dx, dy = _rays()
    # The arch is a cylinder along z about (0, -0.1), the floor a plane: whichever comes first.
    a = dx**2 + dy**2
    b = np.float32(0.1) * dy
    wall = (-b + np.sqrt(b**2 + a * np.float32(_RADIUS**2 - 0.01))) / np.maximum(a, np.float32(1e-9))
    floor = np.where(dy > 0, np.float32(_FLOOR) / np.maximum(dy, np.float32(1e-6)), np.float32(1e9))
    depth = np.minimum(np.minimum(wall, floor), np.float32(60.0))
    on_floor = floor < wall
    x, y, z = dx * depth, dy * depth, depth
    albedo = _albedo(rng, x, y, z, on_floor)
    light = np.zeros_like(depth)
    for lamp in ALL_LAMPS:
        to_lamp = np.stack([np.float32(lamp[0]) - x, np.float32(lamp[1]) - y, np.float32(lamp[2]) - z])
        normal = np.stack([np.where(on_floor, 0, -x), np.where(on_floor, -1, -y), np.zeros_like(x)])
        cosine = (to_lamp * normal).sum(axis=0) / (
            np.linalg.norm(to_lamp, axis=0) * np.maximum(np.linalg.norm(normal, axis=0), 1e-6)
        )
        light += light_at(x, y, z, lamp) * np.clip(cosine, np.float32(0.06), 1)
    rock = albedo * (light + np.float32(0.002))[:, :, None] * TINT
    lamps, cones = _lamps_and_cones()
    return Scene((rock * np.exp(-EXTINCTION * depth)[:, :, None] + lamps).astype(np.float32), depth, cones)


def _albedo(
    rng: np.random.Generator, x: Picture, y: Picture, z: Picture, on_floor: npt.NDArray[np.bool_]
) -> Picture:
    """Return what the surfaces reflect: rough rock, steel arches, a wet and dirty floor, rails, cables."""
    texture = _noise(rng, (512, 512))
    angle = np.arctan2(x, -y)
    along = np.where(on_floor, x / 3, angle * np.float32(0.6)) * 160 + 255  # its wrap lies beneath the floor
    u = np.mod(along, 511).astype(np.float32)
    v = np.mod(z * 70, 511).astype(np.float32)
    rough = cv2.remap(texture, u, v, cv2.INTER_LINEAR)
    rough = np.float32(0.35) + np.float32(0.9) * rough
    value = _ROCK * rough[:, :, None]
    value = np.where(on_floor[:, :, None], value * np.float32(0.55), value)
    phase = np.mod(z, 1.2)
    arch = (phase < np.float32(0.13)) & ~on_floor
    value = np.where(
        arch[:, :, None], np.array([0.16, 0.19, 0.24], dtype=np.float32) * rough[:, :, None], value
    )
    shadow = (phase > np.float32(0.13)) & (phase < np.float32(0.3)) & ~on_floor
    value = np.where(shadow[:, :, None], value * np.float32(0.5), value)
    sag = np.float32(0.03) * np.cos(z * np.float32(2 * np.pi / 2.4))
    for height in (-0.55, -0.42):
        cable = (np.abs(y - height - sag) < np.float32(0.03)) & (x < 0) & ~on_floor
        value = np.where(cable[:, :, None], np.float32(0.025), value)
    rail = on_floor & ((np.abs(np.abs(x) - np.float32(0.45))) < np.float32(0.035))
    value = np.where(rail[:, :, None], np.float32(0.30), value)
    return np.asarray(value, dtype=np.float32)


def _lamps_and_cones() -> tuple[Picture, Picture]:
    """Return the lamps themselves with their glare, (H, W, 3), and their cones in dusty air, (H, W)."""
    glare = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    cones = np.zeros_like(glare)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    for lx, ly, lz, power in _LAMPS:
        u = WIDTH / 2 + FOCAL * lx / lz
        v = HORIZON + FOCAL * ly / lz
        below = np.maximum(rows - np.float32(v), 0)
        spread = np.float32(0.26) * below + np.float32(0.08 * FOCAL / lz)
        fall = np.exp(-below / np.float32(1.5 * FOCAL / lz)) * (rows > v)
        cones += (
            np.float32(power / 3)
            * np.exp(-(((columns - np.float32(u)) / spread) ** 2))
            * fall
            / np.float32(lz**0.5)
        )
        spot = ((columns - np.float32(u)) / np.float32(0.16 * FOCAL / lz)) ** 2
        spot = spot + ((rows - np.float32(v)) / np.float32(0.035 * FOCAL / lz)) ** 2
        glare += np.float32(1.6) * np.exp(-spot).astype(np.float32)
    bloom = cv2.GaussianBlur(glare, (0, 0), 14) * np.float32(1.2) + glare
    lamps = np.asarray(bloom[:, :, None] * TINT, dtype=np.float32)
    return lamps, np.asarray(cv2.GaussianBlur(cones, (0, 0), 6), dtype=np.float32)


class Weather:
    """What changes from frame to frame: drifting dust, single grains, vibration, the sensor's noise."""

    def __init__(self, *, seed: int, dust: float = 1.0, grains: int = 90) -> None:
        self._rng = np.random.default_rng(seed)
        self._dust = dust
        self._fog = _noise(self._rng, (HEIGHT * 2, WIDTH * 2), octaves=4)
        self._grains = self._rng.uniform((-1.6, -1.2, 0.35), (1.6, 1.2, 4.0), size=(grains, 3))
        self._drift = self._rng.normal(0, 0.06, size=(grains, 3)) + np.array([0.16, 0.03, -0.05])
        self._sway = self._rng.uniform(0, 2 * np.pi, size=4)

    def haze(self, scene: Scene, seconds: float) -> Picture:
        """Return the light that the dusty air itself sends to the camera, (H, W)."""
        left = int(seconds * 14) % WIDTH
        top = int(HEIGHT * 0.5 * (1 + np.sin(seconds * 0.21)))
        fog = self._fog[top : top + HEIGHT, left : left + WIDTH]
        depth = 1 - np.exp(-np.float32(0.12) * scene.depth)
        haze = (np.float32(0.0015) + np.float32(0.14) * scene.cones) * (np.float32(0.35) + fog) * depth
        return np.asarray(haze * np.float32(self._dust), dtype=np.float32)

    def add_grains(self, picture: Picture, seconds: float) -> None:
        """Draw single grains of dust in the camera's lamp into `picture`; near ones are large and soft."""
        low, high = np.array([-1.6, -1.2, 0.35]), np.array([1.6, 1.2, 4.0])
        at = low + np.mod(self._grains + self._drift * seconds - low, high - low)
        layer = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
        for x, y, z in at:
            u, v = WIDTH / 2 + FOCAL * x / z, HORIZON + FOCAL * y / z
            if not (0 < u < WIDTH and 0 < v < HEIGHT):
                continue
            blur = 0.7 + 2.2 / z  # out of focus
            bright = 0.9 * self._dust / (z * z * blur * blur + 0.4)
            centre = (int(u * 16), int(v * 16))
            cv2.circle(layer, centre, int(blur * 16), bright, -1, cv2.LINE_AA, 4)
        picture += cv2.GaussianBlur(layer, (0, 0), 1.1)[:, :, None] * TINT

    def expose(self, picture: Picture, seconds: float, *, gain: float = 1.0) -> npt.NDArray[np.uint8]:
        """Return what the camera delivers of linear light `picture`: vibration, noise, curve, 8 bits."""
        a, b, c, d = self._sway
        dx = 0.5 * np.sin(11.3 * seconds + a) + 0.3 * np.sin(23.9 * seconds + b)
        dy = 0.5 * np.sin(13.7 * seconds + c) + 0.3 * np.sin(31.1 * seconds + d)
        move = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float32)
        light = cv2.warpAffine(picture, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        light = cv2.GaussianBlur(light, (0, 0), 0.6) * np.float32(gain * (1 + 0.015 * np.sin(40 * seconds)))
        shot = self._rng.standard_normal(light.shape, dtype=np.float32) * np.sqrt(np.maximum(light, 0))
        read = self._rng.standard_normal(light.shape, dtype=np.float32)
        rows = self._rng.standard_normal((HEIGHT, 1, 1), dtype=np.float32)
        light = light + np.float32(0.022) * shot + np.float32(0.004) * read + np.float32(0.0008) * rows
        curve = np.clip(light, 0, None) ** np.float32(1 / 2.2)
        toned = np.where(curve < _KNEE, curve, _KNEE + _HEADROOM * np.tanh((curve - _KNEE) / (2 * _HEADROOM)))
        return np.asarray(np.clip(toned * 255 + 0.5, 0, 255), dtype=np.uint8)
