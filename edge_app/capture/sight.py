"""What a camera sees, by name."""

from __future__ import annotations

from enum import Enum


class Sight(str, Enum):
    """What a camera sees; the value stands in events as the reason for blindness."""

    CLEAR = "clear"
    DARK = "dark"
    FROZEN = "frozen"
    COVERED = "covered"
    DIRTY = "dirty"
    BLURRED = "blurred"
    BLINDED = "blinded"
    GLARE = "glare"
    LAMP_OUT = "lamp_out"
    MOVED = "moved"

    @property
    def blind(self) -> bool:
        """Whether nobody could be recognised; with the others the camera still sees something."""
        return self not in (Sight.CLEAR, Sight.GLARE, Sight.LAMP_OUT, Sight.MOVED)

    @property
    def by_comparison(self) -> bool:
        """Whether it is told by what the camera used to see, and cannot be told without."""
        return self in (Sight.COVERED, Sight.DIRTY, Sight.BLURRED, Sight.LAMP_OUT, Sight.MOVED)
