"""A PostgreSQL server of our own, in a temporary folder, on a Unix socket: for tests and measurements.

The server refuses to run as root, so a root who tests runs it as ``nobody``. Nothing of it is left.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.rig import wait_until

USER: Final = "surface"
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
_ROOM: Final = 400 << 20
_PLACES: Final = ("/usr/lib/postgresql", "/usr/pgsql", "/usr/local/pgsql")


def postgres_folder() -> Path | None:
    """Return where the newest server's programs are, None where there is none; Debian hides them."""
    found = [Path(name).parent for name in (shutil.which("initdb"),) if name is not None]
    for place in _PLACES:
        found += sorted(Path(place).glob("*/bin"), key=lambda path: int(path.parent.name.split(".")[0]))
    return next((path for path in reversed(found) if (path / "postgres").exists()), None)


class Postgres:
    """A server; `start` may be called again after `kill`. `in_memory` spares the disk where there is room."""

    def __init__(self, *, in_memory: bool = False) -> None:
        in_memory = in_memory and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
        programs = postgres_folder()
        if programs is None:
            raise FileNotFoundError("PostgreSQL is not installed")
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="dsr-postgres-", dir=_MEMORY if in_memory else None))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0
        words = [
            "initdb",
            "--auth=trust",
            f"--username={USER}",
            "--no-locale",
            "--encoding=UTF8",
            "--no-sync",
        ]
        self._run(*words, f"--pgdata={self.folder / 'data'}")

    def start(self) -> Postgres:
        """Start it and wait until it answers."""
        settings = (
            "listen_addresses=",
            "shared_buffers=16MB",
            "max_connections=20",
            "deadlock_timeout=200ms",
        )
        words = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder)]
        words += [word for setting in settings for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, cwd=self.folder, **self._as)
        wait_until(self._answers, timeout=60, what=f"PostgreSQL (log {self.folder / 'log'}) answering")
        return self

    def new_database(self) -> str:
        """Make an empty database; return its URL."""
        self._number += 1
        name = f"mine{self._number}"
        self._run("createdb", "-h", str(self.folder), "-U", USER, name)
        return f"postgresql://{USER}@/{name}?host={self.folder}"

    def kill(self) -> None:
        """End it as a power cut would end its processes; they are gone when this returns."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """End it, and remove its folder."""
        self._end(signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def _answers(self) -> bool:
        words = [str(self._programs / "pg_isready"), "-q", "-h", str(self.folder)]
        return subprocess.run(words, check=False, cwd=self.folder, **self._as).returncode == 0

    def _run(self, program: str, *words: str) -> None:
        command = [str(self._programs / program), *words]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **self._as)
