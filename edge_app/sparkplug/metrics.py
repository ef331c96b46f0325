"""Which metrics the node and its cameras have, and what they read from events, musters and the outbox.

The two tables are all that is ever reported: a birth certificate lists them whole. `Picture` turns
what the box says into changes of them, each with the moment (monotonic) at which it was so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge_app.sparkplug.codec import DataType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_app.clock import WallQuality
    from edge_app.delivery.event import EnvelopeContext
    from edge_app.delivery.options import DeliveryStatus
    from edge_app.records import Event, PresenceSnapshot
    from edge_app.sparkplug.codec import Value

BDSEQ: Final = "bdSeq"
REBIRTH: Final = "Node Control/Rebirth"
DEVICE_REBIRTH: Final = "Device Control/Rebirth"

#: Name, type, meaning. `bdSeq` and the rebirth switches are the specification's.
NODE_METRICS: Final = (
    (BDSEQ, DataType.INT64, "number of this connection, 0 to 255"),
    (REBIRTH, DataType.BOOLEAN, "write true: all birth certificates are sent again"),
    ("Properties/Software", DataType.STRING, "dsr-edge and its version"),
    ("Presence/Headcount", DataType.INT64, "people the box counts, without those who have perhaps left"),
    ("Presence/Headcount Low", DataType.INT64, "at least so many; null until it is worked out"),
    ("Presence/Headcount High", DataType.INT64, "at most so many"),
    ("Presence/Named", DataType.INT64, "registered people in the muster, with those who have perhaps left"),
    ("Presence/Unknown", DataType.INT64, "people in the muster whom nobody registered"),
    ("Presence/People", DataType.STRING, "references of the registered people, sorted, by commas"),
    ("Presence/Perhaps Left", DataType.STRING, "those of them who may have gone out unrecognised"),
    ("Alarms/Count", DataType.INT64, "alarms that stand"),
    ("Alarms/Standing", DataType.STRING, "their ids, sorted, by commas"),
    ("Delivery/Connected", DataType.BOOLEAN, "whether the lossless plane has its broker"),
    ("Delivery/Backlog", DataType.INT64, "events committed and not yet delivered"),
    ("Delivery/Oldest Age", DataType.INT64, "age of the oldest of them, seconds; null without any"),
    ("Delivery/Lost", DataType.INT64, "events evicted and reported as a gap since the start"),
    ("Delivery/Parked", DataType.INT64, "events that the broker would not have"),
    ("Health/Temperature", DataType.DOUBLE, "hottest sensor, degrees Celsius; null where there is none"),
    ("Health/Disk Free", DataType.INT64, "room on the disk of the outbox, MB"),
    ("Health/Memory", DataType.INT64, "memory of the box's software, MB"),
    ("Commands/Done", DataType.INT64, "signed commands obeyed since the start; null without a key"),
    ("Commands/Refused", DataType.INT64, "commands refused since the start, those of strangers as well"),
    ("Clock/Quality", DataType.STRING, "sync, holdover or none; with none, timestamps count from the boot"),
    ("Engine/Backend", DataType.STRING, "what runs the recogniser"),
    ("Engine/Model", DataType.STRING, "SHA-256 of its model"),
    ("Gallery/Version", DataType.INT64, "version of the register of people"),
    ("Sparkplug/History Dropped", DataType.INT64, "changes forgotten because too many waited for a host"),
)
DEVICE_METRICS: Final = (
    (DEVICE_REBIRTH, DataType.BOOLEAN, "write true: this camera's birth certificate is sent again"),
    ("Zone", DataType.STRING, "the zone that it watches"),
    ("Sees", DataType.BOOLEAN, "whether it gives usable pictures; null until it is known"),
    ("Impaired", DataType.STRING, "what is wrong although it sees: lamp_out, moved, glare; null if nothing"),
    ("Blind Since", DataType.DATETIME, "since when it does not; null while it does"),
    ("Blind Reason", DataType.STRING, "why it does not; null while it does"),
    ("Presence/Count", DataType.INT64, "people last seen by this camera"),
    ("Sighting/Count", DataType.INT64, "sightings since the start of the box's software"),
    ("Sighting/Decision", DataType.STRING, "named, unknown or undecided, of the last sighting"),
    ("Sighting/Person", DataType.STRING, "the person's reference; null if nobody was named"),
    ("Sighting/Zone", DataType.STRING, "where"),
    ("Sighting/Score", DataType.DOUBLE, "similarity, -1 to 1; null if nothing was compared"),
    ("Sighting/Reason", DataType.STRING, "why nobody was named; null if somebody was"),
    ("Sighting/Quality", DataType.DOUBLE, "how usable the views were, 0 to 1"),
    ("Sighting/Track", DataType.STRING, "the track that was judged"),
)

#: What drifts all the time is told again when it has changed by this share of what was told last; the birth
#: certificates have it exactly.
DEADBANDS: Final = {
    "Delivery/Backlog": 0.1,
    "Delivery/Oldest Age": 0.1,
    "Health/Temperature": 0.02,
    "Health/Disk Free": 0.02,
    "Health/Memory": 0.02,
}

#: A camera that is blind for one of these reasons is still connected; for any other it is lost.
_STILL_THERE: Final = frozenset({"dark", "frozen"})


@dataclass(frozen=True, slots=True)
class Change:
    """Values of the node's metrics (`device` None) or a camera's, as of `mono_ns`.

    A DateTime's value is a monotonic moment as well. `alive` says that the camera is there (True), is
    lost (False), or nothing about that (None).
    """

    device: str | None
    mono_ns: int
    values: Mapping[str, Value]
    alive: bool | None = None


@dataclass(slots=True)
class Picture:
    """What must be remembered to turn events into changes: the alarms that stand, the sightings so far."""

    alarms: set[str] = field(default_factory=set)
    sightings: dict[str, int] = field(default_factory=dict)

    def of_event(self, event: Event) -> tuple[Change, ...]:
        """Return what an event changes; a commissioning test changes nothing."""
        if event.test:
            return ()
        changes: list[Change] = []
        if event.camera is not None and event.kind == "sighting":
            changes.append(self._sighting(event, event.camera))
        if event.camera is not None and event.kind in ("camera_blind", "camera_sees"):
            since, reason = None, None
            if event.kind == "camera_blind":
                reason, since = str(event.data["reason"]), _alarm(event).get("since_ns", event.mono_ns)
            changes.append(camera_change(event.camera, event.mono_ns, since=since, reason=reason))
        if event.kind == "presence":
            headcount = event.data.get("headcount")
            changes.append(Change(None, event.mono_ns, {"Presence/Headcount": _whole(headcount)}))
        if alarm := _alarm(event):
            change = self.alarms.add if alarm.get("state") == "active" else self.alarms.discard
            change(str(alarm.get("id")))
            changes.append(self.of_alarms(event.mono_ns))
        return tuple(changes)

    def of_alarms(self, mono_ns: int) -> Change:
        """Return the alarms that stand."""
        standing = ",".join(sorted(self.alarms))
        return Change(None, mono_ns, {"Alarms/Count": len(self.alarms), "Alarms/Standing": standing})

    def _sighting(self, event: Event, camera: str) -> Change:
        count = self.sightings[camera] = self.sightings.get(camera, 0) + 1
        data: Mapping[str, Any] = event.data
        named = data.get("decision") == "named"
        values: dict[str, Value] = {
            "Sighting/Count": count,
            "Sighting/Decision": str(data["decision"]),
            "Sighting/Person": data.get("person_ref") if named else None,
            "Sighting/Zone": event.zone,
            "Sighting/Score": _number(data.get("score")),
            "Sighting/Reason": data.get("reason"),
            "Sighting/Quality": _number(data.get("quality")),
            "Sighting/Track": data.get("track"),
        }
        return Change(camera, event.mono_ns, values)


def camera_change(camera: str, mono_ns: int, *, since: int | None, reason: str | None) -> Change:
    """Return a camera's state: blind `since` (monotonic) for `reason`, or seeing (both None)."""
    sees = since is None
    values: dict[str, Value] = {"Sees": sees, "Blind Since": since, "Blind Reason": reason}
    return Change(camera, mono_ns, values, alive=sees or reason in _STILL_THERE)


