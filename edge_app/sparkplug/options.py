"""What the Sparkplug plane is told: plain values, checked when made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_app.errors import ConfigError
from edge_app.records import NAME

if TYPE_CHECKING:
    from pathlib import Path

    from edge_app.delivery.options import BrokerOptions

#: An id of Sparkplug becomes part of a topic: no separator, no wildcard, nothing that cannot be seen.
SPARKPLUG_ID: Final = re.compile(r"[^+#/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]{1,64}")


@dataclass(frozen=True, slots=True)
class SparkplugOptions:
    """One edge node, and the cameras that are its devices, by name with their zone.

    `primary_host` None means that the node does not wait for a host. `bdseq` is the file that counts
    connections through restarts. `host_wait_s` bounds the wait for the primary host at one of several
    brokers; `history` how many changes are kept while there is nobody to tell them to.
    """

    group_id: str
    node: str
    cameras: tuple[tuple[str, str], ...]
    brokers: tuple[BrokerOptions, ...]
    bdseq: Path
    primary_host: str | None = None
    send_datatype: bool = True
    client_id: str = ""
    keepalive_s: int = 15
    connect_timeout_s: float = 5.0
    reconnect_max_s: float = 30.0
    host_wait_s: float = 30.0
    history: int = 10_000

    def __post_init__(self) -> None:
        """Refuse ids that would change a topic's meaning."""
        ids = {"sparkplug.group_id": self.group_id, "box.node": self.node}
        if self.primary_host is not None:
            ids["sparkplug.primary_host"] = self.primary_host
        for what, value in ids.items():
            if not SPARKPLUG_ID.fullmatch(value):
                raise ConfigError(
                    f"{what} is {value!r:.70}; it becomes part of an MQTT topic",
                    fix="use 1 to 64 characters without + # / and control characters",
                )
        for camera, _ in self.cameras:
            if not NAME.fullmatch(camera):
                raise ConfigError(f"camera {camera!r:.70} cannot be a device's id", fix="rename the camera")
        if not self.brokers:
            raise ConfigError("sparkplug has no broker", fix="give delivery.brokers at least one host")

    @property
    def mqtt_client_id(self) -> str:
        """The client id at the broker; never the lossless plane's, or they would displace each other."""
        return self.client_id or f"dsr-spb-{self.group_id}-{self.node}"
