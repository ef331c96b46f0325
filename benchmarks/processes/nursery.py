"""Processes that start at once, to be killed by the hundred: a parent with everything imported forks them.

::

    whoever kills --(one JSON line a start)--> nursery --fork--> box, surface, ...

A fresh interpreter needs most of a second of CPU time to import what it needs; a fork of one that has done so
needs milliseconds. Each child is a process of its own and dies like any other; the nursery ends with whoever
kills, and the children with the nursery, so that a run that is itself killed leaves none behind.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
_POLL_S: Final = 0.005
#: Of prctl(2): the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG: Final = 1


class Forked:
    """A child of the nursery: enough of `subprocess.Popen` to end it and to know that it has ended."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        """End it without warning."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing if it is gone."""
        if self.is_alive():
            os.kill(self.pid, number)

    def is_alive(self) -> bool:
        """Return whether it is there; the nursery leaves no zombies."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def wait(self, timeout: float) -> None:
        """Wait for its end.

        Raises:
            TimeoutError: it did not end in time.
        """
        deadline = time.monotonic() + timeout
        while self.is_alive():
            if time.monotonic() > deadline:
                msg = f"process {self.pid} did not end within {timeout:.0f} s"
                raise TimeoutError(msg)
            time.sleep(_POLL_S)


class Nursery:
    """The parent; started at the first `fork`, ended with this process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._gate = threading.Lock()

    def fork(self, what: str, words: list[str], *, output: Path | None = None) -> Forked:
        """Start ``box`` or ``surface`` with the command line `words`; what it prints goes to `output`."""
        request = {"what": what, "words": words, "output": str(output or os.devnull)}
        with self._gate:
            process = self._started()
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("the nursery has no pipes")
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            return Forked(int(process.stdout.readline()))

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.processes.nursery"],
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            atexit.register(self.close)
        return self._process

    def close(self) -> None:
        """End the parent, and with it the children that are still there."""
        if self._process is not None:
            self._process.communicate(timeout=10)
            self._process = None


NURSERY: Final = Nursery()


def main() -> None:
    """Fork what is asked for until the input ends."""
    from benchmarks.processes import box
    from surface import cli

    libc = ctypes.CDLL(None, use_errno=True)
    works: dict[str, Any] = {"box": box.main, "surface": cli.main}
    importlib.import_module("surface.consumer")  # which its command line imports only when it is used
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it ended in between
                os._exit(1)
            _live(works[request["what"]], request["words"], request["output"])
        print(pid, flush=True)


def _live(work: Any, words: list[str], output: str) -> None:
    """Be the child: own output, and never return into the parent's loop."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        quiet = os.open(os.devnull, os.O_RDWR)
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(quiet, 0)
        os.dup2(out, 1)
        os.dup2(quiet, 2)
        status = work(words) or 0
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
