"""Two clocks: one that only goes forward, and one that says what a wall clock would say.

Durations use the monotonic clock. Wall time carries its quality, because a tunnel has no NTP and a
box may have no battery behind its clock: ``sync`` (disciplined by a time source now), ``holdover``
(was disciplined, or is plausible, and runs on), ``none`` (not to be believed; then there is no wall
time at all, only the monotonic one).

The clock is injected everywhere, so that a test can stop it, turn it back to 1970 or run a week in
a second.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

#: A wall clock before this moment (2025-01-01 UTC) cannot be right: this software did not exist.
EARLIEST_PLAUSIBLE_MS: Final = 1_735_689_600_000
#: Nor can one after this (2100-01-01 UTC).
LATEST_PLAUSIBLE_MS: Final = 4_102_444_800_000

_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5
_NS_PER_MS: Final = 1_000_000


class WallQuality(str, Enum):
    """How far wall time is to be believed."""

    SYNC = "sync"
    HOLDOVER = "holdover"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class WallTime:
    """Wall time in milliseconds since 1970 (UTC), None when its quality is ``none``."""

    ms: int | None
    quality: WallQuality

    def __post_init__(self) -> None:
        """Refuse a time without quality and a quality without time."""
        if (self.ms is None) != (self.quality is WallQuality.NONE):
            msg = f"wall time {self.ms} does not go with quality {self.quality.value}"
            raise ValueError(msg)


class Clock(Protocol):
    """What the stages ask for the time."""

    def mono_ns(self) -> int:
        """Return nanoseconds since some fixed moment; never goes back."""
        ...

    def wall(self) -> WallTime:
        """Return wall time with its quality."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own clocks; CLOCK_BOOTTIME where there is one, so that suspend counts."""

    def __init__(self) -> None:
        self._clock_id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def mono_ns(self) -> int:
        """Return nanoseconds since boot."""
        return time.clock_gettime_ns(self._clock_id)

    def wall(self) -> WallTime:
        """Return the system's wall time; its quality comes from the kernel's ``adjtimex`` state."""
        now_ms = time.time_ns() // _NS_PER_MS
        if not EARLIEST_PLAUSIBLE_MS <= now_ms <= LATEST_PLAUSIBLE_MS:
            return WallTime(ms=None, quality=WallQuality.NONE)
        quality = WallQuality.SYNC if kernel_clock_synchronised() else WallQuality.HOLDOVER
        return WallTime(ms=now_ms, quality=quality)

    def sleep(self, seconds: float) -> None:
        """Wait `seconds`."""
        time.sleep(seconds)


def kernel_clock_synchronised() -> bool:
    """Return whether the kernel says that a time source disciplines its clock.

    Asks ``adjtimex`` with no change (mode 0; adjtimex(2)), which needs no privilege. Where it cannot
    be asked (another kernel, a seccomp filter) the answer is False, so that the quality reads
    ``holdover`` rather than claiming too much.
    """
    buffer = ctypes.create_string_buffer(512)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = int(libc.adjtimex(buffer))
    except (OSError, AttributeError):
        return False
    # struct timex on 64-bit Linux: modes (4, +4 padding), offset, freq, maxerror, esterror, then status.
    status = int.from_bytes(buffer.raw[40:44], "little")
    return state not in (-1, _TIME_ERROR) and not status & _STA_UNSYNC


def boot_id(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """Return the kernel's boot id (a UUID as text), which names one run of the monotonic clock.

    Raises:
        OSError: the kernel does not offer one.
    """
    return path.read_text(encoding="ascii").strip()
