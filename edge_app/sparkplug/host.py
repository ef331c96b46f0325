"""Whether the primary host is there, by what its STATE messages say.

A host says ``{"online": true, "timestamp": ...}``, retained, and leaves a last will that says false
with the timestamp of its own connection. A will can arrive late, when the host is long back: so a
message older than the last one that counted is not believed.
"""

from __future__ import annotations

import json
from typing import Final

MAX_STATE_BYTES: Final = 1024


class PrimaryHost:
    """The state of the host `host_id` at one broker."""

    def __init__(self, host_id: str) -> None:
        self.host_id = host_id
        self.online = False
        self._timestamp: int | None = None

    def heard(self, payload: bytes) -> bool:
        """Take a STATE message; return whether it counted. Anything that is not one is ignored."""
        state = _parsed(payload)
        if state is None:
            return False
        online, timestamp = state
        if self._timestamp is not None and timestamp < self._timestamp:
            return False
        self._timestamp = timestamp
        self.online = online
        return True


def _parsed(payload: bytes) -> tuple[bool, int] | None:
    if len(payload) > MAX_STATE_BYTES:
        return None
    try:
        state = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(state, dict):
        return None
    online, timestamp = state.get("online"), state.get("timestamp")
    if not isinstance(online, bool) or not isinstance(timestamp, int) or isinstance(timestamp, bool):
        return None
    return (online, timestamp) if timestamp >= 0 else None
