"""Which cameras see: a state each, and the alarm that stands while one does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_app.presence.events import event, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_app.records import CameraState, Event


class CameraStates:
    """The states of a box's cameras.

    Args:
        standing: ids of alarms that an earlier run raised and did not clear.
    """

    def __init__(self, *, standing: Iterable[str] = ()) -> None:
        self._standing = {alarm for alarm in standing if alarm.startswith("camera_")}
        self._states: dict[str, CameraState] = {}

    def all(self) -> tuple[CameraState, ...]:
        """Return the states, by camera."""
        return tuple(self._states[name] for name in sorted(self._states))

    def take(self, state: CameraState, *, now_ns: int) -> tuple[Event, ...]:
        """Take a camera's state; return an event if it went blind or sees again."""
        before = self._states.get(state.camera)
        self._states[state.camera] = state
        alarm_id = f"camera_blind.{state.camera}"
        was_blind = before is not None and before.blind_since_ns is not None
        if state.blind_since_ns is not None:
            if was_blind:
                return ()
            self._standing.discard(alarm_id)
            alarm = {"id": alarm_id, "state": "active", "since_ns": state.blind_since_ns}
            data: dict[str, Any] = {"reason": state.reason or "unknown", "alarm": alarm}
            return (event("camera_blind", now_ns, camera=state.camera, zone=state.zone, data=data),)
        if not was_blind and alarm_id not in self._standing:
            return ()
        self._standing.discard(alarm_id)
        since = now_ns if before is None or before.blind_since_ns is None else before.blind_since_ns
        cleared = {"id": alarm_id, "state": "cleared", "since_ns": since}
        data = {"blind_ms": milliseconds(now_ns - since), "alarm": cleared}
        return (event("camera_sees", now_ns, camera=state.camera, zone=state.zone, data=data),)
