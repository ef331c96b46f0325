"""One name before two cameras at once: twins, a look-alike, a wrong name. One of the two is somebody else.

Nobody knows which, so the person stays where they were named last, and the other face counts as one more
person in the upper bound of its zone. It is an alarm, `named_twice`, while it lasts. Cameras of one zone may
look at the same place: there it is no contradiction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from edge_app.presence import events
from edge_app.presence.alarms import Alarms
from edge_app.presence.sights import VISIBLE_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_app.presence.count import Visible
    from edge_app.presence.ledger import Ledger
    from edge_app.records import Event

_NAMED_TWICE: Final = "named_twice"
#: For how long it must last to be an alarm, and be over to end it.
_DELAY_S: Final = 3.0

_log = structlog.get_logger(__name__)


class Twice:
    """Notices who is before two cameras at once.

    Args:
        ledger: who is where.
        standing: ids of alarms that an earlier run raised and did not clear.
    """

    def __init__(self, *, ledger: Ledger, standing: Iterable[str] = ()) -> None:
        self._ledger = ledger
        self._alarms = Alarms(standing=(one for one in standing if one.startswith(f"{_NAMED_TWICE}.")))

    def others(self, visible: Iterable[Visible]) -> list[Visible]:
        """Return the faces whose names are those of people who are seen elsewhere at the same time."""
        return [one for one in visible if self._is_another(one)]

    def check(self, now_ns: int, visible: Iterable[Visible]) -> Iterator[Event]:
        """Yield an event for everybody who is before two cameras at once, or is no more; once a second."""
        found = {one.person_ref: one for one in self.others(visible)}
        ids = {f"{_NAMED_TWICE}.{ref}": one for ref, one in found.items()}
        for alarm_id in sorted({*ids, *self._alarms.active(_NAMED_TWICE)}):
            one = ids.get(alarm_id)
            change = self._alarms.update(alarm_id, holds=one is not None, delay_s=_DELAY_S, now_ns=now_ns)
            if change is None:
                continue
            ref = alarm_id.removeprefix(f"{_NAMED_TWICE}.")
            place, zone, note = self._ledger.place_of(ref), None, None
            if place is not None:
                zone = place.zone
            if place is not None and one is not None:
                zone = zone or one.place.zone
                sights = ((place.camera, place.zone), (one.key[0], one.place.zone))
                note = "before " + " and ".join(
                    f"{camera} ({where or 'outside'})" for camera, where in sights
                )
                _log.warning(_NAMED_TWICE, person_ref=ref, note=note)
            data = {"reason": _NAMED_TWICE, "person_ref": ref, "alarm": change.fields(), "note": note}
            yield events.event("alarm", now_ns, camera=None, zone=zone, data=data)

    def _is_another(self, one: Visible) -> bool:
        """Return whether the person of this face is seen in another zone by another camera meanwhile."""
        place = None if one.person_ref is None else self._ledger.place_of(one.person_ref)
        if place is None or place.zone == one.place.zone or place.camera == one.key[0]:
            return False
        began = max(place.first_seen_ns, one.place.first_seen_ns)
        return min(place.last_seen_ns, one.place.last_seen_ns) - began >= VISIBLE_NS
