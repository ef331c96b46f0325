"""The machine under the daemon: its clock, its temperatures, and the service that keeps it running."""

from __future__ import annotations

import shutil
import subprocess
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from edge_app.clock import WallQuality
from edge_app.health.doctor import fail, ok, warn
from edge_app.health.thermal import SYSFS, read_zones

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_app.clock import Clock
    from edge_app.health.doctor import Finding
    from edge_app.health.thermal import Zone

CLOCK: Final = "clock"
HEAT: Final = "heat"
SERVICE: Final = "service"
UNIT: Final = "dsr-edge.service"
_NEAR_C: Final = 10.0
_TIMESYNC: Final = "point timedatectl or chrony at the mine's time server, through the firewall (UDP 123)"


def check_clock(clock: Clock) -> Iterator[Finding]:
    """Say how far the wall clock is to be believed."""
    wall = clock.wall()
    if wall.ms is None:
        yield fail(
            CLOCK,
            "the clock is wrong by years: events carry no wall time, and TLS refuses every broker",
            fix=f"{_TIMESYNC}; until then: timedatectl set-time",
        )
        return
    now = datetime.fromtimestamp(wall.ms / 1000, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    if wall.quality is WallQuality.SYNC:
        yield ok(CLOCK, f"{now}, synchronised")
    else:
        yield warn(CLOCK, f"{now}, but nothing keeps it right: events say `holdover`", fix=_TIMESYNC)


def check_heat(sysfs: Path = SYSFS) -> Iterator[Finding]:
    """Compare every temperature with the kernel's own trip points."""
    zones = read_zones(sysfs)
    if not zones:
        yield ok(HEAT, "this machine shows no temperatures")
        return
    hot = [zone for zone in zones if _margin(zone) is not None and (_margin(zone) or 0.0) < _NEAR_C]
    for zone in hot:
        yield _hot(zone)
    if not hot:
        top = max(zones, key=lambda zone: zone.now_c)
        limit = f", throttles at {top.throttles_c:.0f}" if top.throttles_c is not None else ""
        yield ok(HEAT, f"{len(zones)} sensors, the warmest {top.name} {top.now_c:.0f} C{limit}")


def check_service() -> Iterator[Finding]:
    """Ask systemd whether the service is installed, watched and running."""
    if shutil.which("systemctl") is None:
        yield ok(SERVICE, "no systemd here: nothing starts the daemon again when it dies")
        return
    keys = ("LoadState", "ActiveState", "UnitFileState", "WatchdogUSec", "NRestarts", "StatusText")
    command = ["systemctl", "show", UNIT, *(f"--property={key}" for key in keys)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 - no user input
    if said.returncode != 0:
        yield ok(SERVICE, "systemd does not run here: nothing starts the daemon again when it dies")
        return
    lines = (line.partition("=") for line in said.stdout.splitlines())
    yield from judge_service({key: value for key, _, value in lines})


def judge_service(unit: Mapping[str, str]) -> Iterator[Finding]:
    """Judge what ``systemctl show`` says about the unit."""
    if unit.get("LoadState") != "loaded":
        yield warn(SERVICE, f"{UNIT} is not installed", fix="sudo systemd/install.sh")
        return
    if unit.get("WatchdogUSec") in {None, "", "0", "infinity"}:
        yield warn(
            SERVICE, f"{UNIT} has no watchdog: a frozen daemon stays frozen", fix="set WatchdogSec=30 in it"
        )
    if unit.get("UnitFileState") not in {"enabled", "enabled-runtime"}:
        yield warn(SERVICE, f"{UNIT} does not start at boot", fix=f"sudo systemctl enable {UNIT}")
    active, restarts = unit.get("ActiveState", "?"), unit.get("NRestarts", "0")
    text = f"{UNIT} is {active}, restarted {restarts} times, watchdog {unit.get('WatchdogUSec')}"
    status = f" ({unit['StatusText']})" if unit.get("StatusText") else ""
    if active == "active":
        yield ok(SERVICE, text + status)
    else:
        yield warn(
            SERVICE, text + status, fix=f"journalctl -u {UNIT} -n 50; then sudo systemctl start {UNIT}"
        )


def _margin(zone: Zone) -> float | None:
    limits = [limit for limit in (zone.throttles_c, zone.stops_c) if limit is not None]
    return min(limits) - zone.now_c if limits else None


def _hot(zone: Zone) -> Finding:
    what = f"{zone.name} is at {zone.now_c:.0f} C"
    cool = "cool the enclosure, lower the camera's fps or detector.long_side, or choose a lower power mode"
    if zone.stops_c is not None and zone.stops_c - zone.now_c < _NEAR_C:
        return fail(HEAT, f"{what}; the machine switches itself off at {zone.stops_c:.0f}", fix=cool)
    return warn(HEAT, f"{what}; it slows itself down at {zone.throttles_c:.0f}", fix=cool)
