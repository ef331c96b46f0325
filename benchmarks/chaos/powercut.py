"""Simulated power cuts: record every write and sync of a real outbox, then cut the power anywhere.

A process that commits, delivers and evicts runs under a recorder (`record_writes.c`). For every cut the
files are built as a disk may have them at that moment: what was synchronised is there; of what was
written to a file after its last synchronisation any part may be there, in any order, pages torn at
sectors of 512 bytes. Then the outbox is opened as after a boot. Every event that was committed before
the cut and not removed must be there, byte for byte, and the database must be sound.

The process says what it committed by appending to a file of its own in the same recorded stream, so
that "before the cut" has a meaning. A control with ``synchronous=NORMAL`` must lose events.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
_HEAD: Final = struct.Struct("<5q")
_WRITE, _TRUNCATE, _SYNC, _UNLINK = 1, 2, 3, 4
_SECTOR: Final = 512
_TORN: Final = 0.4
_SAID: Final = "said"

#: Commits groups of 1 to 30 events and deletes some; says "+seq" after a commit, "-seq" before a deletion.
_WORKLOAD: Final = """
import os, random, sys
from pathlib import Path
from edge_app.delivery.event import Draft
from edge_app.delivery.options import OutboxOptions
from edge_app.delivery.outbox import Outbox
from edge_app.delivery.uuid7 import Uuid7Maker
folder, steps, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng, ids = random.Random(seed), Uuid7Maker()
said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT, 0o600)
outbox = Outbox(options=OutboxOptions(path=folder / "outbox.db", max_mb=64))
outbox._db.execute("PRAGMA synchronous=" + sys.argv[4])
def draft():
    head = b'{"seq":' ; tail = b',"x":"' + b"y" * rng.randrange(100, 900) + b'"}'
    rest = {"mono_ns": 1, "wall_ms": 1, "alarm": None, "head": head, "tail": tail}
    return Draft(event_id=ids.make(ms=5), kind="sighting", priority=rng.randrange(4), **rest)
held, lost = [], 0
for _ in range(steps):
    held += (new := outbox.append([draft() for _ in range(rng.randint(1, 30))]))
    os.write(said, "".join(f"+{n}\\n" for n in new).encode())
    if rng.random() < 0.4:
        gone = rng.sample(held, min(len(held), rng.randint(1, 40)))
        os.write(said, "".join(f"-{n}\\n" for n in gone).encode())
        outbox.remove(gone)
        held = [n for n in held if n not in set(gone)]
