"""What ``dsr-edge presence show`` says: who is in the ledger's file, how old it is, who does not see.

The file is at most ten seconds old while the daemon runs. Of a box whose daemon does not run it is how things
were, and of one that has never run there is none: both must not look like an empty mine.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import ConfigError, DsrError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_app.clock import Clock
    from edge_app.config import Config
    from edge_app.presence.place import Place
    from edge_app.presence.store import Kept
    from edge_app.records import HeadCount

_NS_PER_MS: Final = 1_000_000
#: Twice as long as a running daemon takes at most, and a little more.
_STALE_MS: Final = 25_000
_NO_COUNT: Final = "who is inside is not known"


def show(config: Config, *, as_json: bool) -> int:
    """Print it; returns 0.

    Raises:
        ConfigError: there is no ledger, or it is damaged.
        OSError: it may not be read.
    """
    from edge_app.clock import SystemClock, boot_id
    from edge_app.delivery.lock import is_owned

    clock, boot = SystemClock(), boot_id()
    kept = read_ledger(config, boot=boot, clock=clock)
    now = clock.mono_ns()
    wall_ms, age_ms = _written(config.presence.ledger, boot, clock)
    told: dict[str, Any] = {
        "daemon": is_owned(config.delivery.outbox),
        "as_of_ms": wall_ms,
        "age_ms": age_ms,
        "headcount": _bounds(config, kept),
        "cameras": _cameras(config, boot, clock),
        "people": [_row(ref, place, now) for ref, place in kept.people if place.zone is not None],
        "unknown": [_row(None, place, now) for place in kept.strangers],
        "left": [_row(ref, place, now) for ref, place in kept.people if place.zone is None],
    }
    print(json.dumps(told, indent=2) if as_json else "\n".join(_lines(told)))
    return 0


def read_ledger(config: Config, *, boot: str, clock: Clock) -> Kept:
    """Return what the ledger's file holds.

    Raises:
        ConfigError: there is none, or it is damaged.
        OSError: it may not be read.
    """
    from edge_app.presence.store import LedgerFile

    path = config.presence.ledger
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise ConfigError(
            f"there is no ledger at {path}: the daemon has not run here yet, and {_NO_COUNT}",
            fix="start the daemon, or give its configuration with --config",
        ) from None
    file = LedgerFile(path=path, boot=boot, clock=clock)
    kept = file.load(set_aside=False)
    if file.problem is not None:
        raise ConfigError(
            f"{path} cannot be read, and {_NO_COUNT}: {file.problem}",
            fix="start the daemon: it sets it aside",
        )
    return kept


def age(ms: int) -> str:
    """Return a duration as hours, minutes and seconds."""
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


def _lines(told: dict[str, Any]) -> Iterator[str]:
    for row in (*told["people"], *told["unknown"]):
        left = row["perhaps_left_ms"]
        note = "" if left is None else f", perhaps left {age(left)} ago"
        yield f"{row['person_ref'] or '(unknown)':32} {row['zone']:20} seen {age(row['age_ms'])} ago{note}"
    for row in told["left"]:
        yield f"{row['person_ref']:32} {'(left)':20} seen {age(row['age_ms'])} ago"
    for camera in told["cameras"] or ():
        since = "" if camera["since_ms"] is None else f" for {age(camera['since_ms'])}"
        state = "DOES NOT SEE" if camera["blind"] else "sees badly"
        yield f"camera {camera['camera']} {state}{since}: {camera['reason']}"
    if told["cameras"] is None:
        yield "which cameras see is not known: the outbox cannot be read"
    perhaps = sum(row["perhaps_left_ms"] is not None for row in told["people"])
    note = f" ({perhaps} of them perhaps left)" if perhaps else ""
    people, unknown, left = (len(told[name]) for name in ("people", "unknown", "left"))
    yield f"{people} registered people{note} and {unknown} unknown inside, {left} left"
    count = told["headcount"]
    yield f"headcount {count['best']}, {count['low']} to {count['high']}; faces undecided just now apart"
    yield _of_when(told)


def _of_when(told: dict[str, Any]) -> str:
    wall, old = told["as_of_ms"], told["age_ms"]
    ago = "for an unknown time" if old is None else f"{age(old)} ago"
    if wall is not None:
        moment = dt.datetime.fromtimestamp(wall / 1000, dt.timezone.utc)
        ago += f" ({moment:%Y-%m-%d %H:%M:%S} UTC by its clock)"
    if not told["daemon"]:
        return f"THE DAEMON DOES NOT RUN: this was so {ago}; who came or went since, nobody has seen"
    if old is None or old > _STALE_MS:
        return f"THE LEDGER IS OLD: this was so {ago}, though the daemon runs; see its log"
    return f"as of {ago}"


def _written(path: Path, boot: str, clock: Clock) -> tuple[int | None, int | None]:
    """Return when the ledger was written (wall ms) and how long ago (ms), where that can be known."""
    try:
        body = json.loads(path.read_bytes())
        wall_ms = None if body["wall_ms"] is None else int(body["wall_ms"])
        if body["boot"] == boot:
            return wall_ms, max(0, clock.mono_ns() - int(body["mono_ns"])) // _NS_PER_MS
    except (OSError, ValueError, TypeError, KeyError):  # replaced a moment ago by something else
        return None, None
    now = clock.wall().ms
    return wall_ms, None if wall_ms is None or now is None else max(0, now - wall_ms)


def _bounds(config: Config, kept: Kept) -> dict[str, int]:
    from edge_app.presence.count import count
    from edge_app.presence.ledger import Ledger
    from edge_app.wiring import portals

    ledger = Ledger()
    for ref, place in kept.people:
        ledger.set_by_hand(ref, place)
    for place in kept.strangers:
        ledger.strangers.restore(place)
    gated = {zone for ways in portals(config).values() for way in ways for zone in way.sides if zone}
    total: HeadCount = count(ledger, (), gated=gated).total
    return {"best": total.best, "low": total.low, "high": total.high}


def _cameras(config: Config, boot: str, clock: Clock) -> list[dict[str, Any]] | None:
    """Return the cameras whose alarm stands, from the outbox; None if it cannot be read."""
    from edge_app.delivery.database import open_for_reading, translated

    path = config.delivery.outbox
    try:
        with translated(path), contextlib.closing(open_for_reading(path)) as connection:
            rows = connection.execute(
                "SELECT body FROM alarm WHERE body IS NOT NULL AND substr(id, 1, 7) = 'camera_' ORDER BY id"
            ).fetchall()
    except (DsrError, OSError):
        return None
    return [_camera(json.loads(body), boot, clock) for (body,) in rows]


def _camera(event: dict[str, Any], boot: str, clock: Clock) -> dict[str, Any]:
    now, since = clock.wall().ms, None
    if event["boot"] == boot:
        since = max(0, clock.mono_ns() - int(event["alarm"]["since_ns"])) // _NS_PER_MS
    elif now is not None and event["wall_ms"] is not None:
        since = max(0, now - int(event["wall_ms"]))
    blind = event["kind"] == "camera_blind"
    return {"camera": event["camera"], "blind": blind, "reason": event["reason"], "since_ms": since}


def _row(ref: str | None, place: Place, now_ns: int) -> dict[str, Any]:
    left_ns = place.perhaps_left_ns
    return {
        "person_ref": ref,
        "zone": place.zone,
        "camera": place.camera,
        "age_ms": max(0, now_ns - place.last_seen_ns) // _NS_PER_MS,
        "dwell_ms": max(0, now_ns - place.since) // _NS_PER_MS,
        "perhaps_left_ms": None if left_ns is None else max(0, now_ns - left_ns) // _NS_PER_MS,
    }
