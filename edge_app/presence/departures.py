"""Who went out through a portal without being known to be inside: there is one fewer inside, whoever it was.

A face is sometimes named on the way in and not on the way out, or the other way round. Kept apart by names
alone, one person would then be two: the one who came in and is still counted, and the one who went out and
never was. A portal sees every coming and going, so whoever leaves is set off against somebody who is inside:
of these few the most alike. A stranger is then gone. Somebody with a name stays in the muster, marked as
perhaps left, and only the best count and the lower bound have one fewer: in a rescue a person too many is
looked for in vain, one too few is not looked for.

A guess can be wrong, and what is seen later says so. Who is marked and is seen inside has not left: the mark
goes to the next. Who is not marked and is seen outside has left: a guess that was made since they were last
seen inside was about them, and whoever was taken for the leaver counts again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from edge_app.identity.handover import STRANGE
from edge_app.presence.place import latest
from edge_app.presence.strangers import Stranger

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.presence.ledger import Ledger
    from edge_app.presence.place import Place, TrackKey
    from edge_app.presence.strangers import Look

#: Guesses that are remembered, so that they can be taken back.
_KEEP: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Leaver:
    """Somebody who was in `zone`, nobody knows as whom, and left it.

    Attributes:
        zone: which they left.
        key: their camera and track.
        since_ns: when the track began; whoever was seen elsewhere since is somebody else.
        look: what they look like, (D,) of unit length; None if that is not known.
        left: False for somebody who is still inside, by a name that was not known to be.
    """

    zone: str
    key: TrackKey
    since_ns: int
    look: Look | None
    left: bool = True


#: Who left, and for whom they are taken: somebody with a name, or a stranger.
Guess: TypeAlias = tuple[Leaver, str | Stranger]


class Departures:
    """Sets those who leave, and were not known to be inside, off against those who are.

    Args:
        ledger: who is counted where.
        visible: whether a track is in the picture now.
    """

    def __init__(self, ledger: Ledger, *, visible: Callable[[TrackKey], bool]) -> None:
        self._ledger, self._visible = ledger, visible
        self._guesses: deque[Guess] = deque(maxlen=_KEEP)

    def fit(
        self, seen: Leaver, person_ref: str | None, before: Place | None, began: str | None, *, crossed: bool
    ) -> bool:
        """Make the guesses fit to a track of somebody who was at `before`; return whether they left.

        Args:
            seen: the track, and where it began.
            person_ref: who it is, None for a stranger.
            before: where they were seen last, None for nowhere.
            began: the zone in which the track began, None for outside.
            crossed: it has gone through a portal.
        """
        if before is not None and before.zone is not None:
            if before.zone != began:
                self.seen_outside(before, seen.look)
            elif person_ref is not None:
                self.seen_inside(person_ref, before, seen)
        elif began is not None:
            if crossed:
                return self.went_out(seen, named=person_ref is not None)
            if person_ref is not None:
                self.was_unnamed(seen)
        return False

    def went_out(self, leaver: Leaver, *, named: bool) -> bool:
        """Set off somebody who was not known to be inside; return whether anybody was, and that counts.

        Somebody who is `named` was a stranger before. If none is left, another leaver was taken for them, or
        they had another's name. Without a sign of either they were never counted, and nobody is set off.
        """
        if self._set_off(leaver, named=named):
            return True
        return named and (self._was_taken_for(leaver) or self._set_off(leaver, named=False, above=STRANGE))

    def was_unnamed(self, seen: Leaver) -> None:
        """Take somebody who is named inside, and was not known to be there, for a stranger like them."""
        self._set_off(replace(seen, left=False), named=True, above=STRANGE)

    def _was_taken_for(self, leaver: Leaver) -> bool:
        """Look whether the stranger who was taken for an earlier leaver was this one; who was that, then?"""
        earlier = [one for one in self._guesses if one[0].left and one[0].zone == leaver.zone]
        alike = [
            (_likeness(one[1].look, leaver.look), one) for one in earlier if isinstance(one[1], Stranger)
        ]
        best = max(alike, key=lambda rank: rank[0], default=None)
        if best is None or best[0] < STRANGE:
            return False
        guess = best[1]
        self._guesses.remove(guess)
        self._guesses.append((leaver, guess[1]))
        return self._set_off(guess[0], named=False)

    def take_back(self, key: TrackKey) -> None:
        """Undo what the track `key` was set off against: it is somebody else than was said."""
        for guess in [one for one in self._guesses if one[0].key == key]:
            self._undo(guess)

    def was_inside(self, person_ref: str | None, key: TrackKey, place: Place) -> bool:
        """Return whether the person of a track at `place` was known to be inside before the track began."""
        if person_ref is not None:
            known = any(leaver.key == key for leaver, _ in self._guesses)
            return known or place.inside_since < place.first_seen_ns
        stranger = self._ledger.strangers.of(key)
        before = None if stranger is None else stranger.place_before(key)
        return before is not None and before.zone is not None

    def named(self, key: TrackKey, person_ref: str) -> Place | None:
        """Note that the track `key`, a stranger until now, has a name; return where inside they were before.

        The stranger's other tracks were this person, too, and there is nobody left to set off: unless that is
        in doubt, or the person is counted by name beside the stranger.
        """
        stranger, place = self._ledger.strangers.of(key), self._ledger.place_of(person_ref)
        self._ledger.strangers.withdraw(key)
        if stranger is None or stranger.doubtful_joins or (place is not None and place.zone is not None):
            return None
        self._ledger.strangers.drop(stranger)
        return latest(place for place in stranger.places.values() if place.zone is not None)

    def seen_inside(self, person_ref: str, before: Place, seen: Leaver | None = None) -> None:
        """Note that somebody who was at `before` is in that zone: if they are marked, it was another.

        Or they had left, and are the stranger like them (`seen`) who has come in since.
        """
        if before.zone is None or before.perhaps_left_ns is None:
            return
        again = None if seen is None else replace(seen, left=False)
        if again and self._set_off(again, named=True, above=STRANGE, after_ns=before.perhaps_left_ns):
            return
        leaver = Leaver(before.zone, ("", ""), before.perhaps_left_ns, None)
        for guess in [one for one in self._guesses if one[1] == person_ref]:
            self._guesses.remove(guess)
            leaver = guess[0]
        self._ledger.unmark(person_ref)
        self._set_off(leaver, named=False)

    def seen_outside(self, before: Place, look: Look | None) -> None:
        """Note that somebody who was at `before` is out of that zone, and no camera saw them leave it.

        Who was marked is the leaver, as was guessed. Anybody else is the leaver of a guess made since.
        """
        if before.perhaps_left_ns is not None:
            return
        since = [
            guess
            for guess in self._guesses
            if guess[0].left and guess[0].zone == before.zone and guess[0].since_ns > before.last_seen_ns
            if isinstance(guess[1], Stranger) or self._stands(guess, self._ledger.place_of(guess[1]))
        ]
        if since:
            self._undo(max(since, key=lambda one: _likeness(one[0].look, look)))

    def forget_strangers(self, zone: str | None) -> None:
        """Bring no stranger back into `zone`, or anywhere: somebody has counted by hand."""
        for guess in [one for one in self._guesses if zone in (None, one[0].zone)]:
            if isinstance(guess[1], Stranger):
                self._guesses.remove(guess)

    def _set_off(
        self, leaver: Leaver, *, named: bool, above: float = -2.0, after_ns: int | None = None
    ) -> bool:
        """Take somebody inside for the leaver: the most alike, if `above` that; of equals a stranger.

        With `after_ns` strangers who came in then or later.
        """
        strangers = [one for one in self._ledger.strangers if self._stranger_may_be(one, leaver)]
        strangers = [one for one in strangers if after_ns is None or one.place.inside_since >= after_ns]
        people = [] if named else [one for one in self._ledger.whereabouts() if self._may_be(one[1], leaver)]
        look = leaver.look
        ranks: list[tuple[float, int, int, str | Stranger]] = [
            (_likeness(one.look, look), 1, -one.first_seen_ns, one) for one in strangers
        ]
        for ref, place in people:
            ranks.append((_likeness(self._ledger.look_of(ref), look), 0, -place.last_seen_ns, ref))
        best = max(ranks, key=lambda rank: rank[:3], default=None)
        if best is None or best[0] <= above:
            return False
        gone = best[3]
        if isinstance(gone, Stranger):
            self._ledger.strangers.drop(gone)
        else:
            self._ledger.mark_left(gone, leaver.since_ns)
        self._guesses.append((leaver, gone))
        return True

    @staticmethod
    def _stands(guess: Guess, place: Place | None) -> bool:
        """Return whether somebody with a name, who is at `place`, is marked for this guess and no other."""
        return place is not None and place.perhaps_left_ns == guess[0].since_ns

    def _undo(self, guess: Guess) -> None:
        self._guesses.remove(guess)
        if isinstance(guess[1], Stranger):
            self._ledger.strangers.put_back(guess[1])
        else:
            self._ledger.unmark(guess[1])

    def _stranger_may_be(self, one: Stranger, leaver: Leaver) -> bool:
        there = one.place.through and leaver.key not in one.places
        return there and self._may_be(one.place, leaver) and not any(map(self._visible, one.places))

    def _may_be(self, place: Place, leaver: Leaver) -> bool:
        inside = place.zone == leaver.zone and place.perhaps_left_ns is None
        return inside and place.last_seen_ns < leaver.since_ns


def _likeness(one: Look | None, other: Look | None) -> float:
    """Return how alike two people are, -1..1; where one of them was never seen well, as strangers may be."""
    return STRANGE if one is None or other is None else float(one @ other)
