"""The number of a connection: it survives restarts, and whatever becomes of its file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_app.sparkplug.bdseq import BdSeq

if TYPE_CHECKING:
    from pathlib import Path


def test_starts_at_zero_goes_up_by_one_and_wraps(tmp_path: Path) -> None:
    """0 to 255, and 0 again."""
    bdseq = BdSeq(tmp_path / "b")

    assert [*range(256), 0, 1] == [bdseq.take() for _ in range(258)]


def test_goes_on_after_a_restart(tmp_path: Path) -> None:
    """The next start takes the next number, also from 255."""
    first = BdSeq(tmp_path / "b")
    for _ in range(255):
        first.take()

    assert 255 == BdSeq(tmp_path / "b").take()
    assert 0 == BdSeq(tmp_path / "b").take()


def test_is_on_disk_before_it_is_used(tmp_path: Path) -> None:
    """A crash between the two costs a number and repeats none."""
    BdSeq(tmp_path / "b").take()

    assert "0\n" == (tmp_path / "b").read_text()


@pytest.mark.parametrize("content", [b"", b"x", b"-1", b"256", b"\xff\xfe", b"1" * 9000])
def test_a_damaged_file_starts_afresh(tmp_path: Path, content: bytes) -> None:
    """Nothing in it stops the plane."""
    (tmp_path / "b").write_bytes(content)

    assert 0 == BdSeq(tmp_path / "b").take()


def test_a_file_that_cannot_be_written_does_not_stop_the_plane(tmp_path: Path) -> None:
    """A full or a read-only disk: the number goes up in memory."""
    (tmp_path / "folder").write_text("a file where a folder should be")
    bdseq = BdSeq(tmp_path / "folder" / "b")

    assert [0, 1] == [bdseq.take(), bdseq.take()]
