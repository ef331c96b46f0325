"""How what happens to people becomes events: only what applies is said, numbers are rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_app.records import Event

if TYPE_CHECKING:
    from edge_app.presence.place import Place
    from edge_app.records import Decision, HeadCount, Identity

_NS_PER_MS: Final = 1_000_000


def event(kind: str, mono_ns: int, *, camera: str | None, zone: str | None, data: dict[str, Any]) -> Event:
    """Return an event without the fields that are None."""
    fields = {name: value for name, value in data.items() if value is not None}
    return Event(kind=kind, mono_ns=max(0, mono_ns), camera=camera, zone=zone, data=fields)


def sighting(
    identity: Identity, zone: str, withdrawn: dict[str, str] | None, trouble: str | None = None
) -> Event:
    """Return what the box says about a track.

    Args:
        identity: the decision.
        zone: where the track is.
        withdrawn: what was said before and is taken back.
        trouble: what is wrong with the camera; said where nobody is named.
    """
    data = {
        "track": identity.track,
        "decision": identity.decision.value,
        "person_ref": identity.person_ref,
        "reason": None if identity.reason is None else identity.reason.value,
        "trouble": None if identity.person_ref is not None else trouble,
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
        "previous": withdrawn,
    }
    return event("sighting", identity.mono_ns, camera=identity.camera, zone=zone, data=data)


def said_before(decision: Decision, person_ref: str | None) -> dict[str, str]:
    """Return what was said about a track, as it stands under ``previous``."""
    return {"decision": decision.value, **({} if person_ref is None else {"person_ref": person_ref})}


def restored(person_ref: str, place: Place | None, now_ns: int) -> dict[str, Any] | None:
    """Return where somebody was seen last in truth, None if nowhere (or outside)."""
    if place is None or place.zone is None:
        return None
    return {
        "person_ref": person_ref,
        "track": place.track,
        "zone": place.zone,
        "camera": place.camera,
        "first_seen_ns": max(0, place.first_seen_ns),
        "last_seen_ns": max(0, place.last_seen_ns),
        "age_ms": milliseconds(now_ns - place.last_seen_ns),
    }


def counts(count: HeadCount) -> dict[str, int]:
    """Return a headcount's fields."""
    return {"headcount": count.best, "headcount_low": count.low, "headcount_high": count.high}


def milliseconds(ns: int) -> int:
    """Return whole milliseconds, never negative."""
    return max(0, ns) // _NS_PER_MS


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
