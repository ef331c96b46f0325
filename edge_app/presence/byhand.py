"""What an operator says about the count is done: somebody is put in or taken out, strangers are forgotten.

It stands until a camera says otherwise anew. Whoever is before a camera now, in another zone than the
operator says, has a wrong name: the face is somebody all the same, and counts as unknown until the box
decides again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from edge_app.presence.place import Place
from edge_app.presence.sights import VISIBLE_NS

if TYPE_CHECKING:
    from edge_app.presence.corrections import Correction
    from edge_app.presence.departures import Departures
    from edge_app.presence.ledger import Ledger
    from edge_app.presence.sights import Sights

_log = structlog.get_logger(__name__)


class ByHand:
    """Does corrections.

    Args:
        ledger: who is where.
        departures: who is taken for those who left.
        sights: the tracks in the pictures.
    """

    def __init__(self, *, ledger: Ledger, departures: Departures, sights: Sights) -> None:
        self._ledger, self._departures, self._sights = ledger, departures, sights

    def correct(self, correction: Correction, *, now_ns: int) -> dict[str, Any]:
        """Do what `correction` says, but for a muster; return the fields of its event, without the counts."""
        ref, zone, previous, note = correction.person_ref, correction.zone, None, None
        if ref is not None:
            where = zone if correction.what == "inside" else None
            place = Place(where, "by-hand", "by-hand", now_ns, now_ns, None, by_hand=True)
            before = self._ledger.set_by_hand(ref, place)
            previous = None if before is None else before.zone
            if before is not None and correction.what == "left":
                self._departures.seen_outside(before, self._ledger.look_of(ref))
            elif before is not None and previous == zone:
                self._departures.seen_inside(ref, before)
            note = self._disown(ref, where, now_ns)
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
            "note": note,
        }

    def _disown(self, ref: str, where: str | None, now_ns: int) -> str | None:
        """Take the name from the faces that are elsewhere than `where`; return what to say of it."""
        cameras, look = set(), self._ledger.look_of(ref)
        for key in self._sights.bearers(ref):
            claim = self._ledger.claim_of(ref, key)
            if claim is None or claim.zone == where:
                continue
            if now_ns - claim.last_seen_ns > VISIBLE_NS and not self._sights.is_visible(key):
                continue
            cameras.add(key[0])
            self._sights.disown(key)
            self._ledger.withdraw(ref, key)
            self._departures.take_back(key)
            if claim.zone is not None:
                place = replace(claim, score=None, perhaps_left_ns=None)
                self._ledger.strangers.take(
                    key, place, template=look, same_from=1.0, visible=self._sights.is_visible
                )
        if not cameras:
            return None
        note = f"had that name before {', '.join(sorted(cameras))}: counts as unknown"
        _log.warning("presence_corrected_against_camera", person_ref=ref, note=note)
        return note
