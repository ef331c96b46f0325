"""UUIDs of version 7 (RFC 9562): unique without a register, and in the order of their making.

48 bits of milliseconds, 12 bits that count within a millisecond (method 1 of the RFC's section 6.2),
62 random bits. On a box without a believable clock the milliseconds are those of the monotonic clock,
which is allowed and looks like 1970: nobody may read a time out of an id.
"""

from __future__ import annotations

import os
import threading
from typing import Final
from uuid import UUID

_COUNTER_BITS: Final = 12
_MS_MASK: Final = (1 << 48) - 1


class Uuid7Maker:
    """Makes ids that never repeat and, within one maker, always ascend; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def make(self, *, ms: int) -> UUID:
        """Return a new id for the moment `ms` (milliseconds; of which clock is the caller's business).

        A moment earlier than that of the id before counts on from it, so that a clock set back does
        not bring ids that sort before older ones.
        """
        with self._lock:
            head = max((ms & _MS_MASK) << _COUNTER_BITS, self._last + 1)
            self._last = head
        tail = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
        stamp, counter = head >> _COUNTER_BITS, head & ((1 << _COUNTER_BITS) - 1)
        return UUID(int=(stamp & _MS_MASK) << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | tail)
