from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from edge_app.identity.gallery import Gallery

WRITER = Path(__file__).with_name("power_cut_writer.py")
ROOT = Path(__file__).parents[2]


def _kill_a_writer(path: Path, seed: int, after_s: float) -> int:
    """Run the writer, kill it without warning, return the last version it reported as done."""
    with subprocess.Popen(
        [sys.executable, str(WRITER), str(path), str(seed)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()  # it works now; the kill comes at a random moment of its work
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        lines = (first + process.stdout.read()).splitlines()
    assert -signal.SIGKILL == process.returncode
    return int(lines[-1])


def _complete_version(path: Path) -> int:
    """Return the register's version after checking that no change is there by half."""
    gallery = Gallery(path=path)
    gallery.check()
    assert list(range(1, gallery.version + 1)) == [change[0] for change in gallery.changes()]
    balance: dict[str, int] = {}
    for _, what, ref, _ in gallery.changes():
        assert ref is not None
        balance[ref] = balance.get(ref, 0) + 3 if what == "add" else 0
    photos = {person.ref: len(person.photos) for person in gallery.people()}
    assert {ref: count for ref, count in balance.items() if count} == photos
    snapshot = gallery.snapshot(model_sha256="a" * 64, preprocess_sha256="b" * 64)
    assert sum(photos.values()) == len(snapshot.vectors)
    assert all(stored.crop is not None for stored in gallery.crops())
    return gallery.version


def test_killed_writer_leaves_whole_changes_only(tmp_path: Path) -> None:
    """Ten kills at random moments: every reported change is there, and none by half."""
    path = tmp_path / "people.db"
    moments = random.Random(7)
    for seed in range(10):
        reported = _kill_a_writer(path, seed, moments.uniform(0.0, 0.12))
        found = _complete_version(path)
        # The one change that was under way may be done without having been reported.
        assert reported <= found <= reported + 1
