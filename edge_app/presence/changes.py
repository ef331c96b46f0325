"""What is news about somebody who was in one place and is in another: fields of a ``presence`` event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_app.presence.events import milliseconds

if TYPE_CHECKING:
    from edge_app.presence.place import Place


def change(before: Place | None, place: Place, *, away_ns: int) -> dict[str, Any] | None:
    """Return what is news about somebody who was at `before` and is at `place`; None if nothing is.

    Args:
        before: where they were seen last, None for somebody who never was.
        place: where they are.
        away_ns: from how long an absence on it is news that they are back.
    """
    was = None if before is None else before.zone
    if before is None or was is None:
        return None if place.zone is None else {"change": "entered"}
    absent_ns = max(0, place.first_seen_ns - before.last_seen_ns)
    away = {"previous_zone": was, "away_ms": milliseconds(absent_ns)}
    if was != place.zone:
        return {**away, **way(before, place.zone, place.last_seen_ns)}
    return {"change": "returned", **away} if absent_ns >= away_ns else None


def way(before: Place, zone: str | None, now_ns: int) -> dict[str, Any]:
    """Return the change from `before` to `zone`: entered, moved or left, and how long they had been there."""
    if before.zone is None:
        return {"change": "entered"}
    kind = "left" if zone is None else "moved"
    return {"change": kind, "previous_zone": before.zone, "dwell_ms": milliseconds(now_ns - before.since)}
