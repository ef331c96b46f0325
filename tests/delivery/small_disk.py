"""A disk of our own that can be filled: a tmpfs in a mount namespace, where the machine allows one."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def inside_of(disk: Path, *, mb: int = 40) -> list[str] | None:
    """Return the words before a command that is to find a disk of `mb` megabytes at `disk`.

    None, and a line on stderr, where this machine allows no mount: in CI a skipped test is a failure.
    """
    disk.mkdir()
    mount = f'mount -t tmpfs -o size={mb}m tmpfs {disk} && exec "$@"'
    words = ["unshare", "-rm", "sh", "-c", mount, "sh"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
        return words
    sys.stderr.write("this machine allows no mount namespace: nothing was tried on a full disk\n")
    return None
