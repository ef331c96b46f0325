"""Replace an artefact's file durably, and say so as a `ModelError` where that does not work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_app.durable import write_durably
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path


def replace_durably(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` aside, sync it, rename it to `path`, and sync the folder, which is made.

    Raises:
        ModelError: the folder or the disk does not take it; what was at `path` is still there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content, mode=mode)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be written: {error.strerror or error}",
            fix="make the folder writable for this user, or free space, or choose another folder",
        ) from error
