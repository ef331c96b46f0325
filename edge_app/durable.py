"""Replace a file so that a power cut leaves the old one or the new one, never half of either.

The one place that does so; rooms that promise their own errors translate `OSError` (`engines.durable`).
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_durably(path: Path, content: bytes, *, mode: int = 0o600, for_owner: bool = False) -> None:
    """Replace the file at `path` as a whole: temporary file, sync, rename, sync of the folder.

    Args:
        path: in a folder that is there.
        content: all of it.
        mode: of the file, less what the process masks.
        for_owner: root gives the file to the owner of the folder, so that the service can read what an
            operator wrote with sudo.

    Raises:
        OSError: the folder or the disk does not take it; what was at `path` is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:  # writes on where the system took a part only
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if for_owner and os.geteuid() == 0:
            folder = path.parent.stat()
            os.chown(temporary, folder.st_uid, folder.st_gid)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # there may be no folder at all
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and new files in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
