"""Who was last seen where: the claims of tracks to people, which may be withdrawn.

A *claim* says that a track is this person. A person's place is that of the newest claim that stands.
When a track turns out to be somebody else, its claim is withdrawn, and the person is again where the
newest remaining claim says, or nowhere: a mistake must not leave a trace in a muster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edge_app.records import PersonSeen

if TYPE_CHECKING:
    from collections.abc import Iterator

TrackKey = tuple[str, str]

#: Ended claims kept for each person, in case that newer ones are withdrawn.
_KEEP: Final = 4


@dataclass(frozen=True, slots=True)
class Place:
    """A zone as a camera saw it, from when to when (monotonic ns), and how sure the name was."""

    zone: str
    camera: str
    track: str
    first_seen_ns: int
    last_seen_ns: int
    score: float | None


class Ledger:
    """The claims that stand, by person, and the tracks of people whom nobody knows."""

    def __init__(self) -> None:
        self._claims: dict[str, dict[TrackKey, Place]] = {}
        self._unknown: dict[TrackKey, Place] = {}

    def claim(self, person_ref: str, place: Place) -> Place | None:
        """Note that the track of `place` is this person; return where else the person was seen last."""
        claims = self._claims.setdefault(person_ref, {})
        key = (place.camera, place.track)
        claims.pop(key, None)
        before = max(claims.values(), key=lambda claim: claim.last_seen_ns, default=None)
        claims[key] = place
        for old in sorted(claims, key=lambda k: claims[k].last_seen_ns)[:-_KEEP]:
            del claims[old]
        return before

    def withdraw(self, person_ref: str, track: TrackKey) -> Place | None:
        """Take back that `track` is this person; return where the person was seen last in truth."""
        claims = self._claims.get(person_ref, {})
        claims.pop(track, None)
        if not claims:
            self._claims.pop(person_ref, None)
        return max(claims.values(), key=lambda claim: claim.last_seen_ns, default=None)

    def stranger(self, place: Place) -> None:
        """Note a track of somebody whom nobody knows."""
        self._unknown[place.camera, place.track] = place

    def no_stranger(self, track: TrackKey) -> None:
        """Take back that `track` is somebody whom nobody knows."""
        self._unknown.pop(track, None)

    def still_there(self, person_ref: str | None, track: TrackKey, now_ns: int) -> None:
        """Note that a track that is known (or known to be a stranger) is seen at `now_ns`."""
        places = self._unknown if person_ref is None else self._claims.get(person_ref, {})
        if track in places:
            places[track] = replace(places[track], last_seen_ns=max(now_ns, places[track].last_seen_ns))

    def forget(self, *, people_before_ns: int, unknown_before_ns: int) -> None:
        """Drop people and strangers who were not seen since these moments."""
        for person_ref, place in list(self._latest()):
            if place.last_seen_ns < people_before_ns:
                del self._claims[person_ref]
        for track, place in list(self._unknown.items()):
            if place.last_seen_ns < unknown_before_ns:
                del self._unknown[track]

    def people(self) -> tuple[PersonSeen, ...]:
        """Return where each registered person was last seen, by reference."""
        return tuple(_seen(ref, place) for ref, place in sorted(self._latest(), key=lambda item: item[0]))

    def unknown(self) -> tuple[PersonSeen, ...]:
        """Return the strangers, the longest seen first."""
        places = sorted(
            self._unknown.values(), key=lambda place: (place.first_seen_ns, place.camera, place.track)
        )
        return tuple(_seen(None, place) for place in places)

    @property
    def headcount(self) -> int:
        """How many people there are, named and unknown."""
        return len(self._claims) + len(self._unknown)

    def _latest(self) -> Iterator[tuple[str, Place]]:
        for person_ref, claims in self._claims.items():
            yield person_ref, max(claims.values(), key=lambda claim: claim.last_seen_ns)


def _seen(person_ref: str | None, place: Place) -> PersonSeen:
    return PersonSeen(
        person_ref=person_ref,
        track=place.track,
        zone=place.zone,
        camera=place.camera,
        first_seen_ns=place.first_seen_ns,
        last_seen_ns=place.last_seen_ns,
        score=place.score,
    )
