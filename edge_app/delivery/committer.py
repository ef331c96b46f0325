"""Group commit: events that come close together share one synchronisation of the disk.

A group waits as long as the last commit took, but at least 5 and at most 50 ms: a slow disk gets
larger groups by itself. An alarm does not wait, and takes along what does. What the disk does not take
stays here, in order, and is tried again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from edge_app.delivery.event import ALARM
from edge_app.errors import OutboxFull
from edge_app.records import Event

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from edge_app.clock import Clock
    from edge_app.delivery.event import Draft
    from edge_app.delivery.outbox import Outbox
    from edge_app.delivery.tables import Loss

_LOG = structlog.get_logger(__name__)

_SHORTEST_NS: Final = 5_000_000
_LONGEST_NS: Final = 50_000_000
_GROUP: Final = 500
_RETRY_FIRST_NS: Final = 100_000_000
_RETRY_MAX_NS: Final = 5_000_000_000


@dataclass(frozen=True, slots=True)
class Submission:
    """An event on its way into the outbox; `counted` ones hold a place in the queue of submitters."""

    draft: Draft
    counted: bool = True
    spooled: Path | None = None


class Committer:
    """Commits submissions in groups.

    Args:
        outbox: where to.
        clock: monotonic time.
        draft: encodes the reports of losses.
        release: called once for every counted submission that is committed.
    """

    def __init__(
        self, *, outbox: Outbox, clock: Clock, draft: Callable[[Event], Draft], release: Callable[[], None]
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._draft = draft
        self._release = release
        self._pending: deque[Submission] = deque()
        self._flushing: deque[tuple[int, threading.Event]] = deque()
        self._urgent = False
        self._oldest_ns = 0
        self._wait_ns = _SHORTEST_NS
        self._retry_at = 0
        self._retry_ns = _RETRY_FIRST_NS
        self._added = self._taken = 0
        self._undeletable: set[Path] = set()
        self.first_seq = outbox.next_seq
        self.committed = 0
        self.lost = 0
        self.last_error: str | None = None

    @property
    def waiting(self) -> int:
        """How many submissions are not committed."""
        return len(self._pending)

    def holds(self, path: Path) -> bool:
        """Return whether the spooled file at `path` waits to be committed, or was and cannot be deleted."""
        return path in self._undeletable or any(one.spooled == path for one in self._pending)

    def add(self, submission: Submission) -> None:
        """Take a submission."""
        if not self._pending:
            self._oldest_ns = self._clock.mono_ns()
        self._pending.append(submission)
        self._added += 1
        self._urgent = self._urgent or submission.draft.priority == ALARM

    def flush(self, done: threading.Event) -> None:
        """Set `done` when everything taken so far is committed, and do not wait for a group."""
        self._flushing.append((self._added, done))
        self._urgent = True
        self._flushed()

    def due_in_ns(self, now: int) -> int | None:
        """Return the time until the next commit, None if nothing waits."""
        if not self._pending:
            return None
        at = now if self._urgent or len(self._pending) >= _GROUP else self._oldest_ns + self._wait_ns
        return max(at, self._retry_at) - now

    def is_due(self, now: int) -> bool:
        """Return whether to commit now."""
        due = self.due_in_ns(now)
        return due is not None and due <= 0

    def commit(self, now: int) -> set[int]:
        """Commit one group; return the priorities that it had. What fails stays, to be tried again.

        Raises:
            OutboxCorrupt: the file is damaged.
        """
        group = [self._pending[i] for i in range(min(_GROUP, len(self._pending)))]
        if not self._append([one.draft for one in group], (), now):
            return set()
        for one in group:
            self._pending.popleft()
            if one.counted:
                self._release()
            if one.spooled is not None:
                self._unspool(one.spooled)
        self._taken += len(group)
        self._oldest_ns = now
        self._urgent = any(one.draft.priority == ALARM for one in self._pending)
        self._flushed()
        return {one.draft.priority for one in group}

    def _unspool(self, path: Path) -> None:
        """Delete a spooled file whose event is committed; one that stays is remembered, not sent again."""
        try:
            path.unlink()
        except OSError as error:
            self._undeletable.add(path)
            _LOG.warning("spool_not_deleted", file=str(path), reason=error.strerror, fix="delete it by hand")

    def report_losses(self, now: int) -> set[int]:
        """Commit a ``gap`` event for every loss that has none; return the priorities that this made."""
        if now < self._retry_at:
            return set()
        losses = self._outbox.unreported()
        if not losses:
            return set()
        drafts = [self._draft(_gap(loss, now)) for loss in losses]
        if not self._append(drafts, [loss.id for loss in losses], now):
            return set()
        self.lost += sum(loss.n or 0 for loss in losses)
        for loss in losses:
            _LOG.warning(
                "events_lost", n=loss.n, reason=loss.reason, from_seq=loss.from_seq, to_seq=loss.to_seq
            )
        return {ALARM}

    def _append(self, drafts: list[Draft], losses: tuple[int, ...] | list[int], now: int) -> bool:
        try:
            self._outbox.append(drafts, losses=losses)
        except OutboxFull as error:
            if self.last_error is None:
                _LOG.error("commit_failed", reason=error.what, fix=error.fix)
            self.last_error = error.what
            self._retry_at = now + self._retry_ns
            self._retry_ns = min(2 * self._retry_ns, _RETRY_MAX_NS)
            return False
        if self.last_error is not None:
            _LOG.warning("commits_again", events=len(drafts))
        self.committed += len(drafts)
        self.last_error = None
        self._retry_at, self._retry_ns = 0, _RETRY_FIRST_NS
        self._wait_ns = min(max(self._clock.mono_ns() - now, _SHORTEST_NS), _LONGEST_NS)
        return True

    def _flushed(self) -> None:
        while self._flushing and self._flushing[0][0] <= self._taken:
            self._flushing.popleft()[1].set()


def _gap(loss: Loss, now: int) -> Event:
    data = {
        "from_seq": loss.from_seq,
        "to_seq": loss.to_seq,
        "lost": loss.n,
        "reason": loss.reason,
        "lost_kinds": loss.kinds,
    }
    return Event(kind="gap", mono_ns=now, data=data)
