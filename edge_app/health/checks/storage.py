"""The outbox: its folder can be written, its disk has room, and what waits in it."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from edge_app.errors import is_full
from edge_app.health.doctor import fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_app.config import Config
    from edge_app.health.doctor import Finding

DISK: Final = "disk"
OUTBOX: Final = "outbox"
_MB: Final = 1_000_000
_BLOCK: Final = b"\0" * 4096
_SLOW_SYNC_MS: Final = 100.0
_SYNCS: Final = 5
_MANY: Final = 10_000
#: Why events are parked (`delivery/parking.py`), and what to do.
_PARKED: Final = {
    "denied": (
        "the broker refused them",
        "give the box's user the right to publish below its own topics (docs/deployment.md)",
    ),
    "unfit": ("the broker takes none of that size or form", "raise the broker's limits (max_packet_size)"),
    "suspect": (
        "the connection ended each time, or a consumer receipts others and not these",
        "look into the logs of the broker and of the consumers for what they say of them",
    ),
    "foreign": (
        "they were recorded when the box had another site or node",
        "set the name back until they are delivered, or `dsr-edge outbox export` and `dsr-surface import`",
    ),
}
#: Less room than this, and a write-ahead log cannot be written back.
_LEAST_MB: Final = 4.0


def check_disk(config: Config) -> Iterator[Finding]:
    """Write and sync a small file beside the outbox, and compare the free space with its bound."""
    folder = _existing(config.delivery.outbox.parent)
    try:
        sync_ms = _write_test(folder)
    except OSError as error:
        yield fail(
            DISK,
            f"cannot write into {folder} ({error.strerror})",
            fix=f"free space: du -xh {folder} | sort -h | tail"
            if is_full(error)
            else "mount it writable and give it to the daemon's user: "
            "systemd-tmpfiles --create dsr-edge.conf; then run doctor as that user: sudo -u dsr-edge",
        )
        return
    disk = os.statvfs(folder)
    free_mb, bound_mb = disk.f_bavail * disk.f_frsize / _MB, config.delivery.max_mb
    have_mb = _size_mb(config.delivery.outbox)
    if free_mb < _LEAST_MB:
        yield fail(
            DISK,
            f"{free_mb:.1f} MB free in {folder}: events cannot be stored",
            fix=f"free space: du -xh {folder} | sort -h | tail; the outbox may grow to {bound_mb} MB",
        )
    elif free_mb + have_mb < bound_mb:
        yield warn(
            DISK,
            f"{free_mb:.0f} MB free in {folder}, but the outbox may grow to {bound_mb} MB",
            fix=f"free space, or set delivery.max_mb below {free_mb + have_mb:.0f}",
        )
    else:
        yield ok(DISK, f"{folder}: {free_mb:.0f} MB free, a durable write takes {sync_ms:.1f} ms")
    if sync_ms > _SLOW_SYNC_MS:
        yield warn(
            DISK,
            f"a durable write takes {sync_ms:.0f} ms",
            fix="put the outbox on a better medium: a worn SD card is the usual reason",
        )


def check_outbox(config: Config) -> Iterator[Finding]:
    """Say who owns the outbox and how many events wait in it.

    Raises:
        OutboxError: it is damaged or cannot be read.
    """
    from edge_app.delivery.database import open_for_reading
    from edge_app.delivery.files import SequenceCeiling
    from edge_app.delivery.lock import is_owned, owner

    path = config.delivery.outbox
    if not path.exists() and (given := SequenceCeiling(path).value):
        yield fail(
            OUTBOX,
            f"none at {path}, but events up to number {given} at most were recorded in one there",
            fix="find out who removed it; what waited in it is lost: the daemon reports a gap at its start",
        )
        return
    if not path.exists():
        yield ok(OUTBOX, f"none at {path} yet: the daemon makes it at its first start")
        return
    with closing(open_for_reading(path)) as db:
        waiting = int(db.execute("SELECT COALESCE(SUM(n), 0) FROM tally").fetchone()[0])
        why = db.execute(
            "SELECT substr(parked, 1, instr(parked, ':') - 1), COUNT(*) FROM outbox"
            " WHERE parked IS NOT NULL GROUP BY 1"
        )
        parked = dict(why.fetchall())
    who = f"process {owner(path)} owns it" if is_owned(path) else "no daemon runs"
    yield ok(OUTBOX, f"{path}: {who}, {waiting} events wait")
    for why, number in sorted(parked.items()):
        because, fix = _PARKED.get(why, _PARKED["denied"])
        yield warn(OUTBOX, f"{number} events are parked: {because}", fix=fix)
    if waiting > _MANY:
        yield warn(
            OUTBOX,
            f"{waiting} events wait: they arrive faster than they are delivered or receipted",
            fix="see what doctor says about the broker, and whether every required consumer runs",
        )
    if not config.delivery.consumers:
        yield ok(OUTBOX, "no consumer sends receipts: the guarantee ends at the broker")


def _existing(folder: Path) -> Path:
    """Return `folder`, or the nearest one above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _write_test(folder: Path) -> float:
    """Return the median time of a few durable writes in milliseconds."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
        for _ in range(_SYNCS):
            start = time.perf_counter()
            file.write(_BLOCK)
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - start) * 1000)
    return sorted(times)[_SYNCS // 2]


def _size_mb(path: Path) -> float:
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists()) / _MB
