"""How the box does, in a few numbers: told in its state, as an event now and then, and to Sparkplug hosts.

========================  =======================================================================
``cpu_c``                 hottest sensor, degrees Celsius; absent where there is none
``disk_free_mb``          room on the disk of the outbox
``memory_mb``             memory of the box's software
``receipts_refused``      messages on the receipts' topic that were none
``cards_refused``         messages on the cards' topic that were none or too many (absent where none is read)
``commands_done``         signed commands that were obeyed (absent where no key is configured), and
``commands_failed``       those that could not be done, and
``commands_refused``      those that were not obeyed: unsigned, replayed, expired, for another box, ...
``sparkplug_refused``     writes and states on Sparkplug's topics that were none, or not allowed
========================  =======================================================================

Counts are since the start of the software.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_app.health.thermal import SYSFS, read_zones
from edge_app.records import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOOK_NS: Final = 5_000_000_000
_TELL_NS: Final = 600_000_000_000
_MB: Final = 1_000_000


class Pulse:
    """Measures every five seconds and makes a ``health`` event every ten minutes; one thread uses it.

    Args:
        folder: on the disk that counts.
        counts: what other rooms count, by name.
        sysfs: where the kernel says how hot it is.
    """

    def __init__(self, *, folder: Path, counts: Callable[[], Mapping[str, int]], sysfs: Path = SYSFS) -> None:
        self._folder = folder
        self._counts = counts
        self._sysfs = sysfs
        self._looked_ns: int | None = None
        self._told_ns: int | None = None
        self.measures: Mapping[str, float] = {}

    def tick(self, now_ns: int) -> tuple[Event, ...]:
        """Measure if it is time; return an event if it is time for one."""
        if self._looked_ns is None or now_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = now_ns
            self.measures = {**self._machine(), **self._counts()}
        if self._told_ns is None:
            self._told_ns = now_ns
        if now_ns - self._told_ns < _TELL_NS:
            return ()
        self._told_ns = now_ns
        return (Event("health", now_ns, data={"measures": dict(self.measures)}),)

    def _machine(self) -> dict[str, float]:
        found: dict[str, float] = {}
        if zones := read_zones(self._sysfs):
            found["cpu_c"] = round(max(zone.now_c for zone in zones), 1)
        try:
            found["disk_free_mb"] = shutil.disk_usage(self._folder).free // _MB
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            found["memory_mb"] = pages * os.sysconf("SC_PAGE_SIZE") // _MB
        except (OSError, ValueError, IndexError):
            pass  # a number that cannot be had is left out
        return found
