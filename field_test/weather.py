"""What changes from frame to frame: drifting dust, single grains, a lens that gets dirty, the sensor.

All of it works on linear light until the sensor. Dust drifts in two depths, the near one faster and
coarser; grains in the beam of the camera's own lamp shine back at it, the near ones large and soft. Dirt
on the lens takes light away and scatters what other places send. The sensor adds shot noise (constant
in the square root of the light, which is where it is added), the driver of the lamps its bands, the
mount its vibration, and the wire what a codec leaves out.

What does not change is made once, and haze is made at half size: a frame costs about 5 ms of one core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from field_test import scene
from field_test.scene import FOCAL, HEIGHT, HORIZON, WIDTH

if TYPE_CHECKING:
    import numpy.typing as npt

    from field_test.scene import Picture, Scene

#: Above the knee the camera presses highlights together.
_KNEE: Final = 0.8
#: Steps of the square root of light that the sensor's curve is tabled for.
_STEPS: Final = 200.0
_HALF: Final = (WIDTH // 2, HEIGHT // 2)
_MARGIN: Final = 64
#: Mains flicker is at 100 Hz; what is left of it at the camera's rate creeps (turns a second).
_CREEP_HZ: Final = 0.7
_BANDS: Final = 2.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Air:
    """How bad it is. 1 is what the demo has; 0 is nothing of it.

    `dirt` is the share of light that the dirtiest place of the lens keeps back at the beginning, and
    `dirt_grows` what is added a minute. `bands` is the depth of rolling bands whatever the lamps do.
    `codec` 0..1 is how much the wire leaves out (JPEG quality 90 down to 15), None nothing at all.
    """

    dust: float = 1.0
    grains: int = 90
    vibration: float = 1.0
    noise: float = 1.0
    bands: float = 0.0
    dirt: float = 0.0
    dirt_grows: float = 0.0
    codec: float | None = None


class Weather:
    """The air before, and the sensor behind, one camera's lens."""

    def __init__(self, tunnel: Scene, *, seed: int, air: Air | None = None) -> None:
        self._rng = np.random.default_rng(seed)
        self._air = air or Air()
        self._light = tunnel.light
        self._tint = tunnel.tint
        depth, cones = (cv2.resize(layer, _HALF) for layer in (tunnel.depth, tunnel.cones))
        veil = (np.float32(0.0015) + np.float32(0.14) * cones) * (1 - np.exp(-np.float32(0.12) * depth))
        near = np.exp(-depth / np.float32(6.0)) * np.float32(0.5)
        dust = np.float32(self._air.dust)
        self._near, self._far = (
            np.asarray(veil * part * dust, dtype=np.float32) for part in (near, 1 - near)
        )
        self._fog = scene.noise(self._rng, (HEIGHT, WIDTH * 2), octaves=4)
        self._add_grains_of(self._air.grains)
        self._sway = self._rng.uniform(0, 2 * np.pi, size=6)
        self._noise = self._noise_bank()
        self._dirt = self._smudges() if self._air.dirt or self._air.dirt_grows else None
        self._dirty: tuple[int, Picture] | None = None
        self._curve = _sensor_curve()

    def _add_grains_of(self, grains: int) -> None:
        self._grains = self._rng.uniform((-1.6, -1.2, 0.35), (1.6, 1.2, 4.0), size=(grains, 3))
        self._drift = self._rng.normal(0, 0.06, size=(grains, 3)) + np.array([0.16, 0.03, -0.05])

    def _noise_bank(self) -> Picture:
        """Return more noise than a frame needs, a little of it by rows; each frame takes another part."""
        size = (HEIGHT + _MARGIN, WIDTH + _MARGIN, 3)
        bank = self._rng.standard_normal(size, dtype=np.float32)
        bank += np.float32(0.15) * self._rng.standard_normal((size[0], 1, 1), dtype=np.float32)
        return bank

    def _smudges(self) -> Picture:
        """Return where dirt sits on the lens, 0..1, far out of focus."""
        blots = scene.noise(self._rng, (HEIGHT, WIDTH), octaves=3)
        return np.asarray(cv2.GaussianBlur(np.clip((blots - 0.5) * 2.6, 0, 1), (0, 0), 9), np.float32)

    def add_far_air(self, picture: Picture, seconds: float) -> None:
        """Add the light that the dust behind everybody sends to the camera, (H, W, 3), in place."""
        self._add(picture, self._far * (np.float32(0.35) + self._fog_at(seconds * 7, 1.3)))

    def add_near_air(self, picture: Picture, seconds: float) -> None:
        """Add the dust before everybody, and the single grains in it, in place."""
        layer = self._near * (np.float32(0.35) + self._fog_at(seconds * 21, 0.0))
        self._draw_grains(layer, seconds)
        self._add(picture, layer)

    def _add(self, picture: Picture, layer: Picture) -> None:
        full = cv2.resize(layer, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        cv2.add(picture, cv2.merge([full * one for one in self._tint.tolist()]), dst=picture)

    def _fog_at(self, left: float, turn: float) -> Picture:
        width, height = _HALF
        x = int(left) % (self._fog.shape[1] - width)
        y = int((self._fog.shape[0] - height) * 0.5 * (1 + np.sin(left * 0.02 + turn)))
        return self._fog[y : y + height, x : x + width]

    def _draw_grains(self, layer: Picture, seconds: float) -> None:
        if not len(self._grains):
            return
        low, high = np.array([-1.6, -1.2, 0.35]), np.array([1.6, 1.2, 4.0])
        at = low + np.mod(self._grains + self._drift * seconds - low, high - low)
        z = at[:, 2]
        u, v = WIDTH / 2 + FOCAL * at[:, 0] / z, HORIZON + FOCAL * at[:, 1] / z
        blur = 0.7 + 2.2 / z  # out of focus
        bright = 0.9 * self._air.dust / (z * z * blur * blur + 0.4)
        inside = (u > 0) & (u < WIDTH) & (v > 0) & (v < HEIGHT)
        drawn = np.zeros_like(layer)
        for one in np.flatnonzero(inside):
            centre = (int(u[one] * 8), int(v[one] * 8))
            cv2.circle(drawn, centre, int(blur[one] * 8), float(bright[one]), -1, cv2.LINE_AA, 4)
        layer += cv2.GaussianBlur(drawn, (0, 0), 0.8)

    def expose(self, picture: Picture, seconds: float, *, gain: float = 1.0) -> npt.NDArray[np.uint8]:
        """Return what the camera delivers of linear light `picture`: vibration, noise, curve, 8 bits."""
        light = self._through_lens(picture, seconds)
        dx, dy = self._shake(seconds)
        still = cv2.sepFilter2D(light, -1, _spread(dx), _spread(dy), borderType=cv2.BORDER_REPLICATE)
        light = np.asarray(still, dtype=np.float32)
        if (swing := max(self._air.bands, self._light.flicker)) > 0:
            light *= self._row_gains(seconds, swing)
        root = cv2.sqrt(light)
        top, left = self._rng.integers(0, _MARGIN, 2)
        noise = self._noise[top : top + HEIGHT, left : left + WIDTH]
        alpha = _STEPS * np.sqrt(gain * self._light.gain)
        beta = _STEPS * 0.013 * self._air.noise
        raw = cv2.addWeighted(root, alpha, noise, beta, 0.0, dtype=cv2.CV_8U)
        return self._over_the_wire(np.asarray(cv2.LUT(raw, self._curve), dtype=np.uint8))

    def _through_lens(self, picture: Picture, seconds: float) -> Picture:
        if self._dirt is None:
            return picture
        minute = int(seconds * 2)
        if self._dirty is None or self._dirty[0] != minute:
            share = min(0.97, self._air.dirt + self._air.dirt_grows * seconds / 60)
            kept = 1 - np.clip(self._dirt * 2 * np.float32(share), 0, np.float32(min(share * 1.15, 0.97)))
            self._dirty = (minute, np.repeat(kept[:, :, None], 3, axis=2).astype(np.float32))
        kept = self._dirty[1]
        scattered = np.float32(picture.mean() * 0.8)
        return np.asarray(picture * kept + (1 - kept) * scattered, dtype=np.float32)

    def _shake(self, seconds: float) -> tuple[float, float]:
        a, b, c, d, _, _ = self._sway
        dx = 0.5 * np.sin(11.3 * seconds + a) + 0.3 * np.sin(23.9 * seconds + b)
        dy = 0.5 * np.sin(13.7 * seconds + c) + 0.3 * np.sin(31.1 * seconds + d)
        return float(dx * self._air.vibration), float(dy * self._air.vibration)

    def _row_gains(self, seconds: float, swing: float) -> Picture:
        rows = np.arange(HEIGHT, dtype=np.float32) / HEIGHT
        phase = 2 * np.pi * (rows * _BANDS - _CREEP_HZ * seconds) + self._sway[4]
        return np.asarray((1 - swing * (0.5 + 0.5 * np.sin(phase)))[:, None, None], dtype=np.float32)

    def _over_the_wire(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if self._air.codec is None:
            return picture
        quality = round(90 - 75 * self._air.codec)
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def _spread(shift: float) -> npt.NDArray[Any]:
    """Return the lens's blur (a deviation of .6 pixels), moved by `shift` pixels."""
    reach = 2 + int(abs(shift) + 0.5)
    at = np.arange(-reach, reach + 1, dtype=np.float32)
    kernel = np.exp(-((at - np.float32(shift)) ** 2) / np.float32(2 * 0.6**2))
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _sensor_curve() -> npt.NDArray[np.uint8]:
    """Return the camera's curve over the square root of light, in `_STEPS` a unit."""
    light = (np.arange(256) / _STEPS) ** 2
    curve = light ** (1 / 2.2)
    headroom = 1 - _KNEE
    toned = np.where(curve < _KNEE, curve, _KNEE + headroom * np.tanh((curve - _KNEE) / (2 * headroom)))
    return np.asarray(np.clip(toned * 255 + 0.5, 0, 255), dtype=np.uint8)
