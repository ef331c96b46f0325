"""The presence stage: from decisions about tracks to what the mine wants to be told.

Every decision becomes a ``sighting``; one that takes back an earlier one says what it takes back. A
``presence`` event says when somebody comes in, goes to another zone or out, comes back after an
absence, or was taken for somebody by mistake. The ledger behind it answers who is in the tunnel
(`Muster.snapshot`); `Muster.tick` sees to what happens by itself: alarms, shifts, forgetting.

No MQTT and no pictures here. Used by one thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from edge_app.presence import changes, events
from edge_app.presence.byhand import ByHand
from edge_app.presence.cameras import CameraStates
from edge_app.presence.count import count
from edge_app.presence.departures import Departures, Leaver
from edge_app.presence.ledger import Ledger
from edge_app.presence.place import Place
from edge_app.presence.portals import doorkeepers, watched_zones
from edge_app.presence.rounds import Rounds
from edge_app.presence.sights import VISIBLE_NS, Sights
from edge_app.presence.store import Kept
from edge_app.presence.twice import Twice
from edge_app.presence.uniqueness import Uniqueness
from edge_app.presence.watch import Watch
from edge_app.records import Decision, Event, PresenceSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge_app.clock import WallTime
    from edge_app.presence.alarms import ZoneRules
    from edge_app.presence.cards import CardRules
    from edge_app.presence.corrections import Correction
    from edge_app.presence.count import Counted
    from edge_app.presence.place import TrackKey
    from edge_app.presence.portals import Crossing, Portal
    from edge_app.presence.shifts import Shifts
    from edge_app.presence.sights import Said
    from edge_app.records import CameraState, CardReading, FrameFaces, HeadCount, Identity

_NS: Final = 1_000_000_000

_log = structlog.get_logger(__name__)


class Muster:
    """Keeps the ledger of presence of one box.

    Args:
        zones: the zone of every camera.
        portals: the portals of cameras that have some.
        rules: what zones allow.
        away_s: how long somebody must not have been seen to have been away.
        forget_unknown_s: how long a stranger counts after the last sight.
        reidentify_s: how long a stranger is remembered, so as not to count anew.
        forget_person_s: how long a registered person counts after the last sight, without what was dark.
        standing_alarms: ids of alarms that an earlier run raised and did not clear.
        shifts: when shifts begin.
        cards: how positioning cards are compared with faces; None: none are read.
        sure_score: from which score on the detector is sure of a face.
        blind_after_s: how long each camera may be without a picture until it is called blind.
        now_ns: when this run began.
        kept: what the ledger's file holds.
    """

    def __init__(
        self,
        *,
        zones: Mapping[str, str],
        portals: Mapping[str, Sequence[Portal]] | None = None,
        rules: Mapping[str, ZoneRules] | None = None,
        away_s: float = 120.0,
        forget_unknown_s: float = 30.0,
        reidentify_s: float = 600.0,
        forget_person_s: float = 24 * 3600.0,
        standing_alarms: Iterable[str] = (),
        shifts: Shifts | None = None,
        cards: CardRules | None = None,
        sure_score: float = 0.5,
        blind_after_s: Mapping[str, float] | None = None,
        now_ns: int = 0,
        kept: Kept | None = None,
    ) -> None:
        self._zones = dict(zones)
        self._doors = doorkeepers(zones, portals)
        self._gated = {
            zone for ways in (portals or {}).values() for way in ways for zone in way.sides if zone
        }
        self._away_ns = int(away_s * _NS)
        self._forget_unknown_ns = int(forget_unknown_s * _NS)
        self._reidentify_ns = max(int(reidentify_s * _NS), self._forget_unknown_ns)
        standing = tuple(standing_alarms)
        blind = () if kept is None else (one for one in kept.blind if zones.get(one.camera) == one.zone)
        self._cameras = CameraStates(standing=standing, blind=blind, blind_after_s=blind_after_s)
        self._sure_score = sure_score
        self._ledger = Ledger()
        watched = watched_zones(zones, portals)
        self._watch = Watch(watched=watched, kept=() if kept is None else kept.dark)
        self._rounds = Rounds(
            ledger=self._ledger,
            watch=self._watch,
            rules=rules or {},
            standing=standing,
            shifts=shifts,
            shift_ns=None if kept is None else kept.shift_ns,
            forget_person_s=forget_person_s,
        )
        self._unique = Uniqueness(
            ledger=self._ledger,
            rules=cards,
            watched=watched,
            standing=standing,
            now_ns=now_ns,
        )
        self._twice = Twice(ledger=self._ledger, standing=standing)
        self._sights = Sights(zone_of=lambda key: self._doors[key[0]].zone_of(key[1]))
        self._departures = Departures(self._ledger, visible=self._sights.is_visible)
        self._by_hand = ByHand(ledger=self._ledger, departures=self._departures, sights=self._sights)
        self._shapes: dict[str, tuple[int, int]] = {}
        #: How often the ledger has changed in more than when somebody was seen.
        self.changes = 0
        for ref, place in () if kept is None else kept.people:
            self._ledger.set_by_hand(ref, place)
        for place in () if kept is None else kept.strangers:
            self._ledger.strangers.restore(place)

    def see(self, faces: FrameFaces) -> tuple[Event, ...]:
        """Take in where the tracks of one frame are; return the events of those that went through a portal.

        Raises:
            ValueError: the camera has no zone.
        """
        frame = faces.frame
        self._zone(frame.camera)
        doors = self._doors[frame.camera]
        shape = (frame.width, frame.height)
        if self._shapes.setdefault(frame.camera, shape) != shape:
            _log.warning("picture_changed", camera=frame.camera, before=self._shapes[frame.camera], now=shape)
            self._shapes[frame.camera] = shape
            doors.picture_changed()
        made: list[Event] = []
        for tracked in faces.faces:
            key, box = (frame.camera, tracked.track), tracked.face.box
            sure = tracked.face.score >= self._sure_score
            sight = self._sights.see(key, frame.mono_ns, sure=sure)
            point = (box.x + box.width / 2) / frame.width, (box.y + box.height / 2) / frame.height
            size = box.width / frame.width
            crossings = doors.see(tracked.track, point, size=size, mono_ns=frame.mono_ns, sure=sure)
            said, first = self._sights.said(key), sight.portal is None
            sight.went_through(crossings)
            if (held := self._sights.released(key)) is not None:
                made += self.identity(held)[1:]  # its sighting has been told
            if said is None or not said.decided:
                continue
            zone = crossings[0].before if crossings else doors.zone_of(tracked.track)
            made += self._seen_again(key, said, zone, frame.mono_ns)
            for crossing in crossings:
                made += self._crossed(key, said, crossing, first=first)
                first = False
        self._sights.now_ns = max(self._sights.now_ns, frame.mono_ns)
        return tuple(made)

    def identity(self, identity: Identity) -> tuple[Event, ...]:
        """Take a decision about a track, or its revision; return the events that it makes.

        Raises:
            ValueError: the camera has no zone.
        """
        zone = self._zone(identity.camera)
        key = (identity.camera, identity.track)
        self._sights.now_ns = max(self._sights.now_ns, identity.mono_ns)
        where = self._doors[identity.camera].zone_of(identity.track)
        before, now = self._sights.say(identity)
        self._unique.said(identity, where)
        self._forget(identity.mono_ns)
        withdrawn = None
        if before is not None and before.told != now.told:
            withdrawn = events.said_before(*before.told)
        made = [events.sighting(identity, where or zone, withdrawn, self._cameras.trouble(identity.camera))]
        if before != now or (identity.final and not now.decided):
            self.changes += 1
            was_unknown = before is not None and before.decision is Decision.UNKNOWN
            ref = identity.person_ref
            known = self._departures.named(key, ref) if was_unknown and ref is not None else None
            made += self._withdraw(identity, before)
            made += self._enter(identity, withdrawn, known=known)
        else:
            made += self._seen_again(key, now, where, identity.mono_ns)
        return tuple(made)

    def still_there(self, camera: str, track: str, now_ns: int) -> tuple[Event, ...]:
        """Note that a track whose decision stands is seen at `now_ns`; return an event if that is news."""
        said, zone = self._sights.said((camera, track)), self._doors[camera].zone_of(track)
        if said is None or not said.decided:
            return ()
        return tuple(self._seen_again((camera, track), said, zone, now_ns))

    def ended(self, camera: str, track: str) -> None:
        """Take note that a track has ended; its last word was said before."""
        self._sights.end((camera, track))
        if camera in self._doors:
            self._doors[camera].end(track)

    def camera_ended(self, camera: str) -> None:
        """Take note that no more pictures of a camera come."""
        for key in self._sights.of_camera(camera):
            self.ended(*key)

    def camera(self, state: CameraState, *, now_ns: int) -> tuple[Event, ...]:
        """Take a camera's state; return an event if it went blind or sees again."""
        made = self._cameras.take(state, now_ns=now_ns)
        self.changes += len(made)
        return made

    def cards(self, readings: Iterable[CardReading], *, now_ns: int) -> None:
        """Take one message's readings of positioning cards; none says that the line is alive."""
        self._unique.take(readings, now_ns=now_ns)

    def tick(self, now_ns: int, wall: WallTime) -> tuple[Event, ...]:
        """See to what happens by itself, about once a second: alarms, shifts, forgetting, cards."""
        self._sights.now_ns = max(self._sights.now_ns, now_ns)
        self._forget(now_ns)
        self._watch.look(now_ns, self._cameras.all())
        made = self._cameras.check(now_ns)
        made += self._rounds.forget(now_ns, self._total)
        made += self._rounds.shift(now_ns, wall, self._total)
        self.changes += len(made)
        blind = [state.camera for state in self._cameras.blind()]
        unique = self._unique.check(now_ns, self._sights.visible(), blind)
        twice = self._twice.check(now_ns, self._sights.visible())
        return (*made, *self._rounds.alarms(now_ns, self._count()), *unique, *twice)

    def shift_has_begun(self) -> bool:
        """Return whether a shift has begun since this was asked last: a muster is due."""
        return self._rounds.shift_has_begun()

    def correct(self, correction: Correction, *, now_ns: int) -> tuple[Event, ...]:
        """Do what an operator says about the count; return the event that tells it."""
        self._sights.now_ns = max(self._sights.now_ns, now_ns)
        if correction.what == "muster":
            return ()
        self.changes += 1
        fields = self._by_hand.correct(correction, now_ns=now_ns)
        data = {**fields, **events.counts(self._total())}
        return (events.event("presence_set", now_ns, camera=None, zone=correction.zone, data=data),)

    def snapshot(self, now_ns: int) -> PresenceSnapshot:
        """Return who was last seen where, as of `now_ns`."""
        self._sights.now_ns = max(self._sights.now_ns, now_ns)
        self._forget(now_ns)
        counted = self._count()
        return PresenceSnapshot(
            mono_ns=now_ns,
            people=self._ledger.people(),
            unknown=self._ledger.unknown(one.place for one in counted.surplus),
            cameras=self._cameras.all(),
            count=counted.total,
            zones=counted.zones,
        )

    def kept(self) -> Kept:
        """Return what the ledger's file is to hold."""
        return Kept(
            people=tuple(self._ledger.whereabouts()),
            strangers=tuple(one.place for one in self._ledger.strangers if one.place.zone is not None),
            shift_ms=self._rounds.shift_ms,
            shift_ns=self._rounds.shift_ns,
            dark=self._watch.kept(),
            blind=self._cameras.blind(),
        )

    def _seen_again(self, key: TrackKey, said: Said, zone: str | None, now_ns: int) -> Iterator[Event]:
        """Note that a track is seen in `zone`; yield the event if its person was elsewhere meanwhile.

        While two tracks are one person, they are where they were named last.
        """
        ref = said.person_ref
        before = None if ref is None else self._ledger.place_of(ref)
        if ref is None or before is None:
            self._ledger.still_there(ref, key, now_ns)
            return
        track = (before.camera, before.track)
        if track == key or (before.zone == zone and self._ledger.claim_of(ref, key) is not None):
            self._ledger.still_there(ref, key, now_ns)
            return
        if self._sights.bears(track, ref) and now_ns - before.last_seen_ns <= VISIBLE_NS:
            return
        place = self._ledger.seen_again(ref, key, zone, now_ns)
        self.changes += 1
        self._departures.seen_outside(before, self._ledger.look_of(ref))
        news = changes.change(before, place, away_ns=self._away_ns)
        if news:
            yield self._presence(key, now_ns, zone or before.zone, {"person_ref": ref, **news})

    def _crossed(self, key: TrackKey, said: Said, crossing: Crossing, *, first: bool) -> Iterator[Event]:
        """Note that a decided track went through a portal, its `first` or another; yield the event."""
        before = self._ledger.moved(said.person_ref, key, crossing.after, crossing.mono_ns)
        if before is None:
            return
        self.changes += 1
        ref = said.person_ref
        look = self._ledger.strangers.look_of(key) if ref is None else self._ledger.look_of(ref)
        known = not first or self._departures.was_inside(ref, key, before)
        if crossing.before is not None and not known:
            leaver = Leaver(crossing.before, key, before.first_seen_ns, look)
            self._departures.went_out(leaver, named=ref is not None)
        data = {
            "person_ref": ref,
            "portal": crossing.portal,
            **changes.way(before, crossing.after, crossing.mono_ns),
        }
        yield self._presence(key, crossing.mono_ns, crossing.after or crossing.before, data)

    def _withdraw(self, identity: Identity, before: Said | None) -> Iterator[Event]:
        """Take back what was said about the track before; yield the event if that was a name."""
        key = (identity.camera, identity.track)
        if before is None or not before.decided:
            return
        self._departures.take_back(key)
        if before.person_ref is None:
            self._ledger.strangers.withdraw(key)
            return
        place = self._ledger.withdraw(before.person_ref, key)
        where = events.restored(before.person_ref, place, identity.mono_ns)
        data = {"person_ref": before.person_ref, "change": "corrected", "restored": where}
        yield self._presence(
            key, identity.mono_ns, self._doors[identity.camera].zone_of(identity.track), data
        )

    def _enter(
        self, identity: Identity, withdrawn: dict[str, str] | None, *, known: Place | None
    ) -> Iterator[Event]:
        """Note where the track's person is now; yield the event if that is news."""
        key = (identity.camera, identity.track)
        zone = self._doors[identity.camera].zone_of(identity.track)
        portal = self._sights.portal_of(key)
        first_ns, now_ns = min(identity.first_seen_ns, identity.mono_ns), identity.mono_ns
        through = portal is not None and zone is not None
        place = Place(
            zone, identity.camera, identity.track, first_ns, now_ns, identity.score, through=through
        ).after(known)
        who: dict[str, Any] = {}
        visible = self._sights.is_visible
        if identity.decision is Decision.UNDECIDED:
            if not (identity.final and portal is not None and self._sights.is_surely_somebody(key)):
                return
            # somebody went in or out: nobody knows who
            before = None if zone is None else self._ledger.claim_by_nobody(identity, place, visible=visible)
        elif identity.person_ref is None:
            if not self._sights.is_somebody(key):
                return
            before = self._ledger.claim_by_nobody(identity, place, visible=visible)
            who = {"previous": withdrawn}
        else:
            before = self._ledger.claim(identity.person_ref, place, look=identity.template)
            who = {"person_ref": identity.person_ref}
        left = None
        if known is None:
            began = self._sights.began_in(key)
            leaver = Leaver(began or "", key, first_ns, identity.template)
            if self._departures.fit(leaver, identity.person_ref, before, began, crossed=portal is not None):
                left = {"change": "left", "previous_zone": began}
        news = changes.change(before, place, away_ns=self._away_ns) or left
        if news:
            where = zone or news.get("previous_zone")
            yield self._presence(key, now_ns, where, {**who, "portal": portal, **news})

    def _presence(self, key: TrackKey, now_ns: int, zone: str | None, data: dict[str, Any]) -> Event:
        fields = {"track": key[1], **data, **events.counts(self._total())}
        return events.event("presence", now_ns, camera=key[0], zone=zone or self._zones[key[0]], data=fields)

    def _count(self) -> Counted:
        visible = tuple(self._sights.visible())
        return count(self._ledger, visible, gated=self._gated, others=self._twice.others(visible))

    def _total(self) -> HeadCount:
        return self._count().total

    def _forget(self, now_ns: int) -> None:
        """Count strangers no more who came through no portal and went: it is not told, it is always so."""
        self._ledger.strangers.gone(now_ns - self._forget_unknown_ns)
        self._ledger.strangers.forget(now_ns - self._reidentify_ns)

    def _zone(self, camera: str) -> str:
        if camera not in self._zones:
            msg = f"camera {camera!r:.60} has no zone; there are: {', '.join(sorted(self._zones))}"
            raise ValueError(msg)
        return self._zones[camera]
