"""``python3 -m benchmarks.chaos``: break everything at random, count, print the table.

The exit status is 0 if nothing was lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.chaos import kills, powercut
from benchmarks.chaos.table import Row, not_done, print_table
from benchmarks.rig import mosquitto_path


def main() -> int:
    """Run the harness."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--long", action="store_true", help="1,000 kills and 1,000 power cuts")
    parser.add_argument("--kills", type=int, help="killed processes (default: 60; --long: 1,000)")
    parser.add_argument("--cuts", type=int, help="simulated power cuts (default: 200; --long: 1,000)")
    parser.add_argument("--rate", type=float, default=100.0, help="events a second and box (default: 100)")
    parser.add_argument("--lines", type=int, default=4, help="boxes with broker and consumer (default: 4)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeat a run")
    args = parser.parse_args()
    n_kills = args.kills if args.kills is not None else (1000 if args.long else 60)
    n_cuts = args.cuts if args.cuts is not None else (1000 if args.long else 200)
    print(f"seed {args.seed}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if mosquitto_path() is None:
            rows.append(not_done("everything with a broker", "mosquitto is not installed"))
        elif n_kills:
            rows += kills.run(
                folder, kills=n_kills, rate=args.rate, seed=args.seed, lines=args.lines, say=_say
            )
        if n_cuts:
            rows += _cuts(folder, n_cuts, args.seed)
    return print_table(rows)


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
