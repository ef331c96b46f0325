"""What the store knows of boxes, and of who left them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: A word that is later than now by this is from a clock that was wrong.
_AHEAD_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Departure:
    """Somebody left all zones of a box at `mono_ns` of its `boot`; `at_ms` is None while that has no date."""

    person_ref: str
    site: str
    node: str
    at_ms: int | None
    boot: str
    mono_ns: int


@dataclass(frozen=True, slots=True)
class Said:
    """A box's state, or (with `boot` and `mono_ns`) its muster: a JSON text, and when it was so (ms)."""

    site: str
    node: str
    text: str
    at_ms: int
    boot: str | None = None
    mono_ns: int | None = None


@dataclass(frozen=True, slots=True)
class BoxSeen:
    """What is known of a box: the texts and arrival times of its newest state and muster (ms since 1970).

    The muster is of `muster_mono_ns` of its `muster_boot`; `event_ms` is when an event last came from it.
    """

    site: str
    node: str
    state: str | None
    state_ms: int | None
    muster: str | None
    muster_ms: int | None
    event_ms: int | None = None
    muster_boot: str | None = None
    muster_mono_ns: int | None = None

    def heard_ms(self, now_ms: int) -> int | None:
        """Return when it last said something (ms since 1970), not later than now; None if it never did.

        A word from a minute ahead or more is none: this machine's clock was wrong when it came.
        """
        words = (at for at in (self.state_ms, self.event_ms) if at is not None and at < now_ms + _AHEAD_MS)
        found = max(words, default=None)
        return None if found is None else min(found, now_ms)


@dataclass(frozen=True, slots=True)
class BoxEvents:
    """The events of a box: how many, lowest and highest number, last arrival, how many came out of order.

    `longest_ms` is the longest time from happening to arriving, None where nobody knows the box's time.
    `twice` are events with a number that another has, from the box's baseline on: two outboxes had its name.
    """

    stored: int
    lowest_seq: int
    highest_seq: int
    arrived_ms: int
    longest_ms: int | None
    late: int
    twice: int = 0
