"""Does each person carry their own card, and only that one? Cards beside faces, the check that mines ask for.

Four things do not fit together, each an alarm of its own that ends when it does:

- ``card_without_face``: a card came into a zone and its owner's face was not seen there in time; `why` is
  ``no_face``, ``unnamed_face`` (somebody was there whom the box could not name; `note` says why not) or
  ``seen_elsewhere`` (the owner is before another zone's camera).
- ``face_without_card``: somebody was named and their card was not read there in time; `why` is ``no_card``,
  ``card_elsewhere``, or ``other_card`` (a card whose owner was not seen came with them).
- ``several_cards``: one face, several cards. Cards came together, and of all their owners one was seen.
- ``several_faces``: one card, several faces. More faces were in one picture than cards are in the zone.

Nothing is said where it cannot be known: while a camera of the zone is blind, while no readings come, and
about cards and people that were there before the box listened. What was said of a card before stands until
its owner is seen, or it goes. Nothing here changes the count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from edge_app.presence import events
from edge_app.presence.alarms import Alarms
from edge_app.presence.cards import CardRules, Cards
from edge_app.presence.witness import Witness
from edge_app.records import Rejection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_app.presence.cards import Visit
    from edge_app.presence.count import Visible
    from edge_app.presence.ledger import Ledger
    from edge_app.presence.witness import FaceVisit, Group
    from edge_app.records import CardReading, Event, Identity

_REASONS: Final = ("card_without_face", "face_without_card", "several_cards", "several_faces")
_SILENT: Final = "cards_silent"
#: So many names of zones without a camera are logged; a mine's whole system may send hundreds.
_STRANGE_ZONES: Final = 20
_SPELL: Final = "write it as the box's configuration does, or leave such readings out: they are not compared"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Finding:
    """Something that does not fit now."""

    zone: str
    data: Mapping[str, Any]


class Uniqueness:
    """Compares cards with faces.

    Args:
        ledger: who is where.
        rules: None where no readings are taken: alarms of an earlier run are cleared.
        watched: the zones that each camera sees.
        standing: ids of alarms that an earlier run raised and did not clear.
        now_ns: from when on the box listens.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        rules: CardRules | None,
        watched: Mapping[str, frozenset[str]],
        standing: Iterable[str] = (),
        now_ns: int = 0,
    ) -> None:
        self._rules = rules or CardRules()
        self._listens = rules is not None
        self._watched = watched
        zones = frozenset().union(*watched.values())
        self._watched_zones, self._strange = zones, set[str]()
        self._zones = (self._rules.zones & zones) if self._rules.zones else zones
        if self._listens:
            unseen = sorted(self._rules.zones - zones)
            (_log.warning if unseen else _log.info)(
                "cards_compared", zones=sorted(self._zones), without_camera=unseen
            )
        self._cards = Cards(rules=self._rules, now_ns=now_ns)
        keep = max(self._rules.ns(name) for name in ("face_within_s", "card_within_s", "stale_after_s"))
        apart = self._rules.ns("apart_s")
        self._witness = Witness(ledger=ledger, apart_ns=apart, keep_ns=2 * keep + apart)
        known = tuple(f"{reason}." for reason in _REASONS)
        self._where: dict[str, _Finding] = {}
        self._alarms = Alarms(standing=(one for one in standing if one.startswith(known) or one == _SILENT))

    def take(self, readings: Iterable[CardReading], *, now_ns: int) -> None:
        """Take one message of the positioning system; a zone that no camera watches is logged once."""
        readings = tuple(readings)
        for zone in {one.zone for one in readings} - self._watched_zones - self._strange:
            if len(self._strange) < _STRANGE_ZONES:
                self._strange.add(zone)
                known = sorted(self._watched_zones)
                _log.warning("card_zone_without_camera", zone=zone, watched=known, fix=_SPELL)
        self._cards.take(readings, now_ns=now_ns)

    def said(self, identity: Identity, zone: str | None) -> None:
        """Take what is said about a track in `zone`."""
        if self._listens:
            self._witness.said(identity, zone)

    def check(self, now_ns: int, visible: Iterable[Visible], blind: Iterable[str]) -> Iterator[Event]:
        """Yield an event for everything that does not fit any more, or does again; about once a second."""
        silent = self._listens and self._cards.silent(now_ns)
        yield from self._say_silent(now_ns, silent=silent)
        found: dict[str, _Finding] = {}
        if self._listens:
            visits = [visit for visit in self._cards.present(now_ns) if visit.zone in self._zones]
            self._witness.look(now_ns, visible)
            dark = {zone for camera in blind for zone in self._watched.get(camera, ())}
            self._note(visits, dark)
            if silent or not self._cards.begun:
                return  # what stands, stands: nobody knows
            found = {**self._cards_alone(now_ns, visits, dark), **self._faces_alone(now_ns, visits, dark)}
        for alarm_id in sorted({*found, *(a for r in _REASONS for a in self._alarms.active(f"{r}."))}):
            finding = found.get(alarm_id)
            change = self._alarms.update(alarm_id, holds=finding is not None, delay_s=0.0, now_ns=now_ns)
            if change is None:
                continue
            told = finding or self._where.pop(alarm_id, None) or self._of_earlier_run(alarm_id)
            if finding is not None:
                self._where[alarm_id] = finding
            data = {"reason": alarm_id.split(".", 1)[0], "alarm": change.fields(), **told.data}
            yield events.event("card_check", now_ns, camera=None, zone=told.zone, data=data)

    def _say_silent(self, now_ns: int, *, silent: bool) -> Iterator[Event]:
        change = self._alarms.update(_SILENT, holds=silent, delay_s=0.0, now_ns=now_ns)
        if change is not None:
            data = {"reason": _SILENT, "alarm": change.fields()}
            yield events.event("alarm", now_ns, camera=None, zone=None, data=data)

    def _of_earlier_run(self, alarm_id: str) -> _Finding:
        """Return what can still be said about an alarm that was raised before the box restarted."""
        about = alarm_id.split(".", 1)[1].removeprefix("unknown.")
        return _Finding(about if about in self._zones else min(self._zones, default="unknown"), {})

    def _note(self, visits: list[Visit], dark: set[str]) -> None:
        """Note whose face was seen beside their card, whose card beside their face, and a group's cards."""
        before = max(self._rules.ns("apart_s"), self._rules.ns("card_within_s"))
        stale = self._rules.ns("stale_after_s")
        for visit in visits:
            face = self._witness.face_of(visit.owner)
            if face is None or face.zone != visit.zone:
                visit.excused = visit.excused or (visit.zone in dark and not visit.alone)
                continue
            visit.met = visit.met or face.last_ns >= visit.since_ns - before
        for face in self._witness.faces():
            read_ns = self._cards.read_ns(face.person_ref, face.zone)
            face.met = face.met or (read_ns is not None and read_ns >= face.since_ns - stale)
        for group in self._witness.groups():
            group.cards |= {
                one.card for one in visits if one.zone == group.zone and one.last_ns >= group.since_ns - stale
            }

    # -- cards whose owners are not seen ------------------------------------------------------------

    def _cards_alone(self, now_ns: int, visits: list[Visit], dark: set[str]) -> dict[str, _Finding]:
        found: dict[str, _Finding] = {}
        for visit in visits:
            if visit.zone in dark and not visit.alone:
                continue
            alone = self._alone(now_ns, visit)
            visit.alone = alone is not None
            if alone is None:
                continue
            who = {"person_ref": visit.owner, "card": visit.card}
            carriers = self._carriers(visit, visits) if alone["why"] == Rejection.NO_FACE.value else []
            if len(carriers) == 1:
                self._add_card(found, carriers[0], visit)
                continue
            beside = sorted(other.card for other in carriers) or None
            data = {**who, **alone, "cards": beside}
            found[f"card_without_face.{visit.card}"] = _Finding(visit.zone, data)
        return found

    def _alone(self, now_ns: int, visit: Visit) -> dict[str, Any] | None:
        """Return what was seen instead of the owner of this card; None if all is well, or not yet known."""
        apart = self._rules.ns("apart_s")
        face = self._witness.face_of(visit.owner)
        if face is not None and face.zone != visit.zone:
            both = face.since_ns + apart < visit.last_ns <= face.last_ns + apart
            if both and not visit.excused:
                return {"why": "seen_elsewhere"}
        late = now_ns >= visit.since_ns + self._rules.ns("face_within_s")
        if visit.met or visit.excused or not visit.sure or not late:
            return None
        reason = self._witness.unnamed(visit.zone, visit.since_ns - apart)
        return {"why": Rejection.NO_FACE.value} if reason is None else {"why": "unnamed_face", "note": reason}

    def _carriers(self, visit: Visit, visits: list[Visit]) -> list[Visit]:
        """Return the cards that came together with this one and whose owners were seen."""
        apart = self._rules.ns("apart_s")
        return [
            other
            for other in visits
            if other.met
            and other.zone == visit.zone
            and other.owner != visit.owner
            and abs(other.since_ns - visit.since_ns) <= apart
            and (None in (other.reader, visit.reader) or other.reader == visit.reader)
        ]

    @staticmethod
    def _add_card(found: dict[str, _Finding], carrier: Visit, visit: Visit) -> None:
        alarm_id = f"several_cards.{carrier.owner}"
        known = found.get(alarm_id)
        cards = {carrier.card, visit.card, *(() if known is None else known.data["cards"])}
        data = {"person_ref": carrier.owner, "cards": sorted(cards)}
        found[alarm_id] = _Finding(visit.zone, data)

    # -- faces whose cards are not read -------------------------------------------------------------

    def _faces_alone(self, now_ns: int, visits: list[Visit], dark: set[str]) -> dict[str, _Finding]:
        found: dict[str, _Finding] = {}
        within = self._rules.ns("card_within_s")
        for face in self._witness.faces():
            known = face.zone in self._zones and face.since_ns >= self._cards.listening_ns
            if known and not face.met and now_ns >= face.since_ns + within:
                data = {"person_ref": face.person_ref, **self._instead(face, visits)}
                found[f"face_without_card.{face.person_ref}"] = _Finding(face.zone, data)
        for group in self._witness.groups():
            known = group.zone in self._zones - dark and group.since_ns >= self._cards.listening_ns
            if known and now_ns >= group.since_ns + within:
                found.update(self._group(group))
        return found

    def _instead(self, face: FaceVisit, visits: list[Visit]) -> dict[str, Any]:
        """Return which cards were read instead of the card of this face."""
        own = [visit.card for visit in visits if visit.owner == face.person_ref]
        if own:
            return {"why": "card_elsewhere", "cards": sorted(own)}
        apart = self._rules.ns("apart_s")
        others = [
            visit.card
            for visit in visits
            if visit.zone == face.zone and not visit.met and abs(visit.since_ns - face.since_ns) <= apart
        ]
        return {"why": "other_card", "cards": sorted(others)} if others else {"why": "no_card"}

    @staticmethod
    def _group(group: Group) -> dict[str, _Finding]:
        """Return whether more faces were at once in one picture than cards were read there."""
        if group.faces <= len(group.cards):
            return {}
        if not group.cards:
            if group.named:
                return {}  # each of them is told by name
            data: dict[str, Any] = {"why": "no_card", "faces": group.faces}
            return {f"face_without_card.unknown.{group.zone}": _Finding(group.zone, data)}
        data = {"faces": group.faces, "cards": sorted(group.cards)}
        return {f"several_faces.{group.zone}": _Finding(group.zone, data)}
