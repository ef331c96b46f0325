"""What happens to the count by itself: a zone is too full, somebody stays too long, a shift ends.

At the beginning of a shift whoever was not seen in the whole shift before is taken out of the count, by
name or as a stranger who came in through a portal: a card that was forgotten in the ledger must not hide
who is really missing. Whoever was seen stays in, with the age of that sight. So does whoever could not have
been seen all the time (`watch`), which is told.

Somebody who was not seen for much longer than a shift is taken out at any time. Dark times count towards
that for nobody: who is trapped behind a blind camera stays in the muster, with their age. Nobody goes out
of the count without being told and logged.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from edge_app.presence import events
from edge_app.presence.alarms import Alarms, check_rules
from edge_app.presence.shifts import Shifts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from edge_app.clock import WallTime
    from edge_app.presence.alarms import Change, ZoneRules
    from edge_app.presence.count import Counted
    from edge_app.presence.ledger import Ledger
    from edge_app.presence.place import Place
    from edge_app.presence.watch import Watch
    from edge_app.records import Event, HeadCount

_NS: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_OVERSTAFFED: Final = "overstaffed."
_OVERTIME: Final = "overtime."

_log = structlog.get_logger(__name__)


class Rounds:
    """Looks at the ledger about once a second.

    Args:
        ledger: who is where.
        watch: when nobody could be seen.
        rules: what each zone allows.
        standing: ids of alarms that an earlier run raised and did not clear.
        shifts: when shifts begin; None: there are none.
        shift_ns: when the present one was rolled over to (monotonic), from an earlier run.
        forget_person_s: for how long somebody counts after the last sight, without what was dark.

    Raises:
        ValueError: limits that make no sense.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        watch: Watch,
        rules: Mapping[str, ZoneRules],
        standing: Iterable[str] = (),
        shifts: Shifts | None = None,
        shift_ns: int | None = None,
        forget_person_s: float = 24 * 3600.0,
    ) -> None:
        check_rules(rules)
        self._forget_ns = int(forget_person_s * _NS)
        self._ledger, self._watch = ledger, watch
        self._rules = dict(rules)
        ours = (alarm for alarm in standing if alarm.startswith((_OVERSTAFFED, _OVERTIME)))
        self._alarms = Alarms(standing=ours)
        self._shifts, self._shift_ns = shifts or Shifts(), shift_ns
        self._begun = False

    @property
    def shift_ms(self) -> int | None:
        """When the present shift began (wall ms), None if there are no shifts or no clock."""
        return self._shifts.last_ms

    @property
    def shift_ns(self) -> int | None:
        """When the present shift was rolled over to (monotonic ns), None if none was."""
        return self._shift_ns

    def shift_has_begun(self) -> bool:
        """Return whether a shift has begun since this was asked last."""
        begun, self._begun = self._begun, False
        return begun

    def shift(self, now_ns: int, wall: WallTime, count: Callable[[], HeadCount]) -> tuple[Event, ...]:
        """Take whoever was not seen in the shift that has just ended out of the count; return the events.

        It began when the box rolled over to it, or by today's clock, which may have been set.
        """
        before_ms, before_ns = self._shifts.last_ms, self._shift_ns
        name = self._shifts.rolled_over(wall)
        if self._shifts.last_ms != before_ms:
            self._shift_ns = now_ns
        if name is None or before_ms is None or wall.ms is None:
            return ()
        self._begun = True
        began_ns = now_ns - (wall.ms - before_ms) * _NS_PER_MS
        began_ns = began_ns if before_ns is None else min(began_ns, before_ns)
        reason = f"not seen in the shift before {name}"
        made = []
        for ref, place, drop in self._everybody():
            if place.last_seen_ns >= began_ns:
                continue
            dark_ns = 0 if place.zone is None else self._watch.dark_ns(place.zone, began_ns)
            if dark_ns:
                why = f"{reason}, but not all of it could be seen"
                blind_ms = events.milliseconds(dark_ns)
                made.append(
                    _told("kept", ref, place, now_ns=now_ns, count=count(), reason=why, blind_ms=blind_ms)
                )
                continue
            drop()
            if place.zone is not None:
                made.append(_told("expired", ref, place, now_ns=now_ns, count=count(), reason=reason))
        return tuple(made)

    def forget(self, now_ns: int, count: Callable[[], HeadCount]) -> tuple[Event, ...]:
        """Take whoever was not seen for too long out of the count; return the events."""
        reason = f"not seen for presence.forget_person_s, {self._forget_ns / _NS:g} s"
        made = []
        for ref, place, drop in self._everybody():
            if not self._is_over(place, now_ns):
                continue
            drop()
            if place.zone is not None:
                made.append(_told("expired", ref, place, now_ns=now_ns, count=count(), reason=reason))
        return tuple(made)

    def _everybody(self) -> Iterator[tuple[str | None, Place, Callable[[], None]]]:
        """Yield who stays until they are taken out, where, and what takes them out: not every stranger."""
        for ref, place in list(self._ledger.whereabouts()):
            yield ref, place, partial(self._ledger.drop, ref)
        for stranger in self._ledger.strangers:
            if stranger.place.through and stranger.place.zone is not None:
                yield None, stranger.place, stranger.is_gone

    def _is_over(self, place: Place, now_ns: int) -> bool:
        """Return whether whoever was at `place` could have been seen for too long to count any more."""
        away_ns = now_ns - place.last_seen_ns
        if away_ns <= self._forget_ns:
            return False
        return away_ns - self._watch.dark_ns(place.zone, place.last_seen_ns) > self._forget_ns

    def alarms(self, now_ns: int, counted: Counted) -> Iterator[Event]:
        """Yield an event for every alarm that was raised or cleared."""
        yield from self._overstaffed(now_ns, counted)
        yield from self._overtime(now_ns)

    def _overstaffed(self, now_ns: int, counted: Counted) -> Iterator[Event]:
        ours = {f"{_OVERSTAFFED}{zone}" for zone, rule in self._rules.items() if rule.limit is not None}
        for zone, rule in self._rules.items():
            if rule.limit is None:
                continue
            count = counted.zones.get(zone)
            best = 0 if count is None else count.best
            change = self._alarms.update(
                f"{_OVERSTAFFED}{zone}", holds=best > rule.limit, delay_s=rule.delay_s, now_ns=now_ns
            )
            if change is not None:
                numbers = {"headcount": 0} if count is None else events.counts(count)
                yield _alarm(change, "overstaffed", now_ns, zone, {**numbers, "limit": rule.limit})
        for gone in set(self._alarms.active(_OVERSTAFFED)) - ours:  # its limit was taken away
            change = self._alarms.update(gone, holds=False, delay_s=0.0, now_ns=now_ns)
            if change is not None:
                yield _alarm(change, "overstaffed", now_ns, gone.removeprefix(_OVERSTAFFED), {})

    def _overtime(self, now_ns: int) -> Iterator[Event]:
        late: dict[str, Place] = {}
        for ref, place in self._ledger.whereabouts():
            rule = None if place.zone is None else self._rules.get(place.zone)
            if rule is None or rule.max_stay_s is None:
                continue
            if now_ns - place.since > rule.max_stay_s * _NS:
                late[f"{_OVERTIME}{ref}"] = place
        for alarm_id in sorted({*late, *self._alarms.active(_OVERTIME)}):
            change = self._alarms.update(alarm_id, holds=alarm_id in late, delay_s=0.0, now_ns=now_ns)
            if change is None:
                continue
            ref = alarm_id.removeprefix(_OVERTIME)
            here = late.get(alarm_id)
            numbers: dict[str, object] = {"person_ref": ref}
            if here is not None:
                numbers["dwell_ms"] = events.milliseconds(now_ns - here.since)
                numbers["away_ms"] = events.milliseconds(now_ns - here.last_seen_ns)
            yield _alarm(change, "overtime", now_ns, None if here is None else here.zone, numbers)


def _alarm(
    change: Change, reason: str, now_ns: int, zone: str | None, numbers: Mapping[str, object]
) -> Event:
    data = {"reason": reason, "alarm": change.fields(), **numbers}
    return events.event("alarm", now_ns, camera=None, zone=zone, data=data)


def _told(
    change: str, ref: str | None, place: Place, *, now_ns: int, count: HeadCount, **why: object
) -> Event:
    """Return that somebody (None: a stranger) who was at `place` is ``expired``, or ``kept``; log it."""
    away_ms = events.milliseconds(now_ns - place.last_seen_ns)
    _log.warning(f"presence_{change}", person_ref=ref, zone=place.zone, away_ms=away_ms, **why)
    who = {"person_ref": ref, "change": change, "previous_zone": place.zone, "away_ms": away_ms}
    data = {**who, **why, **events.counts(count)}
    return events.event("presence_set", now_ns, camera=None, zone=place.zone, data=data)
