"""The ledger of presence in a file, so that a restart, a kill or a power cut forgets nobody.

One JSON file, replaced as a whole (temporary file, sync, rename). The monotonic clock begins anew
with every boot, so the file carries the boot's id and both clocks; after a reboot the ages of what
it holds are carried over by wall time where that can be believed, and are too small otherwise (the
time without power is missing): a muster that says "at least so long ago". A clock that a time source
disciplines, then and now, is believed; one that only runs on (a battery behind it, in a tunnel without
a time source) for a week, because the true age is what a rescue asks for, and it is logged.

On no clock does it depend who is in the muster. The time from the last save to this start is kept as dark
(`watch`), but for a short restart: nobody could be seen, so it counts towards forgetting nobody.

Strangers are kept as places only. What they look like is not written anywhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import structlog

from edge_app.clock import WallQuality
from edge_app.presence.place import Place
from edge_app.presence.watch import Dark
from edge_app.records import CameraState
from edge_app.statefile import UNUSABLE, StateFile, why

if TYPE_CHECKING:
    from pathlib import Path

    from edge_app.clock import Clock

_VERSION: Final = 1
_NS: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_MAX_BYTES: Final = 64 << 20
#: Within one boot a daemon that was away for less was restarted; a muster goes on.
_RESTART_NS: Final = 120 * _NS
#: For so long without power a clock is believed that no time source disciplines.
_UNDISCIPLINED_NS: Final = 7 * 24 * 3600 * _NS

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file holds: places of people and strangers, the last shift, dark times, blind cameras.

    `shift_ms` is when that began (wall), `shift_ns` when the box rolled over to it (monotonic).
    """

    people: tuple[tuple[str, Place], ...] = ()
    strangers: tuple[Place, ...] = ()
    shift_ms: int | None = None
    shift_ns: int | None = None
    dark: tuple[Dark, ...] = ()
    blind: tuple[CameraState, ...] = ()


class LedgerFile:
    """The file at `path`.

    Args:
        path: the file; its folder is made.
        boot: names this run of the monotonic clock.
        clock: stamps what is written, and dates what was written before.
    """

    def __init__(self, *, path: Path, boot: str, clock: Clock) -> None:
        self._boot, self._clock = boot, clock
        self._file = StateFile(path, "presence_ledger", most_bytes=_MAX_BYTES)
        #: Why the last run's ledger could not be read; None while all is well.
        self.problem: str | None = None

    def load(self, *, set_aside: bool = True) -> Kept:
        """Return what the last run left; a damaged file is told in `problem` and (`set_aside`) renamed."""
        try:
            return self._read(self._file.read())
        except FileNotFoundError:
            return Kept()
        except UNUSABLE as error:
            self.problem = why(error)
            if set_aside:
                self._file.set_aside(self.problem)
            return Kept()

    def save(self, kept: Kept) -> bool:
        """Replace the file; return whether that worked. A failure is logged once, until it works again."""
        wall = self._clock.wall()
        body = {
            "v": _VERSION,
            "boot": self._boot,
            "mono_ns": self._clock.mono_ns(),
            "wall_ms": wall.ms,
            "wall_quality": wall.quality.value,
            "shift_ms": kept.shift_ms,
            "shift_ns": kept.shift_ns,
            "people": [{"ref": ref, **asdict(place)} for ref, place in kept.people],
            "strangers": [asdict(place) for place in kept.strangers],
            "dark": [asdict(dark) for dark in kept.dark],
            "blind": [asdict(state) for state in kept.blind],
        }
        return self._file.write(body)

    def _read(self, body: Any) -> Kept:
        if body["v"] != _VERSION:
            msg = f"version {body['v']!r:.20} instead of {_VERSION}"
            raise ValueError(msg)
        now_ns, saved_ns = self._clock.mono_ns(), int(body["mono_ns"])
        same_boot = str(body["boot"]) == self._boot
        shift = 0 if same_boot else now_ns - self._away_ns(body) - saved_ns
        dark = [_dark(row, shift, now_ns) for row in body.get("dark", ())]
        if not same_boot or now_ns - saved_ns >= _RESTART_NS:
            dark.append(Dark(None, min(saved_ns + shift, now_ns), now_ns))
        return Kept(
            people=tuple((str(row.pop("ref")), _place(row, shift)) for row in body["people"]),
            strangers=tuple(_place(row, shift) for row in body["strangers"]),
            shift_ms=None if body["shift_ms"] is None else int(body["shift_ms"]),
            shift_ns=None if body.get("shift_ns") is None else int(body["shift_ns"]) + shift,
            dark=tuple(dark),
            blind=tuple(_blind(row, shift) for row in body.get("blind", ())),
        )

    def _away_ns(self, body: dict[str, Any]) -> int:
        """Return how long ago, in another boot, the file was written; at least so long ago."""
        sure_ns, wall, wall_ms = self._clock.mono_ns(), self._clock.wall(), body["wall_ms"]
        if wall.ms is None or wall_ms is None:
            return sure_ns
        told_ns = (wall.ms - int(wall_ms)) * _NS_PER_MS
        disciplined = body.get("wall_quality") == wall.quality.value == WallQuality.SYNC.value
        if disciplined or told_ns <= sure_ns:
            return max(sure_ns, told_ns)
        believed = told_ns <= _UNDISCIPLINED_NS
        hours = round(told_ns / _NS / 3600, 1)
        _log.warning("presence_ages_by_undisciplined_clock", hours=hours, believed=believed)
        return told_ns if believed else sure_ns


def _place(row: dict[str, Any], shift_ns: int) -> Place:
    """Return one place; everything in it is checked, because a file can be edited."""
    zone, score = row["zone"], row["score"]
    place = Place(
        zone=None if zone is None else str(zone),
        camera=str(row["camera"]),
        track=str(row["track"]),
        first_seen_ns=int(row["first_seen_ns"]) + shift_ns,
        last_seen_ns=int(row["last_seen_ns"]) + shift_ns,
        score=None if score is None else float(score),
        by_hand=bool(row["by_hand"]),
        through=bool(row.get("through", False)),
    )
    since, inside, left = row["since_ns"], row["inside_ns"], row.get("perhaps_left_ns")
    return replace(
        place,
        since_ns=None if since is None else int(since) + shift_ns,
        inside_ns=None if inside is None else int(inside) + shift_ns,
        perhaps_left_ns=None if left is None else int(left) + shift_ns,
    )


def _dark(row: dict[str, Any], shift_ns: int, now_ns: int) -> Dark:
    """Return one dark time, checked as a place is; none lasts longer than until now."""
    since, until = int(row["since_ns"]) + shift_ns, min(int(row["until_ns"]) + shift_ns, now_ns)
    return Dark(None if row["zone"] is None else str(row["zone"]), min(since, until), until)


def _blind(row: dict[str, Any], shift_ns: int) -> CameraState:
    """Return the state of a blind camera, checked as a place is."""
    reason = None if row["reason"] is None else str(row["reason"])
    since_ns = int(row["blind_since_ns"]) + shift_ns
    return CameraState(str(row["camera"]), str(row["zone"]), blind_since_ns=since_ns, reason=reason)
