"""The checkout's own virtual environment `.venv`, made from a lock with hashes.

A stamp inside it holds the hash of everything that decided its content, so the second run takes no
time. While an installation runs, a `busy` mark stands beside the stamp: where it is found at the
start, the last set-up was interrupted and the environment is made anew. pip keeps what it has
downloaded, so little is lost. Two set-ups at once wait for each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tooling.locks import read_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_BUSY: Final = "dsr-busy"
#: How pip begins the line in which it turns to a package.
_HANDLED: Final = re.compile(r"(?:Collecting|Processing|Requirement already satisfied:) (\S+?)(?:==|[ ;@]|$)")
#: Where nobody watches a terminal, say every so many packages how far it is.
_EVERY: Final = 10
_GIB: Final = 1 << 30
#: Published as source only (a few Python files): built with the lock's own tools, not with newer ones.
_SOURCE_ONLY: Final = ("tensorrt-rtx-cu12",)
_BUILD_TOOLS: Final = ("setuptools", "wheel")


class SetupError(Exception):
    """The environment cannot be made; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What an environment is for: its lock, the newest Python it is made for, the disk it needs."""

    name: str
    lock: str
    newest_python: tuple[int, int]
    gib: float
    covers: tuple[Profile, ...] = ()


DEMO: Final = Profile("demo", "locks/demo.txt", (3, 14), 0.7)
#: TensorFlow has wheels up to Python 3.13.
EVERYTHING: Final = Profile("all", "locks/all.txt", (3, 13), 3.0, covers=(DEMO,))


def ensure(root: Path, profile: Profile) -> Path:
    """Return the Python of `root`'s environment, after installing what `profile` needs.

    Raises:
        SetupError: this Python, disk, registry or network does not allow it.
    """
    venv = root / ".venv"
    python = venv / "bin" / "python"
    if _is_current(root, venv, profile):
        return python
    (root / ".cache").mkdir(exist_ok=True)
    with _one_at_a_time(root / ".cache" / "setup.lock"):
        if _is_current(root, venv, profile):
            return python
        _check_machine(root, profile)
        started = time.monotonic()
        _make_venv(venv, python)
        (venv / _BUSY).touch()
        _install(root, python, profile)
        for covered in (profile, *profile.covers):
            _stamp(venv, covered.name).write_text(_fingerprint(root, covered, venv), encoding="ascii")
        (venv / _BUSY).unlink()
        print(f"set-up: ready in {time.monotonic() - started:.0f} s", flush=True)
    return python


def _stamp(venv: Path, name: str) -> Path:
    return venv / f"dsr-stamp-{name}"


def _is_current(root: Path, venv: Path, profile: Profile) -> bool:
    """Whether `venv` was made, completely, from this lock and project by a Python that still exists."""
    stamp = _stamp(venv, profile.name)
    if not (stamp.is_file() and (venv / "bin" / "python").exists()) or (venv / _BUSY).exists():
        return False
    return stamp.read_text(encoding="ascii") == _fingerprint(root, profile, venv)


def _fingerprint(root: Path, profile: Profile, venv: Path) -> str:
    """Hash the lock, the project's table, the environment's Python and where the checkout lies."""
    digest = hashlib.sha256(str(root).encode())
    for path in (root / profile.lock, root / "pyproject.toml", venv / "pyvenv.cfg"):
        digest.update(path.read_bytes() if path.is_file() else b"-")
    return digest.hexdigest()


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("set-up: another one is running in this checkout; waiting for it", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _check_machine(root: Path, profile: Profile) -> None:
    have = sys.version_info[:2]
    if have > profile.newest_python:
        newest = ".".join(map(str, profile.newest_python))
        raise SetupError(
            f"this is Python {have[0]}.{have[1]}, and not all of {profile.lock} is built for it yet.\n"
            f"  fix: run it with Python 3.10 to {newest}, e.g. python{newest} run.py ..."
        )
    free = shutil.disk_usage(root).free / _GIB
    if free < profile.gib:
        raise SetupError(
            f"{root} has {free:.1f} GiB free; the set-up needs about {profile.gib} GiB.\n"
            "  fix: make room, or clone to a larger disk"
        )


def _make_venv(venv: Path, python: Path) -> None:
    if (venv / _BUSY).exists():
        print("set-up: the last one was interrupted; starting afresh", flush=True)
        shutil.rmtree(venv)
    if python.exists() and _quiet([str(python), "-m", "pip", "--version"]):
        return
    base = getattr(sys, "_base_executable", None) or sys.executable
    print(f"set-up: making {venv.name} with Python {sys.version.split()[0]}", flush=True)
    with_pip = importlib.util.find_spec("ensurepip") is not None
    command = [base, "-m", "venv", "--clear", *([] if with_pip else ["--without-pip"]), str(venv)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode == 0 and (with_pip or _borrow_pip(base, python)):
        return
    shutil.rmtree(venv, ignore_errors=True)
    said = (done.stderr or done.stdout or "pip is missing").strip()
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    raise SetupError(
        f"Python cannot make a virtual environment: {said}\n"
        f"  fix: apt-get install python3-venv   (or python{version}-venv), or, without root, any other\n"
        "       Python 3.10 to 3.13 that has venv and pip, e.g. from a python.org or pyenv build"
    )


def _borrow_pip(base: str, python: Path) -> bool:
    """Put pip into an environment made without it, by the system's own pip where there is one."""
    command = [base, "-m", "pip", "--python", str(python), "install", "--quiet", "pip"]
    return _quiet(command)


