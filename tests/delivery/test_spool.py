"""The folder through which others hand events to the owner of the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from edge_app.delivery.spool import put, spool_path, take
from edge_app.errors import OutboxError
from edge_app.records import Event

if TYPE_CHECKING:
    from pathlib import Path

ID = UUID("0197c1e4-9d21-7c3a-8f21-5b1de0a4c901")


def test_what_is_put_is_taken_as_a_test_event_with_its_id(tmp_path: Path) -> None:
    """Whoever puts it: it is marked."""
    outbox = tmp_path / "outbox.db"
    put(outbox, Event(kind="test", mono_ns=1, camera="c", zone="z", data={"note": "n"}), event_id=ID)
    (found,), refused = take(outbox, now_ns=77)
    assert (ID, []) == (found.event_id, refused)
    assert Event(kind="test", mono_ns=77, camera="c", zone="z", data={"note": "n"}, test=True) == found.event


def test_no_folder_is_an_empty_spool(tmp_path: Path) -> None:
    """Nobody ever put anything."""
    assert ([], []) == take(tmp_path / "outbox.db", now_ns=1)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff", b'{"extra": 1}', b'{"data": 5}', b"[" * 60_000, b"x" * 70_000]
)
def test_rubbish_is_told_with_its_reason(content: bytes, tmp_path: Path) -> None:
    """And does not hide what is good."""
    outbox = tmp_path / "outbox.db"
    put(outbox, Event(kind="test", mono_ns=1), event_id=ID)
    bad = spool_path(outbox) / f"{UUID(int=5)}.json"
    bad.write_bytes(content)
    events, refused = take(outbox, now_ns=1)
    assert ([ID], [bad]) == ([one.event_id for one in events], [path for path, _ in refused])
    assert refused[0][1]


def test_name_that_is_no_id_is_refused(tmp_path: Path) -> None:
    """The name is the event's id."""
    outbox = tmp_path / "outbox.db"
    path = put(outbox, Event(kind="test", mono_ns=1), event_id=ID)
    path.rename(path.with_name("hello.json"))
    assert (0, 1) == tuple(len(found) for found in take(outbox, now_ns=1))


def test_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    """With what to do about it."""
    (tmp_path / "outbox.db.spool").write_text("", encoding="ascii")
    with pytest.raises(OutboxError, match=r"cannot be written: File exists\n.*check the path"):
        put(tmp_path / "outbox.db", Event(kind="test", mono_ns=1), event_id=ID)
