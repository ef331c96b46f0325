"""An alarm about the box itself: raised once, standing until what it says is over."""

from __future__ import annotations

from edge_app.records import Event


class Standing:
    """The alarm `alarm_id`; `stands` if an earlier run raised it and did not clear it."""

    def __init__(self, alarm_id: str, *, stands: bool) -> None:
        self._id = alarm_id
        self.stands = stands
        self._since_ns: int | None = None

    def check(self, wrong: bool, now_ns: int) -> Event | None:  # noqa: FBT001 - what is checked
        """Return the event by which the alarm is raised or cleared, if it is; `now_ns` is monotonic."""
        if wrong == self.stands:
            return None
        self.stands = wrong
        if wrong or self._since_ns is None:
            self._since_ns = now_ns
        state = "active" if wrong else "cleared"
        alarm = {"id": self._id, "state": state, "since_ns": self._since_ns}
        return Event(kind="alarm", mono_ns=now_ns, data={"reason": self._id, "alarm": alarm})
