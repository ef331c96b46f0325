"""The locks: what is installed where, by exact version and hash, from one resolution.

``locks/all.txt`` is the resolution: every extra of `pyproject.toml`, for every Python and machine
that the project serves. The others are parts of it, for machines that must stay light, made with the
first as constraint so that no version can differ; a test compares them. The Jetson's is a resolution
of its own, because JetPack 6's OpenCV needs ``numpy<2`` and brings its runtime with it.

No registry's address stands in a lock: pip asks the one that the machine is set up for, and the
hashes say whether the answer is right.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

ALL: Final = "locks/all.txt"
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;\s*([^\\]*?))?\s*\\?$")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class LockSpec:
    """How one lock is made: its path, the extras in it, and the file that constrains it."""

    path: str
    extras: tuple[str, ...]
    constraint: str
    why: str


LOCKS: Final = (
    LockSpec(ALL, ("test",), "locks/constraints.txt", "everything, training included. The resolution."),
    LockSpec(
        "locks/box.txt",
        ("cpu", "sparkplug"),
        ALL,
        "a box without JetPack, and nothing more. Part of all.txt.",
    ),
    LockSpec("locks/demo.txt", ("cpu", "demo", "build"), ALL, "`python3 run.py demo`. Part of all.txt."),
    LockSpec(
        "locks/jetson.txt",
        ("sparkplug", "engine"),
        "locks/jetson-constraints.txt",
        "a Jetson, in an environment with --system-site-packages: OpenCV and TensorRT are JetPack's.",
    ),
)


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of a lock: name, version, environment marker (may be empty) and hashes."""

    name: str
    version: str
    marker: str
    hashes: frozenset[str]

    @property
    def requirement(self) -> str:
        """The pin as a line of a requirements file, with its hashes."""
        marker = f" ; {self.marker}" if self.marker else ""
        hashes = "".join(f" --hash=sha256:{digest}" for digest in sorted(self.hashes))
        return f"{self.name}=={self.version}{marker}{hashes}\n"


def read_lock(path: Path) -> list[Pin]:
    """Return the pins of a lock, in order.

    Raises:
        ValueError: a line is neither a pin, a hash nor a comment; it is named.
    """
    pins: list[Pin] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if found := _HASH.search(text):
            last = pins.pop()
            pins.append(Pin(last.name, last.version, last.marker, last.hashes | {found[1]}))
        elif found := _PIN.match(text):
            pins.append(Pin(found[1].lower(), found[2], (found[3] or "").strip(), frozenset()))
        else:
            msg = f"{path}:{number}: not a pin with hashes; received {text!r}"
            raise ValueError(msg)
    return pins


def make_locks(root: Path, uv_arguments: list[str]) -> int:
    """Resolve again and write every lock. Needs `uv`; returns its exit status.

    Args:
        root: the checkout.
        uv_arguments: passed on, e.g. ``--upgrade``.
    """
    uv = shutil.which("uv") or shutil.which("uv", path=str(root / ".venv" / "bin"))
    if uv is None:
        print("uv is not installed, and only it can resolve for every Python at once.\n  fix: pip install uv")
        return 2
    for spec in LOCKS:
        command = [uv, "pip", "compile", "pyproject.toml", "--quiet", "--universal", "--generate-hashes"]
        command += ["--python-version", "3.10", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
        command += [part for extra in spec.extras for part in ("--extra", extra)]
        command += ["--constraint", spec.constraint, *([] if spec.constraint == ALL else uv_arguments)]
        command += ["--output-file", spec.path]
        print(f"{spec.path}: {spec.why}", flush=True)
        status = subprocess.run(command, cwd=root, check=False).returncode
        if status:
            return status
        _write_header(root / spec.path, spec)
    return 0


def _write_header(path: Path, spec: LockSpec) -> None:
    body = path.read_text(encoding="utf-8")
    header = f"# {spec.why}\n# Made by `python3 run.py lock`; do not edit.\n"
    path.write_text(header + body, encoding="utf-8")
