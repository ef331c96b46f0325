"""A consumer of events for tests: over a real broker, with receipts when and as a test wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.rig import Watcher
from edge_app.delivery.receipts import make_receipt

if TYPE_CHECKING:
    from benchmarks.rig import Arrival

EVENTS = "mine/+/v1/+/evt/#"


class Consumer:
    """A consumer with a key; it receipts when told to, or, `at_once`, everything as it comes.

    Without `tokens` it is one of MQTT 3.1.1, which has no correlation data.
    """

    def __init__(
        self, port: int, *, name: str = "surface", key: str = "ab", at_once: bool = False, tokens: bool = True
    ) -> None:
        self._name, self._key, self._at_once, self._tokens = name, bytes.fromhex(key * 32), at_once, tokens
        self._hold: list[Watcher] = []
        self.watcher = Watcher(port, topic=EVENTS, hook=self._got, persistent=True)
        self._hold.append(self.watcher)
        for arrival in list(self.watcher.arrivals):
            self._got(arrival)

    def _got(self, arrival: Arrival) -> None:
        if self._at_once and self._hold:
            self.receipt([arrival.event["id"]], token=arrival.token if self._tokens else None)

    def receipt(self, ids: list[str], *, token: bytes | None = None, by: Watcher | None = None) -> None:
        """Receipt `ids`, as if they had come with `token`, through `by` (its own connection if None)."""
        payload = make_receipt(key=self._key, site="north", node="box-1", consumer=self._name, ids=ids)
        (by or self.watcher).publish("mine/north/v1/box-1/rcpt", payload, token=token)

    def tests(self) -> list[int]:
        """Return the numbers of the test events that came, each once."""
        return list(dict.fromkeys(e["seq"] for e in self.watcher.events() if e["kind"] == "test"))
