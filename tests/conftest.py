"""Fixtures for every room: real photos, the real detector, and what CI asks of a test run.

Nothing here reaches the network: `python3 run.py test` (or ``setup``) fetches the public files first.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import structlog
from hypothesis import settings

from benchmarks.rig import Mosquitto, mosquitto_path
from field_test import assets
from tests.clocks import StoppedClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).resolve().parent.parent
NO_MOSQUITTO: Final = "mosquitto is not installed (apt-get install mosquitto): what needs it is not tested"


#: No deadline: how long an example takes is the machine's, not ours. In CI the same examples every time: what
#: chance finds on a developer's machine is mended there, and does not stop somebody else's change.
settings.register_profile("house", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI", "").lower() in ("1", "true") else "house")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with the one reason, what needs mosquitto where there is none."""
    if item.get_closest_marker("mosquitto") and mosquitto_path() is None:
        pytest.skip(NO_MOSQUITTO)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a skipped test is a failure: there, everything can be installed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and exitstatus == pytest.ExitCode.OK and os.environ.get("CI", "").lower() in ("1", "true"):
        reporter.write_line(f"CI: {len(skipped)} skipped tests count as failures", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def clock() -> StoppedClock:
    """Return a clock that stands still."""
    return StoppedClock()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Return a running mosquitto."""
    broker = Mosquitto(tmp_path).start()
    yield broker
    broker.stop()


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """Put the process's logging back as it was: a command sets it up for itself, as a process would."""
    root = logging.getLogger()
    level, hook = root.level, threading.excepthook
    yield
    logging.captureWarnings(capture=False)
    for handler in [one for one in root.handlers if type(one).__module__ == "edge_app.log"]:
        root.removeHandler(handler)
    root.setLevel(level)
    threading.excepthook = hook
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def data_dir() -> Path | None:
    """Return the folder of research faces (``DSR_DATA``, else ``../shared/data``), or None."""
    named = os.environ.get("DSR_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if named and not folder.is_dir():
        pytest.fail(f"DSR_DATA names {folder}, which is not a folder; unset it or name the data")
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def demo_photos() -> Mapping[str, Path]:
    """Return the public photos by stem: obama, obama2, obama3 (one person), biden, astronaut."""
    return {Path(name).stem: _public(name) for name in assets.PHOTOS}


@pytest.fixture(scope="session")
def centerface() -> Path:
    """Return the manifest of the prepared CenterFace detector."""
    _public("centerface.onnx")
    try:
        return assets.ensure_detector()
    except assets.AssetError as error:
        pytest.fail(str(error))


def _public(name: str) -> Path:
    folder = assets.CACHE / "assets"
    asset = next(asset for asset in assets.ASSETS if asset.name == name)
    if not assets.is_good(asset, folder):
        pytest.fail(f"{folder / name} is missing or altered; fetch it with `python3 run.py setup`")
    return folder / name
