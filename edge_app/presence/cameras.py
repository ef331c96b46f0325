"""Which cameras see: a state each, and the alarms that stand while one does not, or not as it should.

A camera that was blind when an earlier run ended is blind still, since then, until it has seen for longer
than it may be without a picture: the first pictures of a run say nothing, whatever is in them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from edge_app.presence.events import event, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_app.records import CameraState, Event

_NS: Final = 1_000_000_000
#: A camera that saw again is believed so long after it would have been called blind.
_SURE_S: Final = 5.0
_BLIND_AFTER_S: Final = 10.0


class CameraStates:
    """The states of a box's cameras.

    Args:
        standing: ids of alarms that an earlier run raised and did not clear.
        blind: the states in which an earlier run left cameras that were blind.
        blind_after_s: how long each camera may be without a picture until it is called blind.
    """

    def __init__(
        self,
        *,
        standing: Iterable[str] = (),
        blind: Iterable[CameraState] = (),
        blind_after_s: Mapping[str, float] | None = None,
    ) -> None:
        self._standing = {alarm for alarm in standing if alarm.startswith("camera_")}
        self._after_s = dict(blind_after_s or {})
        left = [one for one in blind if f"camera_blind.{one.camera}" in self._standing]
        self._states: dict[str, CameraState] = {
            one.camera: replace(one, blind_since_ns=max(0, one.blind_since_ns or 0)) for one in left
        }
        #: Since when cameras are blind that an earlier run left so.
        self._left = {name: state.blind_since_ns or 0 for name, state in self._states.items()}
        #: Those of which this run knows nothing yet: what they said first, and when.
        self._unsure: dict[str, tuple[CameraState, int] | None] = dict.fromkeys(self._left)
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
        name, since = state.camera, state.blind_since_ns
        if since is not None:
            self._unsure.pop(name, None)
            state = replace(state, blind_since_ns=min(since, self._left.get(name, since)))
        elif name in self._unsure:
            _, first_ns = self._unsure[name] or (state, now_ns)
            self._unsure[name] = (state, first_ns)
            return ()
        else:
            self._left.pop(name, None)
        before = self._states.get(state.camera)
        self._states[state.camera] = state
        return (*self._impaired(before, state, now_ns), *self._blind(before, state, now_ns))

    def check(self, now_ns: int) -> tuple[Event, ...]:
        """Believe the cameras that have seen for long enough, though an earlier run left them blind."""
        made: list[Event] = []
        for name, told in list(self._unsure.items()):
            wait_s = self._after_s.get(name, _BLIND_AFTER_S) + _SURE_S
            if told is not None and now_ns - told[1] >= wait_s * _NS:
                del self._unsure[name]
                made += self.take(told[0], now_ns=now_ns)
        return tuple(made)

    def blind(self) -> tuple[CameraState, ...]:
        """Return the states of the cameras that are blind."""
        return tuple(state for state in self.all() if state.blind_since_ns is not None)

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
