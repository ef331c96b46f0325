"""Temperatures and trip points, from folders laid out as the kernel does (a Jetson Orin's and a PC's)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_app.health.checks.machine import check_heat
from edge_app.health.doctor import State
from edge_app.health.thermal import Zone, read_zones

if TYPE_CHECKING:
    from pathlib import Path


def lay_out(folder: Path, number: int, name: str, temp: str, trips: dict[str, str]) -> None:
    """Write one thermal zone."""
    zone = folder / f"thermal_zone{number}"
    zone.mkdir(parents=True)
    (zone / "type").write_text(f"{name}\n", encoding="ascii")
    (zone / "temp").write_text(temp, encoding="ascii")
    for i, (kind, value) in enumerate(trips.items()):
        (zone / f"trip_point_{i}_type").write_text(f"{kind}\n", encoding="ascii")
        (zone / f"trip_point_{i}_temp").write_text(f"{value}\n", encoding="ascii")


def test_a_zone_gives_now_and_its_own_limits(tmp_path: Path) -> None:
    """Millidegrees become degrees; active trip points (a fan's) are no limits."""
    lay_out(
        tmp_path, 0, "cpu-thermal", "51250\n", {"active": "50000", "passive": "99000", "critical": "104500"}
    )
    assert (Zone(name="cpu-thermal", now_c=51.25, throttles_c=99.0, stops_c=104.5),) == read_zones(tmp_path)


def test_zones_come_in_the_kernels_order(tmp_path: Path) -> None:
    """Zone 10 comes after zone 2."""
    for number in (10, 2, 0):
        lay_out(tmp_path, number, f"z{number}", "40000\n", {})
    assert ["z0", "z2", "z10"] == [zone.name for zone in read_zones(tmp_path)]


def test_a_sensor_that_does_not_answer_is_left_out(tmp_path: Path) -> None:
    """A part that is switched off answers EAGAIN (here: a folder, which cannot be read either)."""
    lay_out(tmp_path, 0, "cpu", "40000\n", {})
    lay_out(tmp_path, 1, "cv0", "", {})
    (tmp_path / "thermal_zone2" / "temp").mkdir(parents=True)
    assert ["cpu"] == [zone.name for zone in read_zones(tmp_path)]


def test_a_trip_point_that_is_not_set_is_no_limit(tmp_path: Path) -> None:
    """The kernel says 0 or -274000 for those."""
    lay_out(tmp_path, 0, "x86_pkg_temp", "60000\n", {"passive": "-274000", "critical": "0", "hot": "85000"})
    assert (85.0, None) == (read_zones(tmp_path)[0].throttles_c, read_zones(tmp_path)[0].stops_c)


@pytest.mark.parametrize(
    ("expected", "temp"),
    [(State.OK, "88000"), (State.WARN, "90000"), (State.WARN, "99500"), (State.FAIL, "100000")],
)
def test_heat_is_judged_by_the_boards_own_limits(tmp_path: Path, expected: State, temp: str) -> None:
    """Ten degrees below throttling it warns, ten below switching off it fails."""
    lay_out(tmp_path, 0, "tj", temp, {"passive": "99000", "critical": "109500"})
    (finding,) = check_heat(tmp_path)
    assert expected is finding.state


def test_a_machine_without_sensors_is_no_problem(tmp_path: Path) -> None:
    """Virtual machines have none."""
    (finding,) = check_heat(tmp_path / "absent")
    assert (State.OK, "this machine shows no temperatures") == (finding.state, finding.what)
