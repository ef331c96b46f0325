"""From which sides somebody is registered: front, left, right, up, down; and which side a photo shows.

Left and right are the person's own: who turns to their left looks to the right of the picture. Yaw is a
measurement (`edge_app.faces.pose`): the 34 real development photos at 15 and 45 degrees are all told from the
29 without a turn. Pitch is a hint, because a smile moves the mouth as much as a nod does: it is measured
against the person's own front photo, and of 19 nods of 15 degrees 11 are told. Before a camera a clear one
can be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_app.records import Quality


class View(str, Enum):
    """A side from which somebody should be registered; the value is what people read."""

    FRONT = "front"
    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"


#: Degrees of yaw up to which a face looks straight ahead.
STRAIGHT: Final = 10.0
#: Degrees of pitch, against the person's front photo, from which on a photo shows a nod.
NOD: Final = 4.0


def view_of(
    yaw: float, pitch: float, *, front_pitch: float = 0.0, nod: float = NOD, turn: float = STRAIGHT
) -> View | None:
    """Return which side a face shows, None between two.

    Args:
        yaw: degrees, > 0 looks to the right of the picture.
        pitch: degrees, > 0 looks down.
        front_pitch: the pitch that this person's front photo is estimated to have.
        nod: from how many degrees on it is up or down.
        turn: from how many degrees on it is left or right.
    """
    if abs(yaw) > STRAIGHT:
        return None if abs(yaw) < turn else View.LEFT if yaw > 0 else View.RIGHT
    nodded = pitch - front_pitch
    if abs(nodded) < nod:
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