"""


@dataclass(frozen=True)
class Found:
    """What the cuts showed."""

    cuts: int
    operations: int
    syncs: int
    committed: int
    lost: int
    damaged: int


@dataclass(frozen=True)
class _Operation:
    kind: int
    name: str
    offset: int
    data: bytes


def impossible() -> str:
    """Return why it cannot be done on this machine, empty if it can."""
    return "" if shutil.which("cc") or shutil.which("gcc") else "there is no C compiler for the recorder"


def run(folder: Path, *, cuts: int, seed: int, steps: int = 150, synchronous: str = "FULL") -> Found:
    """Record once, cut `cuts` times.

    With `synchronous` NORMAL, which the outbox does not use, events must be lost: that shows that the
    cuts cut.
    """
    folder.mkdir()
    operations = _recorded(folder, steps, seed, synchronous)
    rng = random.Random(seed)  # noqa: S311 - a seed makes it repeatable
    committed = lost = damaged = 0
    for _ in range(cuts):
        at = rng.randrange(len(operations)) + 1
        image = folder / "image"
        shutil.rmtree(image, ignore_errors=True)
        image.mkdir()
        expected = _build(operations[:at], image, rng)
        committed += len(expected)
        sound, present = _open(image)
        damaged += not sound
        lost += len(expected - present)
    syncs = sum(operation.kind == _SYNC for operation in operations)
    return Found(cuts, len(operations), syncs, committed, lost, damaged)


def _recorded(folder: Path, steps: int, seed: int, synchronous: str) -> list[_Operation]:
    """Compile the recorder, run the workload under it, return what it did."""
    library, log, disk = folder / "recorder.so", folder / "log", folder / "disk"
    disk.mkdir()
    compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "record_writes.c"), "-ldl"],
        check=True,
    )
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "RECORD_FOLDER": str(disk),
        "RECORD_LOG": str(log),
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run(
        [sys.executable, "-c", _WORKLOAD, str(disk), str(steps), str(seed), synchronous],
        env=environment,
        check=True,
    )
    content, at, operations = log.read_bytes(), 0, []
    while at < len(content):
        kind, path_length, offset, length, _ = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        name = Path(content[at : at + path_length].decode()).name
        at += path_length
        operations.append(_Operation(kind, name, offset, content[at : at + length]))
        at += length
    if not any(o.kind == _SYNC and o.name.endswith("-wal") for o in operations):
        raise RuntimeError("the recorder saw no synchronisation of the log: nothing would be proved")
    return operations


def _build(operations: list[_Operation], image: Path, rng: random.Random) -> set[int]:
    """Write the files as a disk may have them after `operations`; return the events that must be there."""
    durable: dict[str, bytearray] = defaultdict(bytearray)
    pending: dict[str, list[_Operation]] = defaultdict(list)
    said = bytearray()
    for operation in operations:
        if operation.name == _SAID:
            said[operation.offset : operation.offset + len(operation.data)] = operation.data
        elif operation.kind == _SYNC:
            for waiting in pending.pop(operation.name, []):
                _apply(durable[operation.name], waiting)
        elif operation.kind == _UNLINK:
            durable.pop(operation.name, None)
            pending.pop(operation.name, None)
        else:
            pending[operation.name].append(operation)
    for name, waiting in pending.items():
        _maybe(durable[name], waiting, rng)
    for name, content in durable.items():
        if not name.endswith(("-shm", ".lock", ".tmp")):
            (image / name).write_bytes(bytes(content))
    expected: set[int] = set()
    for line in said.decode("ascii").split("\n")[:-1]:
        (expected.add if line[0] == "+" else expected.discard)(int(line[1:]))
    return expected


def _maybe(content: bytearray, waiting: list[_Operation], rng: random.Random) -> None:
    """Apply any part of what was not synchronised, in any order, torn at sectors."""
    chosen = [operation for operation in waiting if rng.random() < rng.choice([0.0, 0.5, 1.0])]
    rng.shuffle(chosen)
    for operation in chosen:
        if operation.kind == _WRITE and rng.random() < _TORN:
            for first in range(0, len(operation.data), _SECTOR):
                if rng.random() < _TORN:
                    piece = operation.data[first : first + _SECTOR]
                    _apply(content, _Operation(_WRITE, operation.name, operation.offset + first, piece))
        else:
            _apply(content, operation)


def _apply(content: bytearray, operation: _Operation) -> None:
    if operation.kind == _TRUNCATE:
        del content[operation.offset :]
        content.extend(bytes(operation.offset - len(content)))
        return
    if len(content) < operation.offset:
        content.extend(bytes(operation.offset - len(content)))
    content[operation.offset : operation.offset + len(operation.data)] = operation.data


def _open(image: Path) -> tuple[bool, set[int]]:
    """Open the outbox as after a boot; return whether the file is sound, and the numbers that are there."""
    from edge_app.delivery.options import OutboxOptions
    from edge_app.delivery.outbox import Outbox

    outbox = Outbox(options=OutboxOptions(path=image / "outbox.db", max_mb=64))
    try:
        rows = [row for priority in range(4) for row in outbox.page(priority, after=0, limit=100_000)]
        sound = all(row.body.startswith(b'{"seq":%d,' % row.seq) for row in rows)
    finally:
        outbox.close()
    connection = sqlite3.connect(image / "outbox.db")
    sound = sound and connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    sound = sound and not list(image.glob("*.corrupt-*"))
    return sound, {row.seq for row in rows}
