"""What other threads ask of the ``recognise`` thread: a muster, another configuration, cards that were read.

That thread alone touches the presence ledger and the register, about once a second. Who asks lays the
request here and, where there is an answer, waits for it a few seconds.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_app.config import Config
    from edge_app.records import CardReading, PresenceSnapshot

#: How long an answer may take: the requests are looked at once a second.
_ANSWER_S: Final = 5.0
#: Messages of card readings that may wait for the next second.
_CARD_MESSAGES: Final = 1000

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class Inbox:
    """The requests that wait for the ``recognise`` thread."""

    def __init__(self) -> None:
        self._musters: queue.SimpleQueue[queue.SimpleQueue[PresenceSnapshot]] = queue.SimpleQueue()
        self._configs: queue.SimpleQueue[tuple[Config, threading.Event]] = queue.SimpleQueue()
        self._cards: queue.Queue[tuple[CardReading, ...]] = queue.Queue(_CARD_MESSAGES)
        self.cards_dropped = 0

    def muster_now(self) -> PresenceSnapshot | None:
        """Have a muster published and return it, None if that takes too long; any other thread."""
        answer: queue.SimpleQueue[PresenceSnapshot] = queue.SimpleQueue()
        self._musters.put(answer)
        try:
            return answer.get(timeout=_ANSWER_S)
        except queue.Empty:
            return None

    def take_over(self, config: Config) -> bool:
        """Have the live keys of `config` taken; returns whether they were in time; any other thread."""
        taken = threading.Event()
        self._configs.put((config, taken))
        return taken.wait(_ANSWER_S)

    def cards_arrived(self, readings: tuple[CardReading, ...]) -> None:
        """Hand over readings of cards; what cannot be taken is dropped and counted; any other thread."""
        try:
            self._cards.put_nowait(readings)
        except queue.Full:
            self.cards_dropped += 1
            if self.cards_dropped.bit_count() == 1:  # the 1st, 2nd, 4th ...: a flood fills no disk
                _log.warning("card_readings_dropped", messages=self.cards_dropped, waiting=_CARD_MESSAGES)

    def musters(self) -> list[queue.SimpleQueue[PresenceSnapshot]]:
        """Return where the musters that were asked for go."""
        return list(_waiting(self._musters))

    def configs(self) -> Iterator[tuple[Config, threading.Event]]:
        """Yield each configuration, with what is to be set once it is taken."""
        return _waiting(self._configs)

    def cards(self) -> Iterator[tuple[CardReading, ...]]:
        """Yield each message's readings."""
        return _waiting(self._cards)


def _waiting(of: queue.SimpleQueue[T] | queue.Queue[T]) -> Iterator[T]:
    """Yield what waits now; what comes meanwhile waits for the next time."""
    for _ in range(of.qsize()):
        yield of.get()
