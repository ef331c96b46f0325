"""What an operator says about the count is done: somebody is put in or taken out, strangers are forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_app.presence.place import Place

if TYPE_CHECKING:
    from edge_app.presence.corrections import Correction
    from edge_app.presence.departures import Departures
    from edge_app.presence.ledger import Ledger


class ByHand:
    """Does corrections.

    Args:
        ledger: who is where.
        departures: who is taken for those who left.
    """

    def __init__(self, *, ledger: Ledger, departures: Departures) -> None:
        self._ledger, self._departures = ledger, departures

    def correct(self, correction: Correction, *, now_ns: int) -> dict[str, Any]:
        """Do what `correction` says, but for a muster; return the fields of its event, without the counts."""
        ref, zone, previous = correction.person_ref, correction.zone, None
        if ref is not None:
            where = zone if correction.what == "inside" else None
            place = Place(where, "by-hand", "by-hand", now_ns, now_ns, None, by_hand=True)
            before = self._ledger.set_by_hand(ref, place)
            previous = None if before is None else before.zone
            if before is not None and correction.what == "left":
                self._departures.seen_outside(before, self._ledger.look_of(ref))
            elif before is not None and previous == zone:
                self._departures.seen_inside(ref, before)
        else:
            for stranger in list(self._ledger.strangers):
                if zone in (None, stranger.place.zone):
                    self._ledger.strangers.drop(stranger)
            self._departures.forget_strangers(zone)
        change = {"inside": "set", "left": "left", "forget_strangers": "forgotten"}[correction.what]
        return {
            "person_ref": ref,
            "change": change,
            "reason": "by_hand",
            "by": correction.by,
            "previous_zone": previous,
        }
