"""Which event goes next: four lanes, one a priority, each in the order of its numbers, under one window.

A lane hands out its rows once per connection, oldest first, and remembers how far it is. What was
handed out and has to be sent again (another connection, a receipt that did not come, a broker that
said "later") is sent again from there on, all of it: going back and starting over keeps the order
that sending single rows again would break.

The window counts messages without PUBACK. A tenth of it is kept for alarms, so that an alarm never
waits behind history. With receipting consumers a second window counts events without receipt, lane by
lane. It is one event wide until every required consumer has receipted an event of this lane and this
connection, and again after a receipt is overdue: who does not answer may not be there, and what the broker
forgets meanwhile would be overtaken by what comes after it. Each lane must be answered by itself, because
the one event of another may have gone out before the consumer had subscribed. (An absent consumer therefore
stops the lanes; state, muster and standing alarms are retained messages and do not wait for it.) One who
receipts others and, time after time, not this row cannot store it: it is `stuck`, and must not stop what is
behind it. To learn that where nothing else goes, the row after it goes as well in the end; a consumer that
comes back just then may get that one first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_app.delivery.event import ALARM, PRIORITIES

if TYPE_CHECKING:
    from edge_app.delivery.outbox import Outbox
    from edge_app.delivery.tables import Row

_PAGE: Final = 256
_BACKOFF_FIRST_NS: Final = 1_000_000_000
_BACKOFF_MAX_NS: Final = 300_000_000_000
_NS: Final = 1_000_000_000
_SLOW: Final = 10
_STRIKES: Final = 2
#: So often overdue, one row goes although the one before it has no receipt: is it that row, or the consumer?
_LATE: Final = 3


def _rows() -> deque[Row]:
    return deque()


def _names() -> set[str]:
    return set()


def _times() -> dict[int, int]:
    return {}


@dataclass(slots=True)
class Lane:
    """The rows of one priority.

    `cursor` was handed out last, `owed` lack a receipt since when, `unheard` are the required consumers that
    have receipted none of this connection. The row `stuck` was overdue `late` times, and `strikes` times
    although others were receipted meanwhile.
    """

    priority: int
    cursor: int = 0
    more: bool = True
    ahead: deque[Row] = field(default_factory=_rows)
    owed: dict[int, int] = field(default_factory=_times)
    unheard: set[str] = field(default_factory=_names)
    stuck: int = 0
    late: int = 0
    strikes: int = 0
    paused_until: int = 0
    backoff: int = _BACKOFF_FIRST_NS

    def rewind(self, before: int) -> None:
        """Go back, so that the row `before` is the next if it still exists."""
        self.cursor = min(self.cursor, before - 1)
        self.ahead.clear()
        self.owed = {seq: at for seq, at in self.owed.items() if seq < before}
        self.more = True

    def answered(self, seq: int) -> None:
        """Take note that the row lacks no receipt any more."""
        self.owed.pop(seq, None)
        if seq == self.stuck:
            self.stuck = self.late = self.strikes = 0

    def pause(self, now: int) -> None:
        """Hand nothing out for a while, twice as long each time, five minutes at most."""
        self.paused_until = now + self.backoff
        self.backoff = min(2 * self.backoff, _BACKOFF_MAX_NS)


class Lanes:
    """The lanes of an outbox.

    Args:
        outbox: where the rows are.
        required: the consumers whose receipts rows wait for, if any.
        receipt_window: how many rows of a lane may.
        history_per_s: how many rows from before the connection may go per second; None: no limit.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        required: frozenset[str],
        receipt_window: int,
        history_per_s: float | None,
    ) -> None:
        self._outbox = outbox
        self._required = required
        self._receipt_window = receipt_window
        self._rate = history_per_s
        self._answered_at = 0
        self._known_stuck: set[int] = set()
        self._tokens = 0.0
        self._tokens_at = 0
        self._history_to = 0
        self.lanes = tuple(Lane(priority=priority) for priority in PRIORITIES)

    def restart(self, *, now: int) -> None:
        """Begin again from the oldest row, because there is another connection; all there is, is history."""
        for lane in self.lanes:
            lane.rewind(1)
            lane.paused_until, lane.backoff, lane.late = 0, _BACKOFF_FIRST_NS, 0
            lane.unheard = set(self._required)
        self._history_to = self._outbox.next_seq - 1
        self._tokens, self._tokens_at = 0.0, now

    def grown(self, priorities: set[int]) -> None:
        """Take note that rows of `priorities` were committed."""
        for priority in priorities:
            self.lanes[priority].more = True

    def reread(self) -> None:
        """Forget what was read ahead, because rows were evicted or brought back."""
        for lane in self.lanes:
            lane.ahead.clear()
            lane.more = True

    def is_history(self, row: Row) -> bool:
        """Return whether the row was there before this connection."""
        return row.seq <= self._history_to

    def next(self, *, now: int, free: int, reserve: int) -> Row | None:
        """Hand out the next row, None if there is none that may go now.

        Args:
            now: monotonic nanoseconds.
            free: room in the window of messages without PUBACK.
            reserve: how much of it is for alarms only.
        """
        self._earn(now)
        for lane in self.lanes:
            if free <= (0 if lane.priority == ALARM else reserve):
                return None
            row = self._peek(lane, now)
            if row is None:
                continue
            if lane.priority != ALARM and self._rate is not None and self.is_history(row):
                if self._tokens < 1:
                    continue
                self._tokens -= 1
            lane.ahead.popleft()
            lane.cursor = row.seq
            if self._required:
                lane.owed[row.seq] = now
            return row
        return None

    def _peek(self, lane: Lane, now: int) -> Row | None:
        width = (2 if lane.late >= _LATE else 1) if lane.unheard else self._receipt_window
        if now < lane.paused_until or (self._required and len(lane.owed) >= width):
            return None
        if not lane.ahead and lane.more:
            page = self._outbox.page(lane.priority, after=lane.cursor, limit=_PAGE)
            lane.ahead.extend(page)
            lane.more = bool(page)
        return lane.ahead[0] if lane.ahead else None

    def _earn(self, now: int) -> None:
        if self._rate is not None:
            self._tokens = min(
                self._tokens + (now - self._tokens_at) / _NS * self._rate, max(1.0, self._rate / 20)
            )
        self._tokens_at = now

    def throttled(self) -> bool:
        """Return whether history waits for nothing but its rate."""
        return self._rate is not None and self._tokens < 1 and any(lane.ahead for lane in self.lanes[1:])

    def settled(self, seq: int, priority: int) -> None:
        """Take note that a row is delivered (or gone): its lane owes it no more, and all is well."""
        lane = self.lanes[priority]
        lane.answered(seq)
        lane.backoff = _BACKOFF_FIRST_NS

    def heard(self, consumer: str, seqs: list[int]) -> None:
        """Take note that `consumer` receipted these rows: the lanes that they went by just now reach it."""
        for lane in self.lanes:
            if consumer in lane.unheard and any(seq in lane.owed for seq in seqs):
                lane.unheard.discard(consumer)

    def receipted(self, seqs: list[int], *, now: int) -> None:
        """Take note at `now` that all required consumers have receipted these rows, of whatever lane."""
        for lane in self.lanes:
            before = len(lane.owed)
            for seq in seqs:
                lane.answered(seq)
            if len(lane.owed) < before:
                lane.backoff = _BACKOFF_FIRST_NS
                self._answered_at = now

    def hello(self) -> None:
        """Send again at once what has no receipt: a consumer says that it is there now."""
        for lane in self.lanes:
            if lane.owed:
                lane.rewind(min(lane.owed))
            lane.backoff = _BACKOFF_FIRST_NS

    def later(self, seq: int, priority: int, *, now: int) -> None:
        """Send this row, and what follows it, again after a pause: the broker would not have it now."""
        self.lanes[priority].rewind(seq)
        self.lanes[priority].pause(now)

    def overdue(self, *, now: int, timeout_ns: int) -> int:
        """Go back to the oldest row whose receipt is overdue, lane by lane; return how many rows go again.

        The time allowed doubles while no receipt comes at all. While receipts do come, the consumer is
        slow rather than absent, and more copies would make it slower: it gets ten times as long.
        """
        again = 0
        for lane in self.lanes:
            if not lane.owed:
                continue
            oldest = min(lane.owed)
            allowed = timeout_ns * lane.backoff // _BACKOFF_FIRST_NS
            waited = now - lane.owed[oldest]
            quiet = min(waited, now - self._answered_at)
            if quiet > allowed or waited > _SLOW * allowed:
                again += len(lane.owed)
                if lane.stuck != oldest:
                    lane.stuck, lane.late, lane.strikes = oldest, 0, 0
                lane.late += 1
                lane.strikes += self._answered_at > lane.owed[oldest]
                lane.rewind(oldest)
                lane.backoff = min(2 * lane.backoff, _BACKOFF_MAX_NS // 10)
                lane.unheard = set(self._required)
        return again

    def stuck(self) -> list[Row]:
        """Return the rows that are to be set aside: the consumers are there, and do not receipt these."""
        found = []
        for lane in self.lanes:
            if lane.strikes >= (1 if lane.stuck in self._known_stuck else _STRIKES):
                found += self._outbox.page(lane.priority, after=lane.stuck - 1, limit=1)
                self._known_stuck.add(lane.stuck)
                lane.late = lane.strikes = 0
        return [row for row in found if row.seq in self._known_stuck]

    def oldest_owed(self) -> int | None:
        """Return when the longest unreceipted row was sent (monotonic ns), None if none is owed."""
        times = [next(iter(lane.owed.values())) for lane in self.lanes if lane.owed]
        return min(times, default=None)
