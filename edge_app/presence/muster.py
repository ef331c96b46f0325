"""The presence stage: from decisions about tracks to what the mine wants to be told.

Every decision becomes a ``sighting``; one that takes back an earlier one says what it takes back. A
``presence`` event says when somebody appears, goes to another zone, comes back after an absence, or was
taken for somebody by mistake. The ledger behind it answers who is in the tunnel (`Muster.snapshot`).

No MQTT and no pictures here. Used by one thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_app.presence.ledger import Ledger, Place
from edge_app.records import CameraState, Decision, Event, PresenceSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_app.presence.ledger import TrackKey
    from edge_app.records import Identity

_NS: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Said:
    """What was last said about a track."""

    decision: Decision
    person_ref: str | None


class Muster:
    """Keeps the ledger of presence of one box.

    Args:
        zones: the zone of every camera.
        away_s: how long somebody must not have been seen to have been away.
        forget_unknown_s: how long a stranger counts after the last sight; short, because the next
            track of the same stranger counts anew.
        forget_person_s: how long a registered person counts after the last sight.
        standing_alarms: ids of alarms that an earlier run raised and did not clear.
    """

    def __init__(
        self,
        *,
        zones: Mapping[str, str],
        away_s: float = 120.0,
        forget_unknown_s: float = 30.0,
        forget_person_s: float = 24 * 3600.0,
        standing_alarms: Iterable[str] = (),
    ) -> None:
        self._zones = dict(zones)
        self._away_ns = int(away_s * _NS)
        self._forget_unknown_ns = int(forget_unknown_s * _NS)
        self._forget_person_ns = int(forget_person_s * _NS)
        self._standing = set(standing_alarms)
        self._ledger = Ledger()
        self._said: dict[TrackKey, _Said] = {}
        self._cameras: dict[str, CameraState] = {}

    def identity(self, identity: Identity) -> tuple[Event, ...]:
        """Take a decision about a track, or its revision; return the events that it makes.

        Raises:
            ValueError: the camera has no zone.
        """
        zone = self._zone(identity.camera)
        key = (identity.camera, identity.track)
        before = self._said.get(key)
        now = _Said(decision=identity.decision, person_ref=identity.person_ref)
        self._said[key] = now
        self._forget(identity.mono_ns)
        events = [_sighting(identity, zone, before if before != now else None)]
        if before != now:
            corrected = self._withdraw(identity, zone, before)
            presence = self._enter(identity, zone, before)
            events += [event for event in (corrected, presence) if event is not None]
        else:
            self._ledger.still_there(identity.person_ref, key, identity.mono_ns)
        if identity.final:
            self._said.pop(key, None)
        return tuple(events)

    def still_there(self, camera: str, track: str, now_ns: int) -> None:
        """Note that a track whose decision stands is seen at `now_ns`."""
        said = self._said.get((camera, track))
        if said is not None and said.decision is not Decision.UNDECIDED:
            self._ledger.still_there(said.person_ref, (camera, track), now_ns)

    def camera(self, state: CameraState, *, now_ns: int) -> tuple[Event, ...]:
        """Take a camera's state; return an event if it went blind or sees again."""
        before = self._cameras.get(state.camera)
        self._cameras[state.camera] = state
        alarm_id = f"camera_blind.{state.camera}"
        was_blind = before is not None and before.blind_since_ns is not None
        if state.blind_since_ns is not None:
            if was_blind:
                return ()
            self._standing.discard(alarm_id)
            alarm = {"id": alarm_id, "state": "active", "since_ns": state.blind_since_ns}
            data: dict[str, Any] = {"reason": state.reason or "unknown", "alarm": alarm}
            return (_event("camera_blind", now_ns, state.camera, state.zone, data),)
        if not was_blind and alarm_id not in self._standing:
            return ()
        self._standing.discard(alarm_id)
        since = now_ns if before is None or before.blind_since_ns is None else before.blind_since_ns
        cleared = {"id": alarm_id, "state": "cleared", "since_ns": since}
        data = {"blind_ms": (now_ns - since) // _NS_PER_MS, "alarm": cleared}
        return (_event("camera_sees", now_ns, state.camera, state.zone, data),)

    def snapshot(self, now_ns: int) -> PresenceSnapshot:
        """Return who was last seen where, as of `now_ns`."""
        self._forget(now_ns)
        return PresenceSnapshot(
            mono_ns=now_ns,
            people=self._ledger.people(),
            unknown=self._ledger.unknown(),
            cameras=tuple(self._cameras[name] for name in sorted(self._cameras)),
        )

    def _withdraw(self, identity: Identity, zone: str, before: _Said | None) -> Event | None:
        """Take back what was said about the track before; return the event if that was a name."""
        key = (identity.camera, identity.track)
        if before is None or before.decision is Decision.UNDECIDED:
            return None
        if before.person_ref is None:
            self._ledger.no_stranger(key)
            return None
        place = self._ledger.withdraw(before.person_ref, key)
        restored = None
        if place is not None:
            restored = {
                "person_ref": before.person_ref,
                "track": place.track,
                "zone": place.zone,
                "camera": place.camera,
                "first_seen_ns": place.first_seen_ns,
                "last_seen_ns": place.last_seen_ns,
                "age_ms": max(0, identity.mono_ns - place.last_seen_ns) // _NS_PER_MS,
            }
        data = {"person_ref": before.person_ref, "change": "corrected", "restored": restored}
        return self._presence(identity, zone, data)

    def _enter(self, identity: Identity, zone: str, said: _Said | None) -> Event | None:
        """Note where the track's person is now; return the event if that is news."""
        place = Place(
            zone=zone,
            camera=identity.camera,
            track=identity.track,
            first_seen_ns=identity.first_seen_ns,
            last_seen_ns=identity.mono_ns,
            score=identity.score,
        )
        if identity.decision is Decision.UNDECIDED:
            return None
        if identity.person_ref is None:
            self._ledger.stranger(place)
            return self._presence(identity, zone, {"change": "entered", "previous": _previous(said)})
        before = self._ledger.claim(identity.person_ref, place)
        change = self._change(before, place)
        if change is None:
            return None
        return self._presence(identity, zone, {"person_ref": identity.person_ref, **change})

    def _change(self, before: Place | None, place: Place) -> dict[str, Any] | None:
        if before is None:
            return {"change": "entered"}
        away_ns = max(0, place.first_seen_ns - before.last_seen_ns)
        away = {"previous_zone": before.zone, "away_ms": away_ns // _NS_PER_MS}
        if before.zone != place.zone:
            return {"change": "moved", **away}
        return {"change": "returned", **away} if away_ns >= self._away_ns else None

    def _presence(self, identity: Identity, zone: str, data: dict[str, Any]) -> Event:
        fields = {"track": identity.track, **data, "headcount": self._ledger.headcount}
        return _event("presence", identity.mono_ns, identity.camera, zone, fields)

    def _forget(self, now_ns: int) -> None:
        self._ledger.forget(
            people_before_ns=now_ns - self._forget_person_ns,
            unknown_before_ns=now_ns - self._forget_unknown_ns,
        )

    def _zone(self, camera: str) -> str:
        if camera not in self._zones:
            msg = f"camera {camera!r:.60} has no zone; there are: {', '.join(sorted(self._zones))}"
            raise ValueError(msg)
        return self._zones[camera]


def _sighting(identity: Identity, zone: str, withdrawn: _Said | None) -> Event:
    data = {
        "track": identity.track,
        "decision": identity.decision.value,
        "person_ref": identity.person_ref,
        "reason": None if identity.reason is None else identity.reason.value,
        "score": _rounded(identity.score),
        "threshold": _rounded(identity.threshold),
        "margin": _rounded(identity.margin),
        "quality": _rounded(identity.quality),
        "votes": identity.votes,
        "revised": identity.revised,
        "final": identity.final,
        "face_px": round(identity.face_px, 1),
        "first_seen_ns": identity.first_seen_ns,
        "gallery_version": identity.gallery_version,
        "previous": _previous(withdrawn),
    }
    return _event("sighting", identity.mono_ns, identity.camera, zone, data)


def _previous(said: _Said | None) -> dict[str, str] | None:
    if said is None:
        return None
    ref = {} if said.person_ref is None else {"person_ref": said.person_ref}
    return {"decision": said.decision.value, **ref}


def _event(kind: str, mono_ns: int, camera: str, zone: str, data: dict[str, Any]) -> Event:
    fields = {name: value for name, value in data.items() if value is not None}
    return Event(kind=kind, mono_ns=mono_ns, camera=camera, zone=zone, data=fields)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
