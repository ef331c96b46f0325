"""Alarms about people: too many in a zone, too long inside. Raised and cleared only after a delay.

A condition that flickers must not: an alarm is raised when its condition has held for `delay_s`, and
cleared when it has not held for as long. An alarm that an earlier run raised stands until this run
has seen the opposite for the delay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneRules:
    """What a zone allows; None is no limit.

    Attributes:
        limit: people at once.
        delay_s: how long more may be there before it is an alarm, and fewer before it is over.
        max_stay_s: how long one person may stay in it.
    """

    limit: int | None = None
    delay_s: float = 10.0
    max_stay_s: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An alarm was raised or cleared: what events carry under ``alarm``."""

    alarm_id: str
    active: bool
    since_ns: int

    def fields(self) -> dict[str, object]:
        """Return ``{id, state, since_ns}``."""
        state = "active" if self.active else "cleared"
        return {"id": self.alarm_id, "state": state, "since_ns": max(0, self.since_ns)}


@dataclass(slots=True)
class _Alarm:
    active: bool = False
    since_ns: int | None = None
    contrary_ns: int | None = None


class Alarms:
    """The state of every alarm that has a delay.

    Args:
        standing: ids of alarms that an earlier run raised and did not clear.
    """

    def __init__(self, *, standing: Iterable[str] = ()) -> None:
        self._alarms: dict[str, _Alarm] = {alarm: _Alarm(active=True) for alarm in standing}

    def update(self, alarm_id: str, *, holds: bool, delay_s: float, now_ns: int) -> Change | None:
        """Take in whether the alarm's condition holds now; return the change if there is one."""
        alarm = self._alarms.setdefault(alarm_id, _Alarm())
        if holds == alarm.active:
            alarm.contrary_ns = None
            return None
        if alarm.contrary_ns is None:
            alarm.contrary_ns = now_ns
        if now_ns - alarm.contrary_ns < delay_s * _NS:
            return None
        since, alarm.contrary_ns = alarm.contrary_ns, None
        alarm.active = holds
        if holds:
            alarm.since_ns = since
            return Change(alarm_id, active=True, since_ns=since)
        raised = since if alarm.since_ns is None else alarm.since_ns
        del self._alarms[alarm_id]
        return Change(alarm_id, active=False, since_ns=raised)

    def active(self, prefix: str) -> list[str]:
        """Return the ids of the raised alarms that begin with `prefix`."""
        return [name for name, alarm in self._alarms.items() if alarm.active and name.startswith(prefix)]


def check_rules(rules: Mapping[str, ZoneRules]) -> None:
    """Refuse limits that make no sense.

    Raises:
        ValueError: a negative limit or delay, or a stay of no length.
    """
    for zone, rule in rules.items():
        if (rule.limit is not None and rule.limit < 0) or rule.delay_s < 0 or (rule.max_stay_s or 1.0) <= 0:
            msg = f"zone {zone}: limit and delay must not be negative, a stay must be positive"
            raise ValueError(msg)
