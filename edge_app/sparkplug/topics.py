"""The topics of one edge node.

::

    spBv1.0/{group}/NBIRTH|NDEATH|NDATA|NCMD/{node}
    spBv1.0/{group}/DBIRTH|DDEATH|DDATA|DCMD/{node}/{device}
    spBv1.0/STATE/{host}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NAMESPACE: Final = "spBv1.0"


@dataclass(frozen=True, slots=True)
class SparkplugTopics:
    """Topic names of the edge node `node` in `group`; ids were checked by `SparkplugOptions`."""

    group: str
    node: str

    def of_node(self, verb: str) -> str:
        """Return the node's topic of `verb`: NBIRTH, NDEATH, NDATA or NCMD."""
        return f"{NAMESPACE}/{self.group}/{verb}/{self.node}"

    def of_device(self, verb: str, device: str) -> str:
        """Return a device's topic of `verb`: DBIRTH, DDEATH, DDATA or DCMD."""
        return f"{NAMESPACE}/{self.group}/{verb}/{self.node}/{device}"

    def device_of(self, topic: str) -> str | None:
        """Return the device that a DCMD topic names, None for any other topic."""
        head = self.of_device("DCMD", "")
        return topic[len(head) :] if topic.startswith(head) and len(topic) > len(head) else None


def state_topic(host: str) -> str:
    """Return where the host `host` says whether it is online."""
    return f"{NAMESPACE}/STATE/{host}"
