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
from benchmarks.rig import mosquitto_path


def main() -> int:
    """Run the harness."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--long", action="store_true", help="1,000 faults and 1,000 power cuts")
    parser.add_argument("--kills", type=int, help="faults (default: 60; --long: 1,000)")
    parser.add_argument("--cuts", type=int, help="simulated power cuts (default: 200; --long: 1,000)")
    parser.add_argument("--rate", type=float, default=400.0, help="events a second (default: 400)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeat a run")
    args = parser.parse_args()
    n_kills = args.kills if args.kills is not None else (1000 if args.long else 60)
    n_cuts = args.cuts if args.cuts is not None else (1000 if args.long else 200)
    print(f"seed {args.seed}")
    with tempfile.TemporaryDirectory() as name:
        return max(_cuts(Path(name), n_cuts, args.seed), _kills(Path(name), n_kills, args.rate, args.seed))


def _kills(folder: Path, n: int, rate: float, seed: int) -> int:
    if n == 0:
        return 0
    if mosquitto_path() is None:
        print("mosquitto is not installed: no kills")
        return 1
    books = kills.run(folder, kills=n, rate=rate, seed=seed, say=lambda text: print(f"  {text}", flush=True))
    faults = ", ".join(f"{count} x {name}" for name, count in books.faults.items())
    print(f"{n} faults in {books.seconds:.0f} s: {faults}")
    for what, value, wanted in (
        ("committed (the box said so)", books.committed, None),
        ("numbers given by the box", books.numbers, None),
        ("stored by the consumer", books.stored, None),
        ("committed and not stored", books.lost, 0),
        ("numbers never stored", books.holes, 0),
        ("stored twice", books.twice, 0),
        ("out of order in their priority", books.out_of_order, 0),
    ):
        verdict = "" if wanted is None else ("ok" if value == wanted else "BROKEN")
        print(f"  {what:34} {value:10,}  {verdict}")
    return 0 if books.clean else 1


def _cuts(folder: Path, n: int, seed: int) -> int:
    if n == 0:
        return 0
    why_not = powercut.impossible()
    if why_not:
        print(f"no simulated power cuts: {why_not}")
        return 0
    found = powercut.run(folder / "full", cuts=n, seed=seed)
    control = powercut.run(folder / "normal", cuts=20, seed=seed, synchronous="NORMAL")
    print(f"{found.cuts} simulated power cuts over {found.operations:,} writes and {found.syncs:,} syncs")
    for what, value, wanted in (
        ("events committed before a cut, summed", found.committed, None),
        ("of these not there afterwards", found.lost, 0),
        ("databases damaged", found.damaged, 0),
    ):
        verdict = "" if wanted is None else ("ok" if value == wanted else "BROKEN")
        print(f"  {what:38} {value:10,}  {verdict}")
    print(f"  control, not fully synchronised: {control.lost:,} of {control.committed:,} lost")
    return 0 if found.lost == found.damaged == 0 < control.lost else 1


if __name__ == "__main__":
    sys.exit(main())