def of_muster(snapshot: PresenceSnapshot, cameras: Iterable[str]) -> tuple[Change, ...]:
    """Return what a muster says: the headcount of the box, and of every camera with its state."""
    people = sorted((one.person_ref, one.perhaps_left_ns) for one in snapshot.people if one.person_ref)
    now = snapshot.mono_ns
    values: dict[str, Value] = {
        "Presence/Headcount": snapshot.headcount,
        "Presence/Headcount Low": None if snapshot.count is None else snapshot.count.low,
        "Presence/Headcount High": None if snapshot.count is None else snapshot.count.high,
        "Presence/Named": len(snapshot.people),
        "Presence/Unknown": len(snapshot.unknown),
        "Presence/People": ",".join(ref for ref, _ in people),
        "Presence/Perhaps Left": ",".join(ref for ref, left_ns in people if left_ns is not None),
    }
    seen = [person.camera for person in (*snapshot.people, *snapshot.unknown)]
    counts = tuple(Change(name, now, {"Presence/Count": seen.count(name)}) for name in cameras)
    states = tuple(
        camera_change(state.camera, now, since=state.blind_since_ns, reason=state.reason)
        for state in snapshot.cameras
    )
    impaired = tuple(Change(one.camera, now, {"Impaired": one.impaired}) for one in snapshot.cameras)
    return (Change(None, now, values), *counts, *states, *impaired)


def of_box(
    *,
    mono_ns: int,
    status: DeliveryStatus,
    quality: WallQuality,
    context: EnvelopeContext,
    measures: Mapping[str, float],
) -> tuple[Change, ...]:
    """Return what delivery, the clock and the recogniser say about the box."""
    age = status.oldest_age_s
    values: dict[str, Value] = {
        "Delivery/Connected": status.connected,
        "Delivery/Backlog": status.waiting,
        "Delivery/Oldest Age": None if age is None or not status.waiting else int(age),
        "Delivery/Lost": status.lost,
        "Delivery/Parked": status.parked,
        "Health/Temperature": _number(measures.get("cpu_c")),
        "Health/Disk Free": _whole(measures.get("disk_free_mb")),
        "Health/Memory": _whole(measures.get("memory_mb")),
        "Commands/Done": _whole(measures.get("commands_done")),
        "Commands/Refused": _whole(measures.get("commands_refused")),
        "Clock/Quality": quality.value,
        "Engine/Backend": context.backend,
        "Engine/Model": context.model_sha,
        "Gallery/Version": context.gallery_version,
    }
    return (Change(None, mono_ns, values),)


def _alarm(event: Event) -> Mapping[str, Any]:
    alarm = event.data.get("alarm")
    return alarm if isinstance(alarm, dict) else {}


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
