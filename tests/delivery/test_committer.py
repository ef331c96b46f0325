"""Group commit: when a group is closed, what does not wait, what a full disk does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from edge_app.delivery.committer import Committer, Submission
from edge_app.errors import OutboxFull

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_app.delivery.event import Draft
    from edge_app.delivery.outbox import Outbox

MS = 1_000_000


@pytest.fixture
def outbox(open_outbox: Callable[..., Outbox]) -> Outbox:
    """Return an open outbox."""
    return open_outbox()


@pytest.fixture
def released() -> list[int]:
    """Return where the places given free are counted."""
    return []


@pytest.fixture
def committer(outbox: Outbox, clock: Any, released: list[int]) -> Committer:
    """Return a committer whose clock stands still."""

    def draft(_event: object) -> Draft:
        raise AssertionError("no loss was expected")

    return Committer(outbox=outbox, clock=clock, draft=draft, release=lambda: released.append(1))


def test_group_waits_five_milliseconds_and_an_alarm_does_not(
    committer: Committer, clock: Any, make_draft: Callable[..., Draft]
) -> None:
    """An alarm takes along what waits."""
    assert (None, False) == (committer.due_in_ns(clock.now_ns), committer.is_due(clock.now_ns))
    committer.add(Submission(draft=make_draft()))
    assert (5 * MS, False) == (committer.due_in_ns(clock.now_ns), committer.is_due(clock.now_ns))
    assert committer.is_due(clock.now_ns + 5 * MS)
    committer.add(Submission(draft=make_draft("alarm")))
    assert committer.is_due(clock.now_ns)
    assert ({0, 3}, 0) == (committer.commit(clock.now_ns), committer.waiting)


def test_flush_closes_the_group_and_is_answered_after_the_commit(
    committer: Committer, clock: Any, make_draft: Callable[..., Draft]
) -> None:
    """At once when nothing waits; not before when something does."""
    nothing, something = threading.Event(), threading.Event()
    committer.flush(nothing)
    assert nothing.is_set()
    for _ in range(700):
        committer.add(Submission(draft=make_draft()))
    committer.flush(something)
    assert committer.is_due(clock.now_ns)
    committer.commit(clock.now_ns)
    assert (200, False) == (committer.waiting, something.is_set())
    committer.commit(clock.now_ns)
    assert something.is_set()


def test_what_the_disk_does_not_take_stays_in_order_and_is_tried_again(
    committer: Committer, outbox: Outbox, clock: Any, make_draft: Callable[..., Draft], released: list[int]
) -> None:
    """More and more rarely; nothing is given free before it is committed."""
    drafts = [make_draft() for _ in range(3)]
    for draft in drafts:
        committer.add(Submission(draft=draft))

    def full(*_: Any, **__: Any) -> list[int]:
        raise OutboxFull("disk full")

    patch = pytest.MonkeyPatch()
    patch.setattr(outbox, "append", full)
    waits = []
    for _ in range(8):
        assert set() == committer.commit(clock.now_ns)
        waits.append((committer.due_in_ns(clock.now_ns) or 0) // MS)
    assert [100, 200, 400, 800, 1600, 3200, 5000, 5000] == waits
    assert ([], "disk full") == (released, committer.last_error)
    patch.undo()
    assert {3} == committer.commit(clock.now_ns)
    assert ([d.event_id.bytes for d in drafts], 3, None) == (
        [row.event_id for row in outbox.page(3, after=0, limit=9)],
        len(released),
        committer.last_error,
    )


def test_a_spooled_file_that_cannot_be_deleted_is_not_sent_again(
    committer: Committer, clock: Any, make_draft: Callable[..., Draft], tmp_path: Path
) -> None:
    """Its event is committed; the file is remembered instead of being taken up again and again."""
    stuck = tmp_path / "stuck"
    stuck.mkdir()  # unlink() fails on a folder, also for root
    committer.add(Submission(draft=make_draft(), counted=False, spooled=stuck))
    clock.now_ns += 50 * MS
    committer.commit(clock.now_ns)
    assert (0, True) == (committer.waiting, committer.holds(stuck))
