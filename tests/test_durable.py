"""A file is replaced as a whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from edge_app.durable import write_durably

if TYPE_CHECKING:
    from pathlib import Path


def test_file_is_replaced_and_private(tmp_path: Path) -> None:
    """The new content, readable by its owner alone, and nothing beside it."""
    path = tmp_path / "note.json"
    path.write_bytes(b"old")
    write_durably(path, b"new")
    assert (b"new", 0o600) == (path.read_bytes(), path.stat().st_mode & 0o777)
    assert ["note.json"] == [one.name for one in tmp_path.iterdir()]


def test_what_was_there_stays_where_the_disk_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error is raised, the old content is still there, and no half-written file is left."""
    path = tmp_path / "note.json"
    path.write_bytes(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"new")
    assert b"old" == path.read_bytes()
    assert ["note.json"] == [one.name for one in tmp_path.iterdir()]
