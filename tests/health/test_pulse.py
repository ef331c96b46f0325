"""The few numbers of a box's health: measured now and then, told more rarely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_app.clock import WallQuality, WallTime
from edge_app.delivery.event import EnvelopeContext, draft
from edge_app.delivery.uuid7 import Uuid7Maker
from edge_app.health.pulse import Pulse

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000


def test_numbers_are_measured_every_five_seconds_and_told_every_ten_minutes(tmp_path: Path) -> None:
    """The machine's own, and what other rooms count; the event fits the schema."""
    zone = tmp_path / "thermal_zone0"
    zone.mkdir()
    (zone / "temp").write_text("61500\n")
    counted = {"commands_refused": 1}
    pulse = Pulse(folder=tmp_path, counts=lambda: counted, sysfs=tmp_path)

    assert () == pulse.tick(0)
    assert (61.5, 1) == (pulse.measures["cpu_c"], pulse.measures["commands_refused"])
    assert pulse.measures["disk_free_mb"] > 0
    assert 5 < pulse.measures["memory_mb"] < 100_000
    counted = {"commands_refused": 2}
    pulse.tick(4 * S)
    assert 1 == pulse.measures["commands_refused"]
    pulse.tick(5 * S)
    assert 2 == pulse.measures["commands_refused"]
    assert () == pulse.tick(599 * S)
    (event,) = pulse.tick(600 * S)
    assert () == pulse.tick(601 * S)
    made = draft(
        event,
        event_id=Uuid7Maker().make(ms=1),
        wall=WallTime(5, WallQuality.SYNC),
        context=EnvelopeContext("north", "b", "0b7c5c3e-6a1f-4f5e-9f51-2f3c8a1d9e10"),
        now_ns=600 * S,
    )
    assert b'"cpu_c":61.5' in made.body(1)


def test_what_a_machine_does_not_say_is_left_out(tmp_path: Path) -> None:
    """No sensor, no such disk: no number, and no error."""
    pulse = Pulse(folder=tmp_path / "gone", counts=dict, sysfs=tmp_path)
    pulse.tick(0)
    assert {} == {name: value for name, value in pulse.measures.items() if name != "memory_mb"}
