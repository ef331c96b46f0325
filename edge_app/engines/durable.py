"""Replace a file so that a power cut leaves the old one or the new one, never half of either."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from edge_app.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path


def replace_durably(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` aside, sync it, rename it to `path`, and sync the folder.

    Raises:
        ModelError: the folder or the disk does not take it; what was at `path` is still there.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # there may be no folder at all
            aside.unlink()
        raise ModelError(
            f"{path} cannot be written: {error.strerror or error}",
            fix="make the folder writable for this user, or free space, or choose another folder",
        ) from error


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
