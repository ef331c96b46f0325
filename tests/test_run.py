"""The one command: readable to old Pythons, and clear about what it can do."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tooling import commands
from tooling.commands import COMMANDS

ROOT: Final = Path(__file__).resolve().parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run run.py as a newcomer does, in isolated mode so that nothing installed is seen."""
    command = [sys.executable, "-I", str(ROOT / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_names_every_command() -> None:
    """``--help`` needs nothing installed and lists what there is."""
    done = run("--help")

    assert 0 == done.returncode
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S", done.stdout, re.MULTILINE)


def test_an_unknown_command_is_refused() -> None:
    """A typing mistake ends with 2 and the commands there are."""
    done = run("tset")

    assert 2 == done.returncode
    assert "'demo', 'test'" in done.stderr or "demo, test" in done.stderr


def test_no_command_prints_the_help() -> None:
    """Without a command the help is shown, and the status says that nothing was done."""
    done = run()

    assert 2 == done.returncode
    assert "commands:" in done.stdout


def test_an_old_python_can_read_run_py() -> None:
    """The file parses by the grammar of Python 3.6, so that it can say what is missing."""
    ast.parse((ROOT / "run.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_an_old_python_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no newer Python is found, the message names this one and the fix."""
    monkeypatch.setattr(sys, "version_info", (3, 8, 10))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SystemExit, match=r"(?s)needs Python 3\.10 or newer.*fix: install one"):
        runpy.run_path(str(ROOT / "run.py"), run_name="__main__")


def test_an_old_python_hands_over_to_a_newer_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where a newer Python is on the PATH, it takes over with the same arguments."""
    newer = tmp_path / "python3.11"
    newer.symlink_to(sys.executable)
    seen: list[list[str]] = []

    def hand_over(_path: str, arguments: list[str]) -> None:
        seen.append(arguments)
        raise SystemExit(0)

    monkeypatch.setattr(sys, "version_info", (3, 8, 10))
    monkeypatch.setattr(sys, "argv", ["run.py", "demo", "--fast"])
    monkeypatch.setattr(os, "execv", hand_over)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
    assert [[str(newer), str(ROOT / "run.py"), "demo", "--fast"]] == seen


def test_run_py_and_tooling_need_only_the_standard_library() -> None:
    """Nothing that must be installed first is imported by what installs it."""
    allowed = {*sys.stdlib_module_names, "tooling"}
    for path in [ROOT / "run.py", *(ROOT / "tooling").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert [] == [name for name in names if name.split(".")[0] not in allowed], path


def test_the_makefile_has_every_command() -> None:
    """``make NAME`` is an alias of ``python3 run.py NAME``, for every NAME."""
    line = re.search(r"^COMMANDS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)

    assert line
    assert sorted(COMMANDS) == sorted(line[1].split())


def test_ci_runs_lint_and_the_readme_s_test_command() -> None:
    """What CI runs is what the README tells a newcomer to run."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert "python3 run.py test" in readme
    assert re.search(r"^python3 run\.py lint", script, re.MULTILINE)
    assert re.search(r"^python3 run\.py test", script, re.MULTILINE)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_another_system_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the locks have nothing to install, the message says so before anything is made."""
    monkeypatch.setattr(sys, "platform", "darwin")

    with pytest.raises(SystemExit, match="runs on Linux; this is darwin"):
        runpy.run_path(str(ROOT / "run.py"), run_name="__main__")


def test_a_checkout_that_cannot_be_written_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that refuses the set-up gives a message with the folder, and no traceback."""
    (tmp_path / ".cache").write_text("in the way")
    monkeypatch.setattr(commands, "ROOT", tmp_path)

    assert 3 == commands.run(["setup"])
    assert f"{tmp_path} must be a folder that can be written" in capsys.readouterr().err
