"""How a tunnel is lit: LED lamps in the roof or at the camera, their colour, their flicker, their glare.

A lamp is x, y, z in metres (right, down, along the tunnel, from the camera) and a power in the scene's own
unit: one metre before a lamp of power 1, a white surface is at .62 of the sensor's range before `gain`.
`gain` is what the camera's exposure makes of it. The figures are chosen so that a clean face two metres
away has a mean grey of about 110 (cone), 105 (row), 60 (between the lamps of gaps) of 255, which is
what cameras in lit and in badly lit drifts deliver; it is not photometry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Lamp = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Light:
    """One layout.

    `roof` are visible lamps, `beside` lights without being in the picture. `tint` is blue, green, red.
    `flicker` is the share by which the lamps' light swings with the mains (100 Hz): the camera's rolling
    shutter turns it into bands that creep over the picture. `glare` is a lamp that looks into the lens:
    left and top as shares of the picture, and how bright.
    """

    roof: tuple[Lamp, ...]
    beside: tuple[Lamp, ...] = ()
    tint: tuple[float, float, float] = (1.06, 1.0, 0.93)
    flicker: float = 0.0
    glare: tuple[float, float, float] | None = None
    gain: float = 1.0
    ambient: float = 0.002

    @property
    def lamps(self) -> tuple[Lamp, ...]:
        """All lamps that light the scene."""
        return self.roof + self.beside


_ROW: Final = tuple((-0.75, -1.95, 1.6 + 2.8 * number, 2.0) for number in range(7))
_ABOVE: Final = ((0.3, -1.3, 0.0, 2.8),)

LAYOUTS: Final[dict[str, Light]] = {
    # The demo's: lamps at odd distances, and the camera's own just above it.
    "demo": Light(
        roof=(
            (-0.9, -1.9, 4.2, 2.6),
            (0.75, -1.62, 9.5, 3.6),
            (-0.9, -1.95, 16.0, 3.6),
            (0.9, -1.95, 24.0, 4.0),
        ),
        beside=((0.35, -0.5, 0.0, 3.6),),
    ),
    # One strong lamp at the camera: a cone that falls off into the dark.
    "cone": Light(roof=((-0.9, -1.95, 14.0, 3.0),), beside=((-0.4, -0.6, 0.0, 4.2),)),
    # A row in the roof, evenly spaced; light from above, and from those nearer than the face.
    "row": Light(roof=_ROW, beside=_ABOVE),
    # The same on a bad driver.
    "flicker": Light(roof=_ROW, beside=_ABOVE, flicker=0.35),
    # A lamp beside the way looks into the lens and veils the picture.
    "glare": Light(
        roof=((0.9, -1.7, 9.0, 3.4), (-0.9, -1.95, 17.0, 3.4)),
        beside=((0.35, -0.5, 0.0, 3.2),),
        glare=(0.84, 0.2, 1.3),
    ),
    # Sodium-coloured lamps, white balance lost.
    "cast": Light(roof=_ROW, beside=_ABOVE, tint=(0.62, 0.97, 1.16)),
    # Lamps far apart and a weak one at the camera: people walk through the dark between them.
    "gaps": Light(
        roof=((0.8, -1.9, 1.6, 1.7), (-0.8, -1.9, 8.5, 3.4), (0.8, -1.9, 16.0, 3.4)),
        beside=((0.35, -0.5, 0.0, 0.55),),
        gain=1.1,
    ),
}
