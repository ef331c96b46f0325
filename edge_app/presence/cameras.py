"""Which cameras see: a state each, and the alarms that stand while one does not, or not as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_app.presence.events import event, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_app.records import CameraState, Event


class CameraStates:
    """The states of a box's cameras.

    Args:
        standing: ids of alarms that an earlier run raised and did not clear.
    """

    def __init__(self, *, standing: Iterable[str] = ()) -> None:
        self._standing = {alarm for alarm in standing if alarm.startswith("camera_")}
        self._states: dict[str, CameraState] = {}
        self._since: dict[str, int] = {}

    def all(self) -> tuple[CameraState, ...]:
        """Return the states, by camera."""
        return tuple(self._states[name] for name in sorted(self._states))

    def trouble(self, camera: str) -> str | None:
        """Return what is wrong with a camera now, None if nothing is known to be."""
        state = self._states.get(camera)
        if state is None:
            return None
        return state.impaired if state.blind_since_ns is None else state.reason

    def take(self, state: CameraState, *, now_ns: int) -> tuple[Event, ...]:
        """Take a camera's state; return the events that it makes: blind, seeing again, impaired, well."""
        before = self._states.get(state.camera)
        self._states[state.camera] = state
        return (*self._impaired(before, state, now_ns), *self._blind(before, state, now_ns))

    def _blind(self, before: CameraState | None, state: CameraState, now_ns: int) -> Iterator[Event]:
        alarm_id = f"camera_blind.{state.camera}"
        was_blind = before is not None and before.blind_since_ns is not None
        if state.blind_since_ns is not None:
            if was_blind:
                return
            self._standing.discard(alarm_id)
            alarm = {"id": alarm_id, "state": "active", "since_ns": state.blind_since_ns}
            data: dict[str, Any] = {"reason": state.reason or "unknown", "alarm": alarm}
            yield event("camera_blind", now_ns, camera=state.camera, zone=state.zone, data=data)
            return
        if not was_blind and alarm_id not in self._standing:
            return
        self._standing.discard(alarm_id)
        since = now_ns if before is None or before.blind_since_ns is None else before.blind_since_ns
        cleared = {"id": alarm_id, "state": "cleared", "since_ns": since}
        data = {"blind_ms": milliseconds(now_ns - since), "alarm": cleared}
        yield event("camera_sees", now_ns, camera=state.camera, zone=state.zone, data=data)

    def _impaired(self, before: CameraState | None, state: CameraState, now_ns: int) -> Iterator[Event]:
        """Yield an alarm for what is wrong now, and the end of what was; of an earlier run as well."""
        was = None if before is None else before.impaired
        over = {was} if was is not None and was != state.impaired else set()
        for alarm_id in [alarm for alarm in self._standing if alarm.endswith(f".{state.camera}")]:
            reason = alarm_id.removeprefix("camera_").removesuffix(f".{state.camera}")
            if reason != "blind":
                self._standing.discard(alarm_id)
                over.add(reason)
        for reason in sorted(over - {state.impaired}):
            yield self._alarm(
                state, reason, "cleared", self._since.pop(f"{reason}.{state.camera}", now_ns), now_ns
            )
        if state.impaired is not None and state.impaired != was:
            self._since[f"{state.impaired}.{state.camera}"] = now_ns
            yield self._alarm(state, state.impaired, "active", now_ns, now_ns)

    def _alarm(self, state: CameraState, reason: str, what: str, since_ns: int, now_ns: int) -> Event:
        alarm = {"id": f"camera_{reason}.{state.camera}", "state": what, "since_ns": since_ns}
        data = {"reason": f"camera_{reason}", "alarm": alarm}
        return event("alarm", now_ns, camera=state.camera, zone=state.zone, data=data)
