"""Every error the box raises on purpose, in one tree, each with a stable code.

::

    DsrError                    code    exit
    ├── AccessError             DSR-0xx   2   a file that whoever runs this may not use
    ├── ConfigError             DSR-1xx   2   the configuration cannot be used as written
    ├── SourceError             DSR-2xx   3   a camera or a file gives no picture
    │   └── SourceLost                        it did, and stopped: retried with jitter
    ├── PhotoError              DSR-3xx   2   a photo cannot be used to register somebody
    ├── ModelError              DSR-4xx   4   a model file is missing, altered or does not fit
    │   ├── PreprocessMismatch                made with another preprocessing: never loaded
    │   ├── NotSigned                         an engine that no trusted key signed: never loaded
    │   ├── BuildFailed                       a builder gave no engine
    │   └── NotInt8                           an engine that is INT8 in name only
    ├── GalleryError            DSR-5xx   5   the register of people cannot be read or changed
    ├── OutboxError             DSR-6xx   6   the store of events cannot be used
    │   ├── OutboxLocked                      another process owns it
    │   ├── OutboxFull                        no room, even after eviction: retried
    │   └── OutboxCorrupt                     its file is damaged: quarantined and salvaged
    └── LinkError               DSR-7xx   7   the broker refused, or cannot be reached: retried

A message says what happened, what was received and what to do about it. What may be retried is a
type: `SourceLost`, `OutboxFull`, `OutboxCorrupt` and `LinkError` carry ``retryable = True``.
"""

from __future__ import annotations

import errno
import pwd
from pathlib import Path
from typing import ClassVar


class DsrError(Exception):
    """Base of all errors that the box raises on purpose.

    Args:
        what: what happened and what was received.
        fix: what to do about it; shown on a line of its own.
    """

    code: ClassVar[str] = "DSR-000"
    exit_status: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        """Return ``[code] what`` and, where there is one, the fix on the next line."""
        head = f"[{self.code}] {self.what}"
        return f"{head}\n  fix: {self.fix}" if self.fix else head


class AccessError(DsrError):
    """A file or folder that whoever runs this may not use, or that cannot be used at all."""

    code = "DSR-001"
    exit_status = 2

    @classmethod
    def of(cls, error: OSError) -> AccessError:
        """Return what the operating system said, with what to do about it."""
        what = error.strerror or type(error).__name__
        if not error.filename:
            return cls(what, fix="see docs/troubleshooting.md")
        path = Path(str(error.filename))
        return cls(f"{path} cannot be used: {what}", fix=remedy(error, path))


def is_full(error: OSError) -> bool:
    """Return whether the disk, or what of it this user may have, is full."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


def remedy(error: OSError, path: Path) -> str:
    """Return what to do about `error` of the operating system at `path`."""
    number = error.errno
    if is_full(error):
        return "free space on its disk"
    if number == errno.EROFS:
        return "its disk is mounted read-only: mount it writable, and look into the system's log for why"
    if number not in {errno.EACCES, errno.EPERM}:
        return "check the path"
    for there in (path, *path.parents):
        try:
            owner = there.stat().st_uid
        except OSError:  # not to be seen either; whoever owns what is above it owns it too
            continue
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:  # a user of another machine or of a container
            name = f"#{owner}"
        return f"run it as the user whom it belongs to: sudo -u {name} ..."
    return "run it as the user whom it belongs to"


class ConfigError(DsrError):
    """The configuration cannot be used as written."""

    code = "DSR-100"
    exit_status = 2


class SourceError(DsrError):
    """A camera, a file or a folder gives no picture."""

    code = "DSR-200"
    exit_status = 3


class SourceLost(SourceError):
    """A source that gave pictures stopped giving them; opening it again may help."""

    code = "DSR-201"
    retryable = True


class PhotoError(DsrError):
    """A photo cannot be used to register somebody."""

    code = "DSR-300"
    exit_status = 2


class ModelError(DsrError):
    """A model file is missing, altered, or does not fit its manifest."""

    code = "DSR-400"
    exit_status = 4


class PreprocessMismatch(ModelError):
    """An artefact was made with another preprocessing than this program's."""

    code = "DSR-401"


class NotSigned(ModelError):
    """An engine's manifest carries no signature of a key that this box trusts."""

    code = "DSR-402"


class BuildFailed(ModelError):
    """The builder gave no engine; `out_of_memory` says whether less workspace may help."""

    code = "DSR-410"

    def __init__(self, what: str, *, fix: str = "", out_of_memory: bool = False) -> None:
        super().__init__(what, fix=fix)
        self.out_of_memory = out_of_memory


class NotInt8(ModelError):
    """An engine that should compute in INT8 does not, or does where it should not."""

    code = "DSR-411"


class GalleryError(DsrError):
    """The register of people cannot be read or changed."""

    code = "DSR-500"
    exit_status = 5


class OutboxError(DsrError):
    """The store of events cannot be used."""

    code = "DSR-600"
    exit_status = 6


class OutboxLocked(OutboxError):
    """Another process owns the outbox."""

    code = "DSR-601"


class OutboxFull(OutboxError):
    """There is no room for the event, even after eviction."""

    code = "DSR-602"
    retryable = True


class OutboxCorrupt(OutboxError):
    """The outbox's file is damaged; it is set aside and what can be read is taken over."""

    code = "DSR-603"
    retryable = True


class LinkError(DsrError):
    """The broker refused, or cannot be reached."""

    code = "DSR-700"
    exit_status = 7
    retryable = True
