"""What a run was told beside its recipe, kept in its folder: `resume` goes on with the same photos and time.

A folder holds one run. Whoever begins another in it would write over the first one's checkpoint, and whoever
goes on with other photos would train on targets that the optimiser has never seen: both are refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from dsr_inception.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CHECKPOINT: Final = "checkpoint.npz"
RECORD: Final = "run.json"


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
        TrainingError: there is no run to `resume`, or one where another should begin, or the record is
            damaged.
    """
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


def names_hash(names: Sequence[str]) -> str:
    """Return a hash of the photos' names in their order, hexadecimal."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
