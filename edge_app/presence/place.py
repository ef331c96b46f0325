"""Where somebody was, from when to when: the value that the ledger of presence is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Camera and track.
TrackKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """A zone as a camera saw it (None: outside of all zones), and how sure the name was.

    Times are monotonic ns; of an earlier run of the clock they may be negative. `since_ns` is when
    the person came into this zone, `inside_ns` when they came in from outside; None takes the first
    sight. `through`: they were seen coming into it through a portal. `perhaps_left_ns` is when somebody
    was seen leaving it whom nobody recognised and who may have been them (`departures`).
    """

    zone: str | None
    camera: str
    track: str
    first_seen_ns: int
    last_seen_ns: int
    score: float | None
    since_ns: int | None = None
    inside_ns: int | None = None
    by_hand: bool = False
    through: bool = False
    perhaps_left_ns: int | None = None

    @property
    def since(self) -> int:
        """When they came into this zone."""
        return self.first_seen_ns if self.since_ns is None else self.since_ns

    @property
    def inside_since(self) -> int:
        """When they came in from outside."""
        return self.since if self.inside_ns is None else self.inside_ns

    def seen_at(self, now_ns: int) -> Place:
        """Return the same place, seen at `now_ns` as well."""
        return replace(self, last_seen_ns=max(self.last_seen_ns, now_ns), perhaps_left_ns=None)

    def after(self, before: Place | None) -> Place:
        """Return this place with the times that it takes over from where the person was before."""
        if before is None or before.zone is None or self.zone is None:
            return self
        same = before.zone == self.zone
        return replace(
            self,
            since_ns=before.since if same else self.since_ns,
            inside_ns=before.inside_since,
            through=self.through or (same and before.through),
        )


def latest(places: Iterable[Place]) -> Place | None:
    """Return the place that was seen last; of several at one moment the last of `places`."""
    found = None
    for place in places:
        if found is None or place.last_seen_ns >= found.last_seen_ns:
            found = place
    return found
