"""The register as the running box follows it: what is told when it cannot be read, or is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from edge_app.identity import calibration
from edge_app.identity.gallery import Gallery
from edge_app.identity.live import LiveMatcher
from edge_app.register import ALARM_ID, Register
from tests.clocks import StoppedClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_app.records import Event

S = 1_000_000_000
MODEL, PREPROCESS = "a" * 64, "b" * 64


class Rig:
    """A register in a folder, followed by the second."""

    def __init__(self, folder: Path, *, made: bool = True) -> None:
        self.clock = StoppedClock()
        self.gallery = Gallery(path=folder / "people.db", clock=self.clock)
        if made:
            self.gallery.create()

    def open(self, **known: list[str]) -> Register:
        """Return the register as a box that starts now follows it."""
        path = self.gallery.path
        matcher = LiveMatcher(
            gallery=self.gallery, model_sha256=MODEL, preprocess_sha256=PREPROCESS, threshold=0.4,
            clock=self.clock, calibration_path=calibration.path_beside(path),
        )  # fmt: skip
        return Register(matcher, **known)

    def seconds(self, register: Register, count: int = 3) -> list[tuple[str, str]]:
        """Return kind and alarm's state of what is told within so many seconds."""
        told: list[Event] = []
        for _ in range(count):
            self.clock.sleep(1.0)
            told += register.tick(self.clock.mono_ns())
        return [(event.kind, said(event)) for event in told]


def said(event: Event) -> str:
    """Return what an alarm says, nothing of another event."""
    alarm = event.data.get("alarm")
    if not isinstance(alarm, dict):
        return ""
    assert (ALARM_ID, ALARM_ID) == (alarm["id"], event.data["reason"])
    return str(alarm["state"])


def gone(path: Path) -> None:
    """Delete it."""
    path.unlink()


def garbage(path: Path) -> None:
    """Put something else in its place."""
    path.write_bytes(b"garbage" * 99)


@pytest.mark.parametrize("damage", [gone, garbage])
def test_register_that_cannot_be_read_is_an_alarm_until_it_can(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Raised once, within seconds; cleared when the file is back."""
    rig = Rig(tmp_path)
    register = rig.open()
    assert [] == rig.seconds(register)
    content = rig.gallery.path.read_bytes()
    damage(rig.gallery.path)
    assert [("alarm", "active")] == rig.seconds(register)
    rig.gallery.path.write_bytes(content)
    assert [("alarm", "cleared")] == rig.seconds(register)


def test_alarm_of_the_last_run_is_cleared_by_a_register_that_can_be_read(tmp_path: Path) -> None:
    """The file was put back while the box was off."""
    rig = Rig(tmp_path)
    assert [("alarm", "cleared")] == rig.seconds(rig.open(standing=[ALARM_ID]))


def test_missing_register_is_an_alarm_where_somebody_is_counted(tmp_path: Path) -> None:
    """A new box has none; one whose ledger names people had one, and says so until there is one again."""
    rig = Rig(tmp_path, made=False)
    with capture_logs() as logs:
        assert [] == rig.seconds(rig.open())
    assert [] == logs
    with capture_logs() as logs:
        register = rig.open(counted=["40017"])
    assert [("register_missing", "warning")] == [(line["event"], line["log_level"]) for line in logs]
    assert [("alarm", "active")] == rig.seconds(register)
    rig.gallery.create()
    assert [("alarm", "cleared")] == rig.seconds(register)


def test_calibration_without_its_register_is_an_alarm_and_both_changes_are_logged(tmp_path: Path) -> None:
    """Taken over at the start and gone later, with the threshold that counts from then on."""
    rig = Rig(tmp_path, made=False)
    path = calibration.path_beside(rig.gallery.path)
    made = calibration.Calibration(
        model_sha256=MODEL, preprocess_sha256=PREPROCESS, far=0.1, cohort=99, threshold=0.5, people={"A": 0.6}
    )
    calibration.save(path, made)
    with capture_logs() as logs:
        register = rig.open()
    assert ["calibration_taken", "register_missing"] == [line["event"] for line in logs]
    assert (0.5, 1) == (logs[0]["threshold"], logs[0]["people"])
    assert [("alarm", "active")] == rig.seconds(register)
    rig.gallery.create()
    rig.seconds(register)
    path.unlink()
    with capture_logs() as logs:
        rig.seconds(register)
    assert [("calibration_gone", 0.4, 0.5)] == [
        (line["event"], line["threshold"], line["before"]) for line in logs
    ]
