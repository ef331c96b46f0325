"""What stands retained at the broker: the box's state, its alarms, its muster. State, not events.

A retained message says how things are now and may be replaced before anybody saw it; what must not be
lost is an event in the outbox. So these are kept in memory, one payload a topic, newest wins, and are
published again on every connection.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_app.clock import WallTime
    from edge_app.delivery.event import EnvelopeContext
    from edge_app.delivery.options import DeliveryStatus
    from edge_app.records import PersonSeen, PresenceSnapshot

_NS_PER_MS: Final = 1_000_000


class Retained:
    """The payloads to publish, oldest request first."""

    def __init__(self) -> None:
        self._payloads: dict[str, bytes] = {}
        self._waiting: dict[str, None] = {}

    def put(self, topic: str, payload: bytes) -> None:
        """Publish `payload` under `topic` (an empty one removes what stands there), now and always."""
        if payload:
            self._payloads[topic] = payload
        else:
            self._payloads.pop(topic, None)
            self._waiting.pop(topic, None)
        self._waiting[topic] = None

    def all_again(self, first: str) -> None:
        """Publish everything again, `first` before the others: there is another connection."""
        self._waiting = dict.fromkeys((first, *self._payloads, *self._waiting))

    def next(self) -> tuple[str, bytes] | None:
        """Return topic and payload to publish next, None if there is none."""
        if not self._waiting:
            return None
        topic = next(iter(self._waiting))
        return topic, self._payloads.get(topic, b"")

    def sent(self, topic: str) -> None:
        """Take note that the payload of `topic` is on its way."""
        self._waiting.pop(topic, None)

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting


def gone_document(*, context: EnvelopeContext, reason: str) -> bytes:
    """Return the state of a box that is not there: ``lost`` (the last will) or ``stopped`` (a goodbye)."""
    return _encoded(
        {
            "v": 1,
            "site": context.site,
            "node": context.node,
            "boot": context.boot,
            "online": False,
            "reason": reason,
        }
    )


def state_document(
    *,
    context: EnvelopeContext,
    status: DeliveryStatus,
    version: str,
    mono_ns: int,
    wall: WallTime,
    measures: Mapping[str, float],
) -> bytes:
    """Return the state of a box that is there."""
    alarm, presence, sighting, health = status.backlog
    return _encoded(
        {
            "v": 1,
            "site": context.site,
            "node": context.node,
            "boot": context.boot,
            "online": True,
            "mono_ns": mono_ns,
            "wall_ms": wall.ms,
            "wall_quality": wall.quality.value,
            "version": version,
            "backend": context.backend,
            "model_sha": context.model_sha,
            "gallery_version": context.gallery_version,
            "backlog": {"alarm": alarm, "presence": presence, "sighting": sighting, "health": health},
            "uncommitted": status.uncommitted,
            "oldest_age_s": status.oldest_age_s,
            "lost": status.lost,
            "parked": status.parked,
            "silent_consumers": status.silent,
            "measures": dict(measures),
        }
    )


def muster_document(*, context: EnvelopeContext, snapshot: PresenceSnapshot, wall: WallTime) -> bytes:
    """Return the retained muster: the envelope's names and times, and `muster_fields`."""
    head = {
        "v": 1,
        "site": context.site,
        "node": context.node,
        "boot": context.boot,
        "mono_ns": snapshot.mono_ns,
        "wall_ms": wall.ms,
        "wall_quality": wall.quality.value,
    }
    return _encoded({**head, **muster_fields(snapshot)})


def muster_fields(snapshot: PresenceSnapshot) -> dict[str, Any]:
    """Return the fields of a ``muster`` event."""
    return {
        "headcount": snapshot.headcount,
        **_bounds(snapshot),
        "people": [_seen(person, snapshot.mono_ns) for person in snapshot.people],
        "unknown": [_seen(person, snapshot.mono_ns) for person in snapshot.unknown],
        "cameras": [
            _present(
                camera=state.camera,
                zone=state.zone,
                sees=state.blind_since_ns is None,
                blind_since_ns=state.blind_since_ns,
                reason=state.reason,
                impaired=state.impaired,
            )
            for state in snapshot.cameras
        ],
    }


def _bounds(snapshot: PresenceSnapshot) -> dict[str, Any]:
    """Return how sure the headcount is, and the count by zone, where the presence stage has worked it out."""
    if snapshot.count is None:
        return {}
    return {
        "headcount_low": snapshot.count.low,
        "headcount_high": snapshot.count.high,
        "zones": [
            {"zone": zone, "headcount": one.best, "headcount_low": one.low, "headcount_high": one.high}
            for zone, one in snapshot.zones.items()
        ],
    }


def _seen(person: PersonSeen, now_ns: int) -> dict[str, Any]:
    return _present(
        person_ref=person.person_ref,
        track=person.track,
        zone=person.zone,
        camera=person.camera,
        first_seen_ns=max(0, person.first_seen_ns),
        last_seen_ns=max(0, person.last_seen_ns),
        age_ms=max(0, now_ns - person.last_seen_ns) // _NS_PER_MS,
        dwell_ms=None if person.since_ns is None else max(0, now_ns - person.since_ns) // _NS_PER_MS,
        perhaps_left_ms=(
            None if person.perhaps_left_ns is None else max(0, now_ns - person.perhaps_left_ns) // _NS_PER_MS
        ),
        score=None if person.score is None else round(person.score, 4),
    )


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
