"""Which positioning cards are where: readings of the mine's card system, kept as visits to zones.

A card is in one zone, where it was read last, until it is said to be gone or its last reading is stale. A
visit begins with the first reading there; a card that is read again where it was a moment ago (two readers
overlap) goes on with that visit. Where a visit began is not known for cards that were there before the box
listened: such a visit is never held against anybody.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_app.records import CardReading

_NS: Final = 1_000_000_000
#: A mine has hundreds of cards; a sender that invents them fills no memory.
MAX_CARDS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRules:
    """How cards and faces are compared; seconds. `zones` empty: in every zone that a camera watches.

    Attributes:
        zones: where cards are read.
        face_within_s: how long a card may be in a zone before its owner must have been seen.
        card_within_s: how long a face may be there before its card must have been read.
        apart_s: how far apart in time what came together may be.
        stale_after_s: how long after its last reading a card is there.
        silent_after_s: how long after the last message readings are missing.
    """

    zones: frozenset[str] = frozenset()
    face_within_s: float = 30.0
    card_within_s: float = 30.0
    apart_s: float = 15.0
    stale_after_s: float = 60.0
    silent_after_s: float = 120.0

    def ns(self, name: str) -> int:
        """Return the time called `name` in nanoseconds."""
        return int(getattr(self, name) * _NS)


@dataclass(slots=True)
class Visit:
    """A card in a zone from its first to its last reading; what the comparison finds out is noted in it.

    Attributes:
        sure: whether the first reading is known to be the first.
        met: whether the owner's face was seen in the zone meanwhile.
        excused: whether a camera of the zone was blind meanwhile.
        alone: whether it is told that the owner is not there; what is blind afterwards excuses nothing.
    """

    card: str
    owner: str
    zone: str
    reader: str | None
    since_ns: int
    last_ns: int
    sure: bool = True
    met: bool = False
    excused: bool = False
    alone: bool = False


class Cards:
    """The cards that are present, and when each owner's card was read last in each zone; bounded.

    Args:
        rules: the times.
        now_ns: from when on the box listens.
    """

    def __init__(self, *, rules: CardRules, now_ns: int) -> None:
        self._rules = rules
        self._visits: dict[str, Visit] = {}
        self._before: dict[str, Visit] = {}
        self._read_ns: dict[tuple[str, str], int] = {}
        self._heard_ns = now_ns
        #: Whether a message ever came: before the first one nothing is known of any card.
        self.begun = False
        #: Since when readings are complete; what was before is not known.
        self.listening_ns = now_ns

    def take(self, readings: Iterable[CardReading], *, now_ns: int) -> None:
        """Take one message's readings; none says that the line is alive."""
        if self.silent(now_ns):
            self.listening_ns = now_ns
            self._visits.clear()
        self.begun = True
        self._heard_ns = max(self._heard_ns, now_ns)
        for reading in readings:
            self._read(reading)

    def silent(self, now_ns: int) -> bool:
        """Return whether no message has come for longer than there should be none."""
        return now_ns - self._heard_ns > self._rules.ns("silent_after_s")

    def present(self, now_ns: int) -> list[Visit]:
        """Return the visits of the cards that are there now; stale ones are forgotten."""
        oldest = now_ns - self._rules.ns("stale_after_s")
        for known in (self._visits, self._before):
            for card in [card for card, visit in known.items() if visit.last_ns < oldest]:
                del known[card]
        for key in [key for key, last in self._read_ns.items() if last < oldest]:
            del self._read_ns[key]
        return list(self._visits.values())

    def read_ns(self, person_ref: str, zone: str) -> int | None:
        """Return when a card of this person was read last in `zone`, None if not lately."""
        return self._read_ns.get((person_ref, zone))

    def _read(self, reading: CardReading) -> None:
        known = self._visits.get(reading.card)
        if not reading.gone and len(self._read_ns) < MAX_CARDS:
            self._read_ns[reading.owner, reading.zone] = reading.mono_ns
        if reading.gone:
            if known is not None and known.zone == reading.zone and known.last_ns <= reading.mono_ns:
                del self._visits[reading.card]
            return
        if known is not None and known.zone == reading.zone:
            known.last_ns = max(known.last_ns, reading.mono_ns)
            known.owner, known.reader = reading.owner, reading.reader or known.reader
            return
        if known is not None and reading.mono_ns < known.last_ns:
            return  # an older reading of where it was before
        self._visits[reading.card] = self._begun(reading)
        if known is not None:
            self._before[reading.card] = known
        if len(self._visits) > MAX_CARDS:
            del self._visits[min(self._visits, key=lambda card: self._visits[card].last_ns)]

    def _begun(self, reading: CardReading) -> Visit:
        before = self._before.pop(reading.card, None)
        apart = self._rules.ns("apart_s")
        if before is not None and before.zone == reading.zone and reading.mono_ns - before.last_ns <= apart:
            return replace(before, last_ns=reading.mono_ns)
        sure = reading.mono_ns - self.listening_ns > self._rules.ns("stale_after_s")
        return Visit(
            card=reading.card,
            owner=reading.owner,
            zone=reading.zone,
            reader=reading.reader,
            since_ns=reading.mono_ns,
            last_ns=reading.mono_ns,
            sure=sure,
        )
