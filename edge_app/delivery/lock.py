"""One process owns an outbox: an advisory lock that the kernel drops when its holder dies.

The lock is on a file beside the database (``flock``), so that a `kill -9` leaves nothing behind to
clean up. The file holds the owner's process id, for the message to whoever comes second. Whoever deletes the
file deletes the lock: the owner looks (`lost`) and locks again (`retake`).
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from edge_app.delivery.files import file_id
from edge_app.errors import OutboxError, OutboxLocked

_PAUSES_S: Final = (0.02, 0.05, 0.1)
_LOOK_S: Final = 0.1


class OutboxLock:
    """Holds the lock of the outbox at `path` from construction until `release`.

    Args:
        path: the outbox.
        patience_s: how long to wait for another process to give it free.

    Raises:
        OutboxLocked: another process holds it; the message names it.
        OutboxError: the lock file cannot be made.
    """

    def __init__(self, path: Path, *, patience_s: float = 0.0) -> None:
        self._outbox, self._path = path, lock_path(path)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and is_owned(path):
            time.sleep(_LOOK_S)
        self._fd = self._take()

    def lost(self) -> bool:
        """Return whether the file at the path is no longer the one that is locked."""
        return file_id(self._path) != file_id(self._fd)

    def retake(self) -> None:
        """Lock the file at the path, where somebody deleted or replaced the one that is locked.

        Raises:
            OutboxLocked: somebody else has locked it meanwhile.
            OutboxError: the lock file cannot be made.
        """
        if self.lost():
            taken = self._take()
            self.release()
            self._fd = taken

    def _take(self) -> int:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OutboxError(
                f"the outbox cannot be locked: {self._path}: {error.strerror}",
                fix="make the folder writable for the daemon's user, or set delivery.outbox elsewhere",
            ) from error
        if not _locked(descriptor):
            os.close(descriptor)
            raise OutboxLocked(
                f"the outbox {self._outbox} belongs to {_describe(owner(self._outbox))}",
                fix="stop that process (systemctl stop dsr-edge), or give each daemon its own outbox",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        return descriptor

    def release(self) -> None:
        """Give the outbox free."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _locked(descriptor: int) -> bool:
    """Take the lock; whoever only asks whether it is held (`is_owned`) holds it for a moment, too."""
    for pause_s in (*_PAUSES_S, None):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # noqa: PERF203 - a few rounds at most
            if pause_s is not None:
                time.sleep(pause_s)
        else:
            return True
    return False


def lock_path(outbox: Path) -> Path:
    """Return the file whose lock stands for `outbox`."""
    return outbox.with_name(outbox.name + ".lock")


def owner(outbox: Path) -> int | None:
    """Return the process id of the last owner of `outbox`, None if it never had one."""
    try:
        return int(lock_path(outbox).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def is_owned(outbox: Path) -> bool:
    """Return whether a process owns `outbox` now."""
    try:
        descriptor = os.open(lock_path(outbox), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _describe(pid: int | None) -> str:
    if pid is None:
        return "another process"
    try:
        words = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        )
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({words:.80})" if words else f"process {pid}"
