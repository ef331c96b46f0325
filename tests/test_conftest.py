"""What CI asks of a test run, and how a machine without mosquitto says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
TESTS: Final = """
import pytest
def test_runs(): pass
@pytest.mark.skip(reason="no reason is good enough")
def test_is_skipped(): pass
"""
BROKER_TESTS: Final = """
import pytest
pytestmark = pytest.mark.mosquitto
def test_one(): raise AssertionError("must not run")
def test_two(): raise AssertionError("must not run")
"""


def run(
    folder: Path, tests: str, *, ci: str, plugin: str = "tests.conftest"
) -> subprocess.CompletedProcess[str]:
    """Run `tests` in a pytest of their own, with the project's hooks."""
    path = folder / "test_probe.py"
    path.write_text(tests)
    environment = {**os.environ, "CI": ci, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    command = [sys.executable, "-m", "pytest", "-p", plugin, "-p", "no:cacheprovider", "-ra", str(path)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_in_ci_a_skipped_test_fails_the_run(tmp_path: Path) -> None:
    """Everything can be installed there, so nothing need be skipped."""
    done = run(tmp_path, TESTS, ci="true")

    assert 1 == done.returncode
    assert "CI: 1 skipped tests count as failures" in done.stdout


@pytest.mark.parametrize("ci", ["", "false"])
def test_elsewhere_a_skipped_test_is_only_told(tmp_path: Path, ci: str) -> None:
    """At home the run passes, and the reason is printed."""
    done = run(tmp_path, TESTS, ci=ci)

    assert 0 == done.returncode
    assert "no reason is good enough" in done.stdout


def test_without_mosquitto_one_reason_is_printed_for_all(tmp_path: Path) -> None:
    """Two tests that need it are skipped on one line, which names the package."""
    (tmp_path / "no_mosquitto.py").write_text(
        "from tests import conftest\nfrom tests.conftest import *\nconftest.mosquitto_path = lambda: None\n"
        "from tests.conftest import pytest_runtest_setup, pytest_sessionfinish\n"
        "def pytest_configure(config): config.addinivalue_line('markers', 'mosquitto: needs it')\n"
    )
    done = run(tmp_path, BROKER_TESTS, ci="", plugin="no_mosquitto")
    told = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]

    assert 0 == done.returncode
    assert 1 == len(told)
    assert "SKIPPED [2]" in told[0]
    assert "apt-get install mosquitto" in told[0]
