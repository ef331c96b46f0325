"""One process owns an outbox."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from edge_app.cli.main import main
from edge_app.delivery.lock import OutboxLock, is_owned, lock_path, owner
from edge_app.errors import OutboxError, OutboxLocked

if TYPE_CHECKING:
    from pathlib import Path


def test_second_owner_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    """The message names the process; after release the outbox is free."""
    path = tmp_path / "outbox.db"
    lock = OutboxLock(path)
    assert (True, os.getpid()) == (is_owned(path), owner(path))
    with pytest.raises(OutboxLocked, match=f"process {os.getpid()}"):
        OutboxLock(path)
    lock.release()
    assert not is_owned(path)
    OutboxLock(path).release()


def test_lock_goes_with_its_killed_owner(tmp_path: Path) -> None:
    """After a kill -9 nothing has to be cleaned up."""
    path = tmp_path / "outbox.db"
    code = (
        "import sys, time, pathlib; from edge_app.delivery.lock import OutboxLock;"
        "lock = OutboxLock(pathlib.Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert "held\n" == holder.stdout.readline()
        with pytest.raises(OutboxLocked, match=f"process {holder.pid}"):
            OutboxLock(path)
        holder.kill()
    OutboxLock(path).release()


def test_whoever_asks_at_the_wrong_moment_keeps_no_daemon_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`doctor` or `emit` hold the lock for a moment to learn whether it is held; that is no owner."""
    path = tmp_path / "outbox.db"
    OutboxLock(path).release()
    with lock_path(path).open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        monkeypatch.setattr("time.sleep", lambda _: fcntl.flock(asking, fcntl.LOCK_UN))
        OutboxLock(path).release()


def test_lock_waits_for_a_command_that_ends_soon(tmp_path: Path) -> None:
    """Somebody sent a test event while the daemon loaded its models."""
    path = tmp_path / "outbox.db"
    command = OutboxLock(path)
    threading.Timer(0.5, command.release).start()
    OutboxLock(path, patience_s=10).release()


def test_a_second_daemon_is_refused_before_it_loads_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, and with the owner: here there are not even models to load."""
    config = tmp_path / "box.yaml"
    config.write_text(
        "box: {site: m, node: b}\ncameras: [{name: c, zone: z, source: {kind: file, path: no.mp4}}]\n"
        "delivery: {outbox: outbox.db, brokers: [{host: h}]}\n",
        encoding="utf-8",
    )
    lock = OutboxLock(tmp_path / "outbox.db")
    assert 6 == main(["run", "--config", str(config)])
    assert f"belongs to process {os.getpid()}" in capsys.readouterr().err
    lock.release()


def test_folder_that_does_not_exist_is_a_clear_error(tmp_path: Path) -> None:
    """Not a traceback, but what to do."""
    with pytest.raises(OutboxError, match=r"cannot be locked.*\n.*fix"):
        OutboxLock(tmp_path / "nowhere" / "outbox.db")
