"""Whether a camera that gives pictures sees anything in them.

Thin on purpose: a picture is ``dark`` when even its brightest part is (a cap on the lens, no light;
a tunnel with one lamp in view is not), and ``frozen`` when it has not changed by a single bit for a
while, as a camera's noise always does. Dirt on the lens and the like are to come.
"""

from __future__ import annotations

import zlib
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_STEP: Final = 8
#: 99 of 100 pixels below this (0..255) is black: video black is 16 with some noise on it.
DARK_BELOW: Final = 20.0
_NS_PER_S: Final = 1_000_000_000


class Sight(str, Enum):
    """What a camera sees; the value stands in events as the reason for blindness."""

    CLEAR = "clear"
    DARK = "dark"
    FROZEN = "frozen"


class CameraHealth:
    """Looks at a camera's frames, one in `every_s` seconds, and names what is wrong with them.

    Args:
        frozen_after_s: identical pictures for this long are frozen; None for a recording, whose
            pictures may well be the same.
        every_s: seconds between two looks.
    """

    def __init__(self, *, frozen_after_s: float | None = 10.0, every_s: float = 1.0) -> None:
        self._frozen_after, self._every = frozen_after_s, every_s
        self._looked_ns: int | None = None
        self._changed_ns = 0
        self._print: int | None = None
        self.sight = Sight.CLEAR
        self.brightness = 0.0

    def look(self, pixels: npt.NDArray[np.uint8], mono_ns: int) -> Sight:
        """Return what is seen in `pixels`, (H, W, 3) uint8 BGR, at `mono_ns`."""
        if self._looked_ns is not None and mono_ns - self._looked_ns < self._every * _NS_PER_S:
            return self.sight
        self._looked_ns = mono_ns
        sample = pixels[::_STEP, ::_STEP]
        self.brightness = float(sample.mean())
        fingerprint = zlib.crc32(sample.tobytes())
        if fingerprint != self._print:
            self._print, self._changed_ns = fingerprint, mono_ns
        still = mono_ns - self._changed_ns
        if float(np.percentile(sample, 99)) < DARK_BELOW:
            self.sight = Sight.DARK
        elif self._frozen_after is not None and still >= self._frozen_after * _NS_PER_S:
            self.sight = Sight.FROZEN
        else:
            self.sight = Sight.CLEAR
        return self.sight
