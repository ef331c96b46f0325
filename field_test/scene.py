"""The empty tunnel: rock, steel arches, a floor, LED lamps in the roof, dust in the air, a small sensor.

A camera looks along a straight tunnel with an arched roof. Every pixel's ray is met with the rock
once (x to the right, y down, z along the tunnel, metres; the camera is the origin), which gives its
depth and its surface; lamps light the surface by the inverse square of the distance and its angle.
The air is not empty: light is lost on the way through it, a lit haze is added, and single grains
drift through the beam of the camera's own lamp and shine back at it (backscatter).

Brightness is linear until the sensor (`field_test.weather`). What is simulated is meant to look right
and to be hard in the ways that a tunnel is hard; it is not photometry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from field_test.light import LAYOUTS

if TYPE_CHECKING:
    import numpy.typing as npt

    from field_test.light import Lamp, Light

    Picture = npt.NDArray[np.float32]

WIDTH: Final = 640
HEIGHT: Final = 360
#: Focal length in pixels: about 40 degrees across, a usual camera for a passage.
FOCAL: Final = 880.0
HORIZON: Final = 168.0
_RADIUS, _FLOOR = 2.3, 1.75
_ROCK: Final = np.array([0.20, 0.22, 0.235], dtype=np.float32)
EXTINCTION: Final = 0.055


@dataclass(frozen=True, slots=True)
class Scene:
    """The lit rock (H, W, 3), its depth in metres and the lamps' cones in the dust (H, W), all float32."""

    rock: Picture
    depth: Picture
    cones: Picture
    light: Light

    @property
    def tint(self) -> Picture:
        """The lamps' colour, (3,) BGR."""
        return np.array(self.light.tint, dtype=np.float32)


def noise(rng: np.random.Generator, shape: tuple[int, int], octaves: int = 5) -> Picture:
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


def light_at(x: Picture, y: Picture, z: Picture, lamp: Lamp) -> Picture:
    """Return the light of `lamp` at points in metres, whatever the surface's angle: inverse square."""
    lx, ly, lz, power = lamp
    return np.asarray(np.float32(power) / ((x - lx) ** 2 + (y - ly) ** 2 + (z - lz) ** 2 + np.float32(0.6)))


def make_scene(seed: int, light: Light = LAYOUTS["demo"]) -> Scene:
    """Build the tunnel once, lit by `light`; frames are made from it by `Weather` and the walkers."""
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
    lit = np.zeros_like(depth)
    for lamp in light.lamps:
        to_lamp = np.stack([np.float32(lamp[0]) - x, np.float32(lamp[1]) - y, np.float32(lamp[2]) - z])
        normal = np.stack([np.where(on_floor, 0, -x), np.where(on_floor, -1, -y), np.zeros_like(x)])
        cosine = (to_lamp * normal).sum(axis=0) / (
            np.linalg.norm(to_lamp, axis=0) * np.maximum(np.linalg.norm(normal, axis=0), 1e-6)
        )
        lit += light_at(x, y, z, lamp) * np.clip(cosine, np.float32(0.06), 1)
    tint = np.array(light.tint, dtype=np.float32)
    rock = albedo * (lit + np.float32(light.ambient))[:, :, None] * tint
    glow, cones = _lamps_and_cones(light)
    rock = rock * np.exp(-EXTINCTION * depth)[:, :, None] + glow[:, :, None] * tint
    return Scene(rock.astype(np.float32), depth, cones, light)


def _albedo(
    rng: np.random.Generator, x: Picture, y: Picture, z: Picture, on_floor: npt.NDArray[np.bool_]
) -> Picture:
    """Return what the surfaces reflect: rough rock, steel arches, a wet and dirty floor, rails, cables."""
    texture = noise(rng, (512, 512))
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


def _lamps_and_cones(light: Light) -> tuple[Picture, Picture]:
    """Return the lamps themselves with their glare, and their cones in dusty air, both (H, W)."""
    glare = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    cones = np.zeros_like(glare)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    for lx, ly, lz, power in light.roof:
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
    if light.glare is not None:
        bloom += _into_the_lens(rows, columns, light.glare)
    return np.asarray(bloom, dtype=np.float32), np.asarray(cv2.GaussianBlur(cones, (0, 0), 6), np.float32)


def _into_the_lens(rows: Picture, columns: Picture, glare: tuple[float, float, float]) -> Picture:
    """Return what a lamp that looks into the lens does to it: a disc, a halo, a streak and a veil."""
    left, top, strength = glare
    dx, dy = columns - np.float32(left * WIDTH), rows - np.float32(top * HEIGHT)
    distance = np.hypot(dx, dy)
    disc = 4 * np.exp(-((distance / 11) ** 4))
    halo = 0.5 * np.exp(-distance / 26) + 0.055 * np.exp(-distance / 150)
    streak = 0.12 * np.exp(-np.abs(dy) / 2.5) * np.exp(-np.abs(dx) / 110)
    return np.asarray((disc + halo + streak + 0.006) * strength, dtype=np.float32)
