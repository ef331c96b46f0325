"""How hot the machine is, and how hot it may become, as its kernel says.

Temperatures and trip points stand under ``/sys/class/thermal/thermal_zone*`` in millidegrees. Trip
points differ from board to board and are read, never assumed. A sensor of a part that is switched
off answers EAGAIN; such a zone is left out (kernel documentation: thermal/sysfs-api).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSFS: Final = Path("/sys/class/thermal")
_MILLI: Final = 1000.0
#: The kernel's kinds of trip points at which it slows the machine down, and at which it switches it off.
_THROTTLES: Final = ("passive", "hot")
_STOPS: Final = ("critical",)


@dataclass(frozen=True, slots=True)
class Zone:
    """One sensor: degrees Celsius now, where the kernel begins to throttle, and where it switches off."""

    name: str
    now_c: float
    throttles_c: float | None
    stops_c: float | None


def read_zones(sysfs: Path = SYSFS) -> tuple[Zone, ...]:
    """Return all sensors that answer, by the kernel's numbering."""
    folders = sorted(sysfs.glob("thermal_zone*"), key=lambda path: (len(path.name), path.name))
    return tuple(zone for folder in folders if (zone := _zone(folder)) is not None)


def _zone(folder: Path) -> Zone | None:
    now = _celsius(folder / "temp")
    if now is None:
        return None
    trips = [
        (_text(path), _celsius(path.with_name(path.name.replace("_type", "_temp"))))
        for path in folder.glob("trip_point_*_type")
    ]
    return Zone(
        name=_text(folder / "type") or folder.name,
        now_c=now,
        throttles_c=_lowest(trips, _THROTTLES),
        stops_c=_lowest(trips, _STOPS),
    )


def _lowest(trips: list[tuple[str, float | None]], kinds: tuple[str, ...]) -> float | None:
    # A trip point at or below zero is the kernel's way to say that it is not set.
    return min((c for kind, c in trips if kind in kinds and c is not None and c > 0), default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _celsius(path: Path) -> float | None:
    try:
        return int(_text(path)) / _MILLI
    except ValueError:
        return None
