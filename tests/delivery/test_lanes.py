"""Which event goes next: order, reserve, throttle, and going back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_app.delivery.lanes import Lanes

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.delivery.event import Draft
    from edge_app.delivery.outbox import Outbox

S = 1_000_000_000


def lanes_over(outbox: Outbox, *consumers: str, rate: float | None = None) -> Lanes:
    """Return the lanes of an outbox, restarted at second 0."""
    lanes = Lanes(outbox=outbox, required=frozenset(consumers), receipt_window=3, history_per_s=rate)
    lanes.restart(now=0)
    return lanes


def take(lanes: Lanes, *, now: int = 0, n: int = 100, free: int = 100, reserve: int = 10) -> list[int]:
    """Return the numbers of what goes next, up to `n`."""
    taken: list[int] = []
    while len(taken) < n and (row := lanes.next(now=now, free=free, reserve=reserve)) is not None:
        taken.append(row.seq)
    return taken


def receipt(lanes: Lanes, seqs: list[int], *, now: int, consumer: str = "surface") -> None:
    """Let `consumer`, the last one, receipt these rows."""
    lanes.heard(consumer, seqs)
    lanes.receipted(seqs, now=now)


def fill(outbox: Outbox, make_draft: Callable[..., Draft], *kinds: str) -> None:
    """Commit events of these kinds."""
    outbox.append([make_draft(kind) for kind in kinds])


def test_alarms_then_presence_then_sightings_then_health(
    open_outbox: Callable[..., Outbox], make_draft: Callable[..., Draft]
) -> None:
    """Each in the order of its numbers, each once."""
    outbox = open_outbox()
    fill(outbox, make_draft, "test", "sighting", "presence", "alarm", "sighting", "alarm")
    lanes = lanes_over(outbox)
    assert ([4, 6, 3, 2, 5, 1], []) == (take(lanes), take(lanes))


def test_a_tenth_of_the_window_is_for_alarms_only(
    open_outbox: Callable[..., Outbox], make_draft: Callable[..., Draft]
) -> None:
    """With the rest full, history waits and an alarm goes."""
    outbox = open_outbox()
    fill(outbox, make_draft, "sighting", "alarm")
    lanes = lanes_over(outbox)
    assert ([2], []) == (take(lanes, free=10, n=1), take(lanes, free=10))
    assert [] == take(lanes, free=0)
    assert [1] == take(lanes, free=11)


def test_history_is_throttled_and_what_is_new_is_not(
    open_outbox: Callable[..., Outbox], make_draft: Callable[..., Draft]
) -> None:
    """Ten a second: after a second about ten old ones went; new presence goes at once."""
    outbox = open_outbox()
    fill(outbox, make_draft, *["sighting"] * 50)
    lanes = lanes_over(outbox, rate=10.0)
    went = [seq for tick in range(101) for seq in take(lanes, now=tick * S // 100)]
    assert 9 <= len(went) <= 11
    assert lanes.throttled()
    fill(outbox, make_draft, "presence", "presence")
    lanes.grown({1})
    assert [51, 52] == take(lanes, now=S)


def test_only_one_event_a_lane_goes_until_a_receipt_comes(
    open_outbox: Callable[..., Outbox], make_draft: Callable[..., Draft]
) -> None:
    """Then as many as the receipt window is wide; and one again after a receipt is overdue."""
    outbox = open_outbox()
    fill(outbox, make_draft, *["sighting"] * 9, "presence")
    lanes = lanes_over(outbox, "surface")
    assert [10, 1] == take(lanes)
    outbox.remove([1])
    receipt(lanes, [1], now=0)
    assert [2, 3, 4] == take(lanes)
    assert (0, 4) == (lanes.overdue(now=S, timeout_ns=2 * S), lanes.overdue(now=3 * S, timeout_ns=2 * S))
    assert [10, 2] == take(lanes, now=3 * S)


def test_lanes_stay_narrow_until_every_required_consumer_was_heard(
    open_outbox: Callable[..., Outbox], make_draft: Callable[..., Draft]
) -> None:
    """By a receipt for a row of this connection; one for any other row proves nothing."""
    outbox = open_outbox()
    fill(outbox, make_draft, *["sighting"] * 9)
    lanes = lanes_over(outbox, "surface", "scada")
    assert [1] == take(lanes)
    lanes.heard("surface", [1])
    lanes.heard("scada", [7])
    lanes.receipted([1], now=0)
    assert [2] == take(lanes)
    lanes.heard("scada", [2])
    lanes.receipted([2], now=0)
    assert [3, 4, 5] == take(lanes)


def test_receipt_of_one_lane_does_not_widen_another(
    open_outbox: Callable[..., Outbox], make_draft: Callable[..., Draft]
) -> None:
    """The sighting went before the consumer subscribed, the presence after it: only that one arrived."""
    outbox = open_outbox()
    fill(outbox, make_draft, *["sighting"] * 4)
    lanes = lanes_over(outbox, "surface")
    assert [1] == take(lanes)
    fill(outbox, make_draft, *["presence"] * 4)
    lanes.grown({1})
    assert [5] == take(lanes)
    receipt(lanes, [5], now=0)
    assert [6, 7, 8] == take(lanes)
    lanes.hello()
    assert [1] == [seq for seq in take(lanes) if seq < 5]


def test_slow_consumer_is_not_given_more_copies(
    open_outbox: Callable[..., Outbox], make_draft: Callable[..., Draft]
) -> None:
    """While receipts come, what is owed waits ten times as long; when they stop, it does not."""
    outbox = open_outbox()
    fill(outbox, make_draft, *["sighting"] * 9)
    lanes = lanes_over(outbox, "surface")
    take(lanes)
    outbox.remove([1])
    receipt(lanes, [1], now=0)
    assert [2, 3, 4] == take(lanes)
    for second in range(1, 9):
        outbox.remove([4])
        receipt(lanes, [4] if second == 1 else [], now=second * S)
        take(lanes, now=second * S)
        lanes.lanes[2].owed.setdefault(90 + second, second * S)
        receipt(lanes, [90 + second], now=second * S)
        assert 0 == lanes.overdue(now=second * S, timeout_ns=S)
    assert 0 < lanes.overdue(now=10 * S, timeout_ns=S)


def test_row_that_alone_gets_no_receipt_is_stuck(
    open_outbox: Callable[..., Outbox], make_draft: Callable[..., Draft]
) -> None:
    """Twice overdue while another lane is receipted; of an absent consumer no row is stuck."""
    outbox = open_outbox()
    fill(outbox, make_draft, "sighting", "sighting")
    lanes = lanes_over(outbox, "surface")
    stuck, now = [], 0
    while not stuck and now < 300:
        fill(outbox, make_draft, "presence")
        lanes.grown({1})
        if now == 100:
            lanes.hello()
        for seq in take(lanes, now=now * S):
            if seq > 2 and now >= 100:
                outbox.remove([seq])
                receipt(lanes, [seq], now=now * S)
        lanes.overdue(now=now * S, timeout_ns=S)
        stuck = [row.seq for row in lanes.stuck()]
        now += 1
    assert [1] == stuck
    assert now > 100
    outbox.park(1, "suspect")
    lanes.settled(1, 2)
    assert 2 in take(lanes, now=now * S)


def test_stuck_row_is_found_where_nothing_else_goes(
    open_outbox: Callable[..., Outbox], make_draft: Callable[..., Draft]
) -> None:
    """After a while the row behind it goes as well: its receipt says that the consumer is there."""
    outbox = open_outbox()
    fill(outbox, make_draft, *["sighting"] * 30)
    lanes = lanes_over(outbox, "surface")
    stuck: list[int] = []
    for now in range(300):
        for seq in take(lanes, now=now * S):
            if seq > 1:
                outbox.remove([seq])
                receipt(lanes, [seq], now=now * S)
        lanes.overdue(now=now * S, timeout_ns=S)
        for row in lanes.stuck():
            outbox.park(row.seq, "suspect")
            lanes.settled(row.seq, row.priority)
            stuck.append(row.seq)
    assert [1] == stuck
    assert 0 == sum(n for n, _ in outbox.tally().values()) - 1


def test_overdue_events_come_again_more_and_more_rarely(
    open_outbox: Callable[..., Outbox], make_draft: Callable[..., Draft]
) -> None:
    """The wait doubles up to thirty times, and ends when somebody says hello."""
    outbox = open_outbox()
    fill(outbox, make_draft, "test")
    lanes = lanes_over(outbox, "surface")
    times = []
    for second in range(200):
        lanes.overdue(now=second * S, timeout_ns=S)
        times += [second for _ in take(lanes, now=second * S)]
    assert [0, 2, 5, 10] == times[:4]
    assert 31 == times[-1] - times[-2]
    lanes.hello()
    assert [1] == take(lanes, now=200 * S)


def test_broker_that_says_later_is_asked_again_from_there_on(
    open_outbox: Callable[..., Outbox], make_draft: Callable[..., Draft]
) -> None:
    """The lane pauses, longer each time, and keeps its order; other lanes go on."""
    outbox = open_outbox()
    fill(outbox, make_draft, "sighting", "sighting", "sighting", "test")
    lanes = lanes_over(outbox)
    assert [1, 2, 3] == take(lanes, n=3)
    lanes.later(2, 2, now=0)
    assert [4] == take(lanes)
    assert ([], [2, 3]) == (take(lanes, now=S - 1), take(lanes, now=S))
    lanes.later(2, 2, now=S)
    assert ([], [2, 3]) == (take(lanes, now=3 * S - 1), take(lanes, now=3 * S))


def test_new_connection_starts_from_the_oldest(
    open_outbox: Callable[..., Outbox], make_draft: Callable[..., Draft]
) -> None:
    """What was under way goes again, and counts as history then."""
    outbox = open_outbox()
    fill(outbox, make_draft, "test", "test")
    lanes = lanes_over(outbox)
    assert [1, 2] == take(lanes)
    outbox.remove([1])
    fill(outbox, make_draft, "test")
    lanes.restart(now=S)
    rows = [lanes.next(now=S, free=9, reserve=0) for _ in range(2)]
    assert [(2, True), (3, True)] == [(row.seq, lanes.is_history(row)) for row in rows if row]
