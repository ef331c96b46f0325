"""Once, through restarts and whatever becomes of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_app.commands.counters import Counters
from edge_app.commands.signed import CommandRefused

if TYPE_CHECKING:
    from pathlib import Path


def reason_of(counters: Counters, key: str, counter: int) -> str:
    """Return why a counter is not taken."""
    with pytest.raises(CommandRefused) as caught:
        counters.take(key, counter)
    return caught.value.reason


def test_a_counter_is_taken_once_and_only_upwards(tmp_path: Path) -> None:
    """Each key has its own."""
    counters = Counters(tmp_path / "c")
    counters.take("a", 5)
    counters.take("b", 1)

    assert ["replayed", "replayed", "replayed"] == [
        reason_of(counters, *c) for c in (("a", 5), ("a", 4), ("b", 1))
    ]
    counters.take("a", 6)


def test_it_is_on_disk_when_it_is_taken(tmp_path: Path) -> None:
    """The next start knows it."""
    Counters(tmp_path / "c").take("a", 5)

    assert "replayed" == reason_of(Counters(tmp_path / "c"), "a", 5)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a":"5"}', b'{"a":true}', b"\xff", b"[" * 5000])
def test_a_damaged_file_refuses_everything(tmp_path: Path, content: bytes) -> None:
    """Rather than obeying something twice."""
    (tmp_path / "c").write_bytes(content)

    assert "counter_not_stored" == reason_of(Counters(tmp_path / "c"), "a", 5)


def test_what_cannot_be_stored_is_not_obeyed(tmp_path: Path) -> None:
    """The folder has gone."""
    assert "counter_not_stored" == reason_of(Counters(tmp_path / "gone" / "c"), "a", 5)
