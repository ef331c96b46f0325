"""What a run was told beside its recipe, kept in its folder: `resume` goes on with the same photos and time.

A folder holds one run. Whoever begins another in it would write over the first one's checkpoint, and whoever
goes on with other photos would train on targets that the optimiser has never seen: both are refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from dsr_inception.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CHECKPOINT: Final = "checkpoint.npz"
RECORD: Final = "run.json"
LOG: Final = "log.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What the command line said, None where it said nothing, and a hash of the photos' names."""

    photos: int | None = None
    minutes: float | None = None
    names: str | None = None

    def save(self, folder: Path) -> None:
        """Write it into `folder`."""
        (folder / RECORD).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def record_of(folder: Path, *, resume: bool) -> RunRecord:
    """Return what the run in `folder` was told; nothing where it has not begun, or wrote no record.

    Raises:
        TrainingError: `folder` is none, there is no run to `resume`, or one where another should begin, or
            the record is damaged.
    """
    if folder.exists() and not folder.is_dir():
        raise TrainingError(f"{folder} is no folder; give --out one, which is made where it is missing")
    has_run = (folder / CHECKPOINT).is_file()
    if resume and not has_run:
        raise TrainingError(f"there is no {CHECKPOINT} in {folder} to go on from; begin with `pretrain`")
    if has_run and not resume:
        raise TrainingError(f"{folder} holds a run already: go on with `resume`, or give another --out")
    try:
        return RunRecord(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return RunRecord()
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"{folder / RECORD} cannot be used: {error}; remove it") from error


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold `folder` for one process, which may tidy up in it and write checkpoints; a killed one lets go.

    Raises:
        TrainingError: another holds it.
    """
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                f"a run is going on in {folder}: wait for it, stop it (SIGTERM keeps a checkpoint), or give "
                "another --out"
            ) from error
        yield
    finally:
        os.close(held)


def tidy(folder: Path, steps: int) -> None:
    """Remove what a killed run left in `folder`: checkpoints half written, rows of the log after `steps`."""
    for left in folder.glob("checkpoint.*.npz"):
        left.unlink(missing_ok=True)
    path = folder / LOG
    head, *rows = (path.read_text(encoding="utf-8") if path.is_file() else "").splitlines() or [""]
    at, width = head.split(",").index("step") if rows else 0, head.count(",")
    kept = [row for row in rows if row.count(",") == width and int(row.split(",")[at]) <= steps]
    if not kept:
        path.unlink(missing_ok=True)
    elif len(kept) < len(rows):
        aside = path.with_suffix(".part")
        aside.write_text("\n".join([head, *kept]) + "\n", encoding="utf-8")
        aside.replace(path)


def names_hash(names: Sequence[str]) -> str:
    """Return a hash of the photos' names in their order, hexadecimal."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
