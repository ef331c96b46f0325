"""When the disk of the outbox is nearly full: an alarm, raised while it can still be stored and sent.

Below `ALARM_BYTES` free the alarm ``disk_full`` is raised; it is cleared at twice as much, so that a log that
grows and is rotated does not make it flicker. On a disk that fills up further, the least important and oldest
events are given up (`outbox`), and an alarm is the last of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_app.delivery.files import free_bytes
from edge_app.health.standing import Standing

if TYPE_CHECKING:
    from pathlib import Path

    from edge_app.records import Event

ALARM_ID: Final = "disk_full"
ALARM_BYTES: Final = 16 << 20


class RoomAlarm:
    """The alarm about the disk of `folder`; `stands` if an earlier run raised it and did not clear it."""

    def __init__(self, folder: Path, *, stands: bool) -> None:
        self._folder = folder
        self._alarm = Standing(ALARM_ID, stands=stands)

    def check(self, now_ns: int) -> Event | None:
        """Return the event by which the alarm is raised or cleared, if it is; `now_ns` is monotonic."""
        try:
            free = free_bytes(self._folder)
        except OSError:  # another fault, told by others
            return None
        return self._alarm.check(free < (2 * ALARM_BYTES if self._alarm.stands else ALARM_BYTES), now_ns)
