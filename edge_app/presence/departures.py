"""Who went out through a portal without being known to be inside: there is one fewer inside, whoever it was.

A face is sometimes named on the way in and not on the way out, or the other way round. Kept apart by names
alone, one person would then be two: the one who came in and is still counted, and the one who went out and
never was. A portal sees every coming and going, so whoever leaves is set off against somebody who came in
through one: a stranger, the most alike first; or, where only people with a name are inside, against one of
them, nobody knows whom. No name is taken from the muster for that, and the best count stays: in a rescue a
person too many is looked for in vain, one too few is not looked for. The lower bound has one fewer, until
one of them is seen outside.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import numpy.typing as npt

    from edge_app.presence.ledger import Ledger
    from edge_app.presence.place import Place, TrackKey
    from edge_app.presence.strangers import Stranger


class Departures:
    """The departures that are nobody's yet, by zone.

    Args:
        ledger: who is counted where.
        visible: whether a track is in the picture now.
        open_: those of an earlier run.
    """

    def __init__(
        self, ledger: Ledger, *, visible: Callable[[TrackKey], bool], open_: Mapping[str, int] | None = None
    ) -> None:
        self._ledger, self._visible = ledger, visible
        self._open = Counter(open_ or {})

    def went_out(
        self, zone: str, key: TrackKey, *, named: bool, template: npt.NDArray[np.float32] | None = None
    ) -> bool:
        """Set off somebody who left `zone` and was not known to be in it; return whether that counts.

        Args:
            zone: which they left.
            key: their camera and track.
            named: somebody registered; only a stranger can have been them before.
            template: what they look like, of unit length.
        """
        inside = [one for one in self._ledger.strangers if self._may_be(one, zone, key)]
        if inside:
            first = min(inside, key=lambda one: one.first_seen_ns)
            gone = first if template is None else max(inside, key=lambda one: one.likeness(template))
            self._ledger.strangers.drop(gone)
            return True
        if named or self.of(zone) >= self._named_in(zone):
            return False
        self._open[zone] += 1
        return True

    def was_inside(self, person_ref: str | None, key: TrackKey, place: Place) -> bool:
        """Return whether the person of a track at `place` was known to be inside before the track began."""
        if person_ref is not None:
            return place.inside_since < place.first_seen_ns
        stranger = self._ledger.strangers.of(key)
        return stranger is not None and len(stranger.places) > 1

    def seen_outside(self, zone: str) -> None:
        """Note that somebody with a name who was counted in `zone` is outside: a departure is explained."""
        self._open[zone] = max(0, self._open[zone] - 1)

    def forget(self, zone: str | None) -> None:
        """Forget the departures from `zone`, or all: somebody has counted by hand."""
        if zone is None:
            self._open.clear()
        else:
            del self._open[zone]

    def of(self, zone: str) -> int:
        """Return how many went out of `zone` and are still counted; never more than have a name there."""
        return min(self._open[zone], self._named_in(zone)) if self._open[zone] else 0

    def all(self) -> dict[str, int]:
        """Return the number by zone, where there are any."""
        return {zone: number for zone in self._open if (number := self.of(zone))}

    def _may_be(self, one: Stranger, zone: str, key: TrackKey) -> bool:
        place = one.place
        there = place.through and place.zone == zone and key not in one.places
        return there and not any(self._visible(other) for other in one.places)

    def _named_in(self, zone: str) -> int:
        return sum(place.zone == zone for _, place in self._ledger.whereabouts())