def _quiet(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _install(root: Path, python: Path, profile: Profile) -> None:
    pins = read_lock(root / profile.lock)
    names = len({pin.name for pin in pins})
    print(f"set-up: installing {profile.lock} (about {names} packages, by version and hash)", flush=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    # What is never imported is never compiled: Python does it when it first imports a module.
    locked = ["--no-compile", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    if any(pin.name in _SOURCE_ONLY for pin in pins):
        tools = root / ".venv" / "build-tools.txt"
        tools.write_text("".join(pin.requirement for pin in pins if pin.name in _BUILD_TOOLS), "utf-8")
        _pip([*pip, *locked, "-r", str(tools)], root=root, names=0)
        locked += ["--no-binary", ",".join(_SOURCE_ONLY), "--no-build-isolation"]
    _pip([*pip, *locked, "-r", profile.lock], root=root, names=names)
    itself = ["--no-deps", "--no-index", "--no-build-isolation", "--editable", "."]
    _pip([*pip, *itself], root=root, names=0)


def _pip(command: list[str], *, root: Path, names: int) -> None:
    """Run pip, turn its chatter into progress, and its failures into advice."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "PIP_REQUIRE_VIRTUALENV": "0"}
    with subprocess.Popen(
        command, cwd=root, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            lines = _follow(process.stdout or (), names)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        (root / ".venv" / _BUSY).unlink(missing_ok=True)
        raise SetupError(_advice(lines))


def _follow(output: Iterable[str], names: int) -> list[str]:
    """Show how far pip is, and return all that it said."""
    lines: list[str] = []
    seen = 0
    for line in output:
        lines.append(line.rstrip())
        found = _HANDLED.match(line)
        if found and names:
            seen += 1
            if sys.stdout.isatty() or seen % _EVERY == 0:
                _progress(f"[{min(seen, names)}/{names}] {found[1].rsplit('/', 1)[-1]}")
        elif line.startswith("Installing collected packages") and names:
            _progress("unpacking", last=True)
    return lines


def _progress(text: str, *, last: bool = False) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K  {text[:70]}" + ("\n" if last else ""))
    else:
        sys.stdout.write(f"  {text}\n")
    sys.stdout.flush()


def _advice(lines: list[str]) -> str:
    """Say what pip's failure means, with its last words."""
    text = "\n".join(lines)
    telling = [line for line in lines if not line.startswith(("Ignoring ", "Looking in "))]
    words = "\n".join(f"    {line}" for line in telling[-6:])
    if "DO NOT MATCH THE HASHES" in text:
        return (
            f"a package is not the one that was locked; nothing of it was installed.\n{words}\n"
            "  fix: try again (pip cache purge); if it stays, the registry serves altered files"
        )
    if "No space left" in text:
        return f"the disk is full.\n{words}\n  fix: make room and run the same command again"
    if re.search(r"Retrying|No matching distribution|Temporary failure|Connection|timed out|Network", text):
        return (
            f"the package registry cannot be reached, or lacks a package.\n{words}\n"
            "  fix: the set-up needs a registry once; pip's own settings are honoured (PIP_INDEX_URL,\n"
            "       PIP_FIND_LINKS, HTTPS_PROXY). Without a network: on a machine that has one run\n"
            "         python3 -m pip download --no-deps --require-hashes -r locks/demo.txt -d wheels\n"
            "       carry `wheels` here, and run with PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels"
        )
    return f"pip failed.\n{words}\n  fix: see pip's message; the same command may be run again"
