"""From which sides somebody is registered: the seven poses of the miner-face set; and which a photo shows.

Left and right are the person's own: who turns to their left looks to the right of the picture. Yaw is a
measurement (`edge_app.faces.pose`): the 34 real development photos at 15 and 45 degrees are all told from
the 29 without a turn, and of the 14 at 45 degrees 11 are estimated at 28 and more, of the 20 at 15 none.
Pitch is a hint, because a smile moves the mouth as much as a nod does: it is measured against the person's
own front photo, and of 19 nods of 15 degrees 11 are told. Before a camera a clear one can be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_app.records import Quality


class View(str, Enum):
    """A side from which somebody should be registered; the value is what people read."""

    FRONT = "front"
    LEFT = "left"
    FAR_LEFT = "far left"
    RIGHT = "right"
    FAR_RIGHT = "far right"
    UP = "up"
    DOWN = "down"


#: Degrees of yaw up to which a face looks straight ahead.
STRAIGHT: Final = 10.0


class Angles(NamedTuple):
    """From how many degrees on a face shows which side; what lies between two shows none.

    `nod` is pitch against the person's front photo: from there on up or down. The others are yaw: from
    `turn` to `half` left or right, from `far` on far left or far right.
    """

    nod: float
    turn: float
    half: float
    far: float


#: What a photo shows that was taken anyhow.
OF_PHOTOS: Final = Angles(nod=4.0, turn=STRAIGHT, half=28.0, far=28.0)


def view_of(yaw: float, pitch: float, *, front_pitch: float = 0.0, angles: Angles = OF_PHOTOS) -> View | None:
    """Return which side a face shows, None between two.

    Args:
        yaw: degrees, > 0 looks to the right of the picture.
        pitch: degrees, > 0 looks down.
        front_pitch: the pitch that this person's front photo is estimated to have.
        angles: where one side ends and the next begins.
    """
    turned = abs(yaw)
    if turned >= angles.far:
        return View.FAR_LEFT if yaw > 0 else View.FAR_RIGHT
    if turned > STRAIGHT:
        between = turned < angles.turn or turned > angles.half
        return None if between else View.LEFT if yaw > 0 else View.RIGHT
    nodded = pitch - front_pitch
    if abs(nodded) < angles.nod:
        return View.FRONT
    return View.DOWN if nodded > 0 else View.UP


def front_pitch(qualities: Iterable[Quality]) -> float:
    """Return the pitch of what is most likely the front photo: the middle one of those without a turn, or 0.

    Of two it is the one that is nearer to 0.
    """
    straight = sorted((one.pitch for one in qualities if abs(one.yaw) <= STRAIGHT), key=float)
    if not straight:
        return 0.0
    middle = straight[(len(straight) - 1) // 2 : len(straight) // 2 + 1]
    return min(middle, key=abs)


def views_of(qualities: Sequence[Quality]) -> list[View | None]:
    """Return which side each of one person's photos shows, None for those between two."""
    front = front_pitch(qualities)
    return [view_of(one.yaw, one.pitch, front_pitch=front) for one in qualities]


@dataclass(frozen=True, slots=True)
class Coverage:
    """From which sides somebody is registered, in the order of `View`."""

    have: tuple[View, ...] = ()

    @property
    def missing(self) -> tuple[View, ...]:
        """The sides that are not."""
        return tuple(view for view in View if view not in self.have)

    @classmethod
    def of(cls, qualities: Sequence[Quality]) -> Coverage:
        """Return what the photos with these qualities show together."""
        seen = set(views_of(qualities))
        return cls(tuple(view for view in View if view in seen))

    def __str__(self) -> str:
        """Return it in one line."""
        have = ", ".join(view.value for view in self.have) or "none"
        if not self.missing:
            return f"views: {have}"
        return f"views: {have}; missing: {', '.join(view.value for view in self.missing)}"
