"""``python3 run.py chaos``: break everything, count, print one table. The exit status is 0 if all held.

Each line of the table is one kind of fault on a real box process, a real mosquitto and a real consumer, most
of them side by side because most of their time is waiting. ``--only NAME`` runs some; ``--only bridge``
instead compares the box with mosquitto's own bridge.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.chaos import bridge, brokers, clocks, disks, kills, links, powercut, week
from benchmarks.chaos.table import Row, not_done, print_table
from benchmarks.rig import mosquitto_path

if TYPE_CHECKING:
    from collections.abc import Callable

_SIDE_BY_SIDE = 4
_WEEK_SHORT = 60_000
_WEEK = 1_209_600


def main() -> int:
    """Run the harness."""
    args = _parsed()
    print(f"seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        if args.only == ["bridge"]:
            n, seconds = (100, 300.0) if args.long else (30, 60.0)
            return (
                0
                if bridge.run(Path(name) / "bridge", n=n, rate=args.rate, seconds=seconds, seed=args.seed)
                else 1
            )
        return print_table(_rows(Path(name), args))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--long", action="store_true", help="1,000 kills, 1,000 power cuts, a whole week")
    parser.add_argument("--kills", type=int, help="killed processes (default: 60; --long: 1,000)")
    parser.add_argument("--cuts", type=int, help="simulated power cuts (default: 200; --long: 1,000)")
    parser.add_argument("--rate", type=float, default=100.0, help="events a second and box (default: 100)")
    parser.add_argument("--lines", type=int, default=4, help="boxes with broker and consumer (default: 4)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeat a run")
    parser.add_argument("--only", action="append", metavar="NAME", help="kills, cuts, or a scene by its name")
    args = parser.parse_args()
    args.kills = args.kills if args.kills is not None else (1000 if args.long else 60)
    args.cuts = args.cuts if args.cuts is not None else (1000 if args.long else 200)
    return args


def scenes(*, seed: int, rows: int) -> dict[str, Callable[[Path], Row]]:
    """Return the faults that are tried once each, by name; each gets a folder that does not exist yet."""
    return {
        "packets": links.cut_in_packets,
        "half-open": links.half_open,
        "pubacks": links.pubacks_withheld,
        "receipts": links.receipts_withheld,
        "namespace": links.namespace,
        "denied": brokers.refuses,
        "later": brokers.says_later,
        "throttled": brokers.throttles,
        "thrown-out": brokers.throws_out,
        "disk-full": disks.full,
        "corrupt": partial(disks.corrupt, seed=seed),
        "1970": clocks.in_1970,
        "2031": clocks.in_2031,
        "week": partial(week.run, rows=rows),
    }


def _rows(folder: Path, args: argparse.Namespace) -> list[Row]:
    wanted = set(args.only or ())
    known = scenes(seed=args.seed, rows=_WEEK if args.long else _WEEK_SHORT)
    if strange := wanted - set(known) - {"kills", "cuts"}:
        sys.exit(f"no such fault: {', '.join(sorted(strange))}; there are: kills, cuts, {', '.join(known)}")
    rows: list[Row] = []
    if mosquitto_path() is None:
        rows.append(not_done("everything with a broker", "mosquitto is not installed"))
    else:
        if args.kills and (not wanted or "kills" in wanted):
            rows += kills.run(
                folder, kills=args.kills, rate=args.rate, seed=args.seed, lines=args.lines, say=_say
            )
        chosen = {name: scene for name, scene in known.items() if not wanted or name in wanted}
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            rows += pool.map(lambda pair: _tried(folder, *pair), chosen.items())
    if args.cuts and (not wanted or "cuts" in wanted):
        rows += _cuts(folder, args.cuts, args.seed)
    return rows


def _tried(folder: Path, name: str, scene: Callable[[Path], Row]) -> Row:
    began = time.monotonic()
    try:
        row = scene(folder / name)
    except Exception as error:  # noqa: BLE001 - the other faults are still to be tried
        row = Row(fault=name, note=f"{type(error).__name__}: {error}", failed=True)
    _say(f"{name}: {time.monotonic() - began:.0f} s")
    return row


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def _cuts(folder: Path, n: int, seed: int) -> list[Row]:
    fault = "power cut at any write (simulated)"
    if why_not := powercut.impossible():
        return [not_done(fault, why_not)]
    found = powercut.run(folder / "full", cuts=n, seed=seed)
    control = powercut.run(folder / "normal", cuts=20, seed=seed, synchronous="NORMAL")
    note = f"over {found.operations:,} writes and {found.syncs:,} syncs; {found.damaged} databases damaged"
    return [
        Row(
            fault=fault,
            times=found.cuts,
            committed=found.committed,
            received=found.committed - found.lost,
            lost=found.lost,
            note=f"({note}; control (NORMAL) lost {control.lost:,} of {control.committed:,})",
            failed=found.damaged > 0 or control.lost == 0,
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
