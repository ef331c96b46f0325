"""A clock for tests that goes only when told to."""

from __future__ import annotations

from typing import Final

from edge_app.clock import WallQuality, WallTime

#: What it shows at the beginning, in milliseconds since 1970.
NOW_MS: Final = 1_750_000_000_000


class StoppedClock:
    """A clock that stands still; `wall_time` and `now_ns` can be set."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000
        self.wall_time = WallTime(ms=NOW_MS, quality=WallQuality.SYNC)

    def mono_ns(self) -> int:
        """Return the moment that was set."""
        return self.now_ns

    def wall(self) -> WallTime:
        """Return the wall time that was set."""
        return self.wall_time

    def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.now_ns += int(seconds * 1e9)
