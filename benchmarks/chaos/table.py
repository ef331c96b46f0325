"""The one table: what was broken, what was committed, what arrived, and what that broke."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.rig import order_violations

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HEAD = f"{'fault':46} {'times':>6} {'committed':>10} {'received':>9} {'copies':>8} {'lost':>5} {'order':>6}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of fault and its counts.

    Attributes:
        fault: what was broken.
        times: how often.
        committed: events of which the box said that they are committed.
        received: different events that arrived.
        copies: further arrivals of events that had arrived; None where the consumer's store removed them.
        lost: committed events that did not arrive and whose loss was not reported.
        order: first arrivals after one of their priority with a higher number.
        note: something worth knowing, or why it was not done.
        failed: something else than a loss or the order that should have been otherwise.
        done: whether it was done at all.
    """

    fault: str
    times: int = 0
    committed: int = 0
    received: int = 0
    copies: int | None = 0
    lost: int = 0
    order: int = 0
    note: str = ""
    failed: bool = False
    done: bool = True

    @property
    def holds(self) -> bool:
        """Whether the promise held, as far as it was tried."""
        return not self.failed and self.lost == 0 and self.order == 0

    def without_copies(self) -> Row:
        """Return the same row of a consumer whose store keeps each event once."""
        return replace(self, copies=None)

    def line(self) -> str:
        """Return the row as it is printed."""
        if not self.done:
            return f"{self.fault:46} not done: {self.note}"
        copies = "removed" if self.copies is None else f"{self.copies:,}"
        counts = f"{self.times:6,} {self.committed:10,} {self.received:9,} {copies:>8}"
        verdict = "ok" if self.holds else "BROKEN"
        line = f"{self.fault:46} {counts} {self.lost:5,} {self.order:6,}  {verdict}  {self.note}"
        return line.rstrip()


def not_done(fault: str, why: str) -> Row:
    """Return the row of a fault that this machine does not allow."""
    return Row(fault=fault, note=why, done=False)


def counted(
    fault: str, *, times: int, committed: Iterable[str], events: Sequence[dict[str, Any]], note: str = ""
) -> Row:
    """Return the row of a fault.

    Args:
        fault: what was broken.
        times: how often.
        committed: the ids of what the box committed.
        events: what arrived, in order, copies included.
        note: something worth knowing.
    """
    wanted, got = set(committed), {event["id"] for event in events}
    gaps = {event["id"]: event for event in events if event.get("kind") == "gap"}.values()
    reported = sum(gap["lost"] or 0 for gap in gaps)
    missing = len(wanted - got)
    unknown = any(gap["lost"] is None for gap in gaps)
    if gaps:
        note = f"({reported:,}{' and an unknown number' if unknown else ''} reported lost) {note}".rstrip()
    return Row(
        fault=fault,
        times=times,
        committed=len(wanted),
        received=len(got),
        copies=len(events) - len(got),
        lost=0 if unknown else max(0, missing - reported),
        order=order_violations(events),
        note=note,
    )


def print_table(rows: Sequence[Row]) -> int:
    """Print the table; 0 when every promise held."""
    print(_HEAD)
    for row in rows:
        print(row.line())
    return 0 if all(row.holds for row in rows) else 1
