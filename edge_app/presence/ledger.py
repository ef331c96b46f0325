"""Who was last seen where: the claims of tracks to people, which may be withdrawn.

A *claim* says that a track is this person. A person's place is that of the newest claim that stands.
When a track turns out to be somebody else, its claim is withdrawn, and the person is again where the
newest remaining claim says, or nowhere: a mistake must not leave a trace in a muster. Who went out
has a place, too (its zone is None), and is not counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_app.presence.place import Place, latest
from edge_app.presence.strangers import DOUBT_SHARE, Strangers
from edge_app.records import PersonSeen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from edge_app.presence.place import TrackKey
    from edge_app.presence.strangers import Look
    from edge_app.records import Identity

#: Ended claims kept for each person, in case that newer ones are withdrawn.
_KEEP: Final = 4


class Ledger:
    """The claims that stand, by person, and the people whom nobody knows."""

    def __init__(self) -> None:
        self._claims: dict[str, dict[TrackKey, Place]] = {}
        self._looks: dict[str, Look] = {}
        self.strangers = Strangers()
        self._by_hand = 0

    def claim(self, person_ref: str, place: Place, *, look: Look | None = None) -> Place | None:
        """Note that the track of `place` is this person; return where else the person was seen last.

        `look` is what the track looks like, (D,) of unit length; it is held in memory alone.
        """
        if look is not None:
            self._looks[person_ref] = look
        return self._put(person_ref, (place.camera, place.track), place)

    def claim_by_nobody(
        self, identity: Identity, place: Place, *, visible: Callable[[TrackKey], bool]
    ) -> Place | None:
        """Note that the track of `place` is somebody unknown; return where else they were seen last.

        `visible` says whether a track is in the picture now.
        """
        doubt = DOUBT_SHARE * (1.0 - identity.threshold)
        _, before = self.strangers.take(
            (identity.camera, identity.track),
            place,
            template=identity.template,
            same_from=identity.threshold,
            visible=visible,
            maybe_registered=identity.score is not None and identity.score >= identity.threshold - doubt,
        )
        return before

    def set_by_hand(self, person_ref: str, place: Place) -> Place | None:
        """Note where an operator says that this person is; return where the person was seen last."""
        self._by_hand += 1
        return self._put(person_ref, ("", f"{self._by_hand}"), place)

    def withdraw(self, person_ref: str, track: TrackKey) -> Place | None:
        """Take back that `track` is this person; return where the person was seen last in truth."""
        claims = self._claims.get(person_ref, {})
        claims.pop(track, None)
        self._looks.pop(person_ref, None)
        if not claims:
            self._claims.pop(person_ref, None)
        return latest(claims.values())

    def drop(self, person_ref: str) -> None:
        """Forget one person."""
        self._claims.pop(person_ref, None)
        self._looks.pop(person_ref, None)

    def place_of(self, person_ref: str) -> Place | None:
        """Return where the person was seen last, None for somebody who never was."""
        return latest(self._claims.get(person_ref, {}).values())

    def claim_of(self, person_ref: str, track: TrackKey) -> Place | None:
        """Return where `track` was last this person, None if it is not."""
        return self._claims.get(person_ref, {}).get(track)

    def look_of(self, person_ref: str) -> Look | None:
        """Return what the person looked like when they were named last, None if that is not known."""
        return self._looks.get(person_ref)

    def mark_left(self, person_ref: str, at_ns: int) -> None:
        """Mark somebody as perhaps left: they stay in their zone until they are seen anywhere."""
        claims = self._claims.get(person_ref, {})
        newest = latest(claims.values())
        for track, place in claims.items():
            if place is newest:
                claims[track] = replace(place, perhaps_left_ns=at_ns)

    def unmark(self, person_ref: str) -> None:
        """Take the mark away."""
        claims = self._claims.get(person_ref, {})
        for track, place in claims.items():
            claims[track] = replace(place, perhaps_left_ns=None)

    def moved(self, person_ref: str | None, track: TrackKey, zone: str | None, now_ns: int) -> Place | None:
        """Note that a track went into another zone; return where it was before, None if it has no place."""
        places = self._places(person_ref, track)
        before = places.get(track)
        if before is None:
            return None
        inside = before.inside_since if before.zone is not None else now_ns
        places[track] = replace(
            before, zone=zone, since_ns=now_ns, inside_ns=inside, through=zone is not None
        ).seen_at(now_ns)
        return before

    def still_there(self, person_ref: str | None, track: TrackKey, now_ns: int) -> None:
        """Note that a track that is known (or known to be a stranger) is seen at `now_ns`."""
        places = self._places(person_ref, track)
        if track in places:
            places[track] = places[track].seen_at(now_ns)

    def seen_again(self, person_ref: str, track: TrackKey, zone: str | None, now_ns: int) -> Place:
        """Note that `track` is this person still, who was seen elsewhere since; return where it is."""
        claim = self.claim_of(person_ref, track)
        score = None if claim is None else claim.score
        through = claim is not None and claim.through and claim.zone == zone
        self._put(person_ref, track, Place(zone, *track, now_ns, now_ns, score, through=through))
        return self._claims[person_ref][track]

    def whereabouts(self) -> Iterator[tuple[str, Place]]:
        """Yield each registered person's place, those who went out included, by reference."""
        for person_ref, claims in sorted(self._claims.items()):
            place = latest(claims.values())
            if place is not None:
                yield person_ref, place

    def people(self) -> tuple[PersonSeen, ...]:
        """Return where each registered person is, by reference; without those who went out."""
        return tuple(
            seen(ref, place, zone=place.zone) for ref, place in self.whereabouts() if place.zone is not None
        )

    def unknown(self, undecided: Iterable[Place] = ()) -> tuple[PersonSeen, ...]:
        """Return where each stranger is, and the `undecided` who count; without those who went."""
        places = (*(stranger.place for stranger in self.strangers), *undecided)
        rows = (seen(None, place, zone=place.zone) for place in places if place.zone is not None)
        return tuple(sorted(rows, key=lambda one: (one.first_seen_ns, one.camera, one.track)))

    def _put(self, person_ref: str, key: TrackKey, place: Place) -> Place | None:
        claims = self._claims.setdefault(person_ref, {})
        claims.pop(key, None)
        before = latest(claims.values())
        claims[key] = place.after(before)
        for old in sorted(claims, key=lambda k: claims[k].last_seen_ns)[:-_KEEP]:
            del claims[old]
        return before

    def _places(self, person_ref: str | None, track: TrackKey) -> dict[TrackKey, Place]:
        if person_ref is not None:
            return self._claims.get(person_ref, {})
        stranger = self.strangers.of(track)
        return {} if stranger is None else stranger.places


def seen(person_ref: str | None, place: Place, *, zone: str) -> PersonSeen:
    """Return `place` as a row of a muster; what was before this run of the clock is at its beginning."""
    return PersonSeen(
        person_ref=person_ref,
        track=place.track,
        zone=zone,
        camera=place.camera,
        first_seen_ns=place.first_seen_ns,
        last_seen_ns=place.last_seen_ns,
        score=place.score,
        since_ns=place.since,
        perhaps_left_ns=place.perhaps_left_ns,
    )
