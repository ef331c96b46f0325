"""The commands of `run.py`: what each needs installed, and what it then runs."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tooling import environment
from tooling.decoder import ensure_decoder
from tooling.locks import make_locks

ROOT: Final = Path(__file__).resolve().parent.parent
Command = Callable[[list[str]], int]


def demo(arguments: list[str]) -> int:
    """Watch the box recognise people in a tunnel clip, from registration to the broker."""
    return _python(environment.ensure(ROOT, environment.DEMO), ["-m", "field_test.demo", *arguments])


def setup(arguments: list[str]) -> int:
    """Install everything (``setup demo``: only what the demo needs) and fetch the public assets."""
    if arguments not in ([], ["demo"]):
        print(f"no such set-up: {' '.join(arguments)}; there are: setup, and setup demo")
        return 2
    light = arguments == ["demo"]
    python = environment.ensure(ROOT, environment.DEMO if light else environment.EVERYTHING)
    if not light:
        ensure_decoder(ROOT)
    return _python(python, ["-m", "field_test.assets"])


def test(arguments: list[str]) -> int:
    """Run every test; with CI set, a skipped test is a failure. Arguments go to pytest."""
    python = environment.ensure(ROOT, environment.EVERYTHING)
    ensure_decoder(ROOT)
    return _python(python, ["-m", "field_test.assets"]) or _python(python, ["-m", "pytest", *arguments])


def lint(arguments: list[str]) -> int:
    """Check style, formatting and types; ``lint --fix`` mends what can be mended."""
    python = environment.ensure(ROOT, environment.EVERYTHING)
    fix = "--fix" in arguments
    steps = [
        ["-m", "ruff", "check", *(["--fix"] if fix else [])],
        ["-m", "ruff", "format", *([] if fix else ["--check"])],
        ["-m", "mypy"],
    ]
    results = []
    for step in steps:
        print(f"lint: {' '.join(step[1:])}", flush=True)
        results.append(_python(python, step))
    return max(results)


def bench(arguments: list[str]) -> int:
    """Run the benchmarks, each printing its figure beside the bar; names select some of them."""
    found = [path for path in sorted((ROOT / "benchmarks").glob("*.py")) if "__main__" in path.read_text()]
    unknown = sorted(set(arguments) - {path.stem for path in found})
    if unknown:
        names = ", ".join(path.stem for path in found)
        print(f"no such benchmark: {', '.join(unknown)}; there are: {names}")
        return 2
    chosen = [path for path in found if not arguments or path.stem in arguments]
    python = environment.ensure(ROOT, environment.EVERYTHING)
    _python(python, ["-m", "field_test.assets"])
    results = []
    for path in chosen:
        print(f"\n== {path.stem}", flush=True)
        results.append(_python(python, ["-m", f"benchmarks.{path.stem}"]))
    return max(results)


def chaos(arguments: list[str]) -> int:
    """Kill, cut and stall delivery at random and count what is lost; ``chaos --long`` for hours."""
    return _python(environment.ensure(ROOT, environment.EVERYTHING), ["-m", "benchmarks.chaos", *arguments])


def lock(arguments: list[str]) -> int:
    """Resolve the dependencies again and write the locks (``lock --upgrade``: to the newest). Needs uv."""
    return make_locks(ROOT, arguments)


COMMANDS: Final[dict[str, Command]] = {
    "demo": demo,
    "test": test,
    "lint": lint,
    "bench": bench,
    "chaos": chaos,
    "setup": setup,
    "lock": lock,
}


def _python(python: Path, arguments: list[str]) -> int:
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    return subprocess.run([str(python), *arguments], cwd=ROOT, env=env, check=False).returncode


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {(do.__doc__ or '').strip()}" for name, do in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python3 run.py",
        epilog=f"commands:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on to it")
    if not arguments:
        parser.print_help()
        return 2
    known = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        status = COMMANDS[known.command](known.arguments)
    except environment.SetupError as error:
        print(f"\nset-up failed: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"\n{error}\n  fix: {ROOT} must be a folder that can be written", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    result = "done" if status == 0 else f"failed ({status})"
    print(f"{known.command}: {result} in {time.monotonic() - started:.0f} s")
    return status
