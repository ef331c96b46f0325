"""The topics of one box, and nothing that MQTT forbids in them.

::

    mine/{site}/v1/{node}/evt/{kind}     events, QoS 1
                         /rcpt           receipts of consumers, towards the box
                         /state          retained: online or (last will) not
                         /alarms/{id}    retained while the alarm stands
                         /muster         retained: everybody the box counts
                         /card           readings of positioning cards, towards the box
                         /cmd/{verb}     commands, towards the box
                         /cmd/resp       their answers

A site, a node, a kind and an alarm id are checked before they become part of a topic, so that no
``+``, ``#``, ``/``, NUL or lone surrogate from a configuration or a camera's name ever does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from edge_app.records import NAME

ALARM_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names of the box `node` of the mine `site`."""

    site: str
    node: str

    def __post_init__(self) -> None:
        """Refuse names that would change the topic's meaning."""
        for what, name in (("site", self.site), ("node", self.node)):
            _require(NAME, what, name)

    @property
    def base(self) -> str:
        """The prefix of all of them, without a slash at its end."""
        return f"mine/{self.site}/v1/{self.node}"

    @property
    def state(self) -> str:
        """Retained: whether the box is there."""
        return f"{self.base}/state"

    @property
    def muster(self) -> str:
        """Retained: everybody the box counts."""
        return f"{self.base}/muster"

    @property
    def receipts(self) -> str:
        """Where consumers send their receipts."""
        return f"{self.base}/rcpt"

    @property
    def cards(self) -> str:
        """Where a positioning system tells which cards it read."""
        return f"{self.base}/card"

    @property
    def commands(self) -> str:
        """The filter for commands to this box."""
        return f"{self.base}/cmd/+"

    @property
    def responses(self) -> str:
        """Where commands are answered unless they say another topic."""
        return f"{self.base}/cmd/resp"

    def event(self, kind: str) -> str:
        """Return the topic of events of `kind`."""
        return f"{self.base}/evt/{_require(NAME, 'kind', kind)}"

    def alarm(self, alarm_id: str) -> str:
        """Return the topic under which the alarm stands retained while it is active."""
        return f"{self.base}/alarms/{_require(ALARM_ID, 'alarm id', alarm_id)}"


def _require(pattern: re.Pattern[str], what: str, name: str) -> str:
    if not pattern.fullmatch(name):
        msg = f"{what} becomes part of an MQTT topic and must match {pattern.pattern}; received {name!r:.60}"
        raise ValueError(msg)
    return name
