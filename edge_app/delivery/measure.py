"""What delivery says about itself, gathered from its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_app.delivery.options import DeliveryStatus

if TYPE_CHECKING:
    from edge_app.clock import WallTime
    from edge_app.delivery.committer import Committer
    from edge_app.delivery.courier import Courier
    from edge_app.delivery.outbox import Outbox

_NS: Final = 1_000_000_000


def measured(
    *, now: int, wall: WallTime, outbox: Outbox, committer: Committer, courier: Courier, submitted: int
) -> DeliveryStatus:
    """Return the status as of `now` (monotonic ns); takes the same time however much waits."""
    tally = outbox.tally()
    return DeliveryStatus(
        connected=courier.connected,
        broker=courier.broker,
        backlog=(tally[0][0], tally[1][0], tally[2][0], tally[3][0]),
        backlog_bytes=sum(size for _, size in tally.values()),
        oldest_age_s=_oldest_age_s(now, wall, outbox.oldest(), committer.first_seq),
        submitted=submitted,
        committed=committer.committed,
        published=courier.published,
        delivered=courier.delivered,
        parked=courier.parked,
        lost=committer.lost,
        rejected_receipts=courier.rejected_receipts,
        connects=courier.connects,
        last_error=committer.last_error or courier.last_error,
        silent=courier.silent(now),
        uncommitted=committer.waiting,
    )


def _oldest_age_s(
    now: int, wall: WallTime, oldest: tuple[int, int, int | None] | None, first_seq: int
) -> float | None:
    """Return the oldest row's age, by the wall clock (if there is one) when an earlier run recorded it."""
    if oldest is None:
        return None
    seq, mono_ns, wall_ms = oldest
    if seq >= first_seq:
        return round(max(0, now - mono_ns) / _NS, 1)
    return None if wall.ms is None or wall_ms is None else round(max(0, wall.ms - wall_ms) / 1000, 1)
