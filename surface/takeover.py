"""``dsr-surface baseline``, ``copy`` and ``retire``: stores and boxes that do not begin or end together.

A box forgets what was receipted, so a new store never gets what went to another one before. To it those
numbers are missing, rightly: it cannot tell a box that is old from a new one whose first events were
lost. Somebody who knows says which it is. Either all is copied from the older store, and then every
number is accounted for; or an operator sets a baseline, and the numbers before it stay in the list of
gaps, marked as not expected here.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import closing
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import ConfigError
from surface.carried import add_or_refuse
from surface.muster import document
from surface.reports import store_at, store_of, total
from surface.store import Baseline

if TYPE_CHECKING:
    import argparse

    from surface.store import Store

_BOX: Final = re.compile(r"([A-Za-z0-9_-]{1,32})/([A-Za-z0-9_-]{1,32})")
_BATCH: Final = 500
_TOLD: Final = 10


def add_parsers(verbs: Any) -> None:
    """Add the commands."""
    baseline = verbs.add_parser(
        "baseline", help="say from which number on a box's events are expected in this store"
    )
    baseline.add_argument("box", nargs="*", metavar="SITE/BOX", help="none: print what was said")
    baseline.add_argument("--all", action="store_true", help="every box that has no baseline yet")
    baseline.add_argument(
        "--from", dest="first", type=int, metavar="N", help="the number (default: the lowest stored)"
    )
    baseline.add_argument("--json", action="store_true", help="print JSON")
    baseline.set_defaults(work=show_baselines)
    retire = verbs.add_parser("retire", help="forget the last muster and state of a box that is no more")
    retire.add_argument("box", nargs="+", metavar="SITE/BOX")
    retire.set_defaults(work=retire_boxes)
    copy = verbs.add_parser("copy", help="take over everything from another store, of either kind")
    copy.add_argument("--from", dest="source", required=True, metavar="PATH|URL", help="the older store")
    copy.add_argument("--from-password-file", type=Path, help="of its database's user; mode 0600")
    copy.set_defaults(work=copy_store)


def show_baselines(args: argparse.Namespace) -> int:
    """Set baselines where boxes are named, and print those that stand.

    Raises:
        ConfigError: what is named is no box, or nothing of it is here and no number is given.
    """
    if args.first is not None and (args.all or not args.box or args.first < 1):
        raise ConfigError(
            f"--from {args.first} belongs to boxes that are named, and is 1 or more",
            fix="dsr-surface baseline mine-1/box-01 --from N",
        )
    with closing(store_of(args)) as store:
        guessed = _set_baselines(store, args) if args.box or args.all else []
        found = [one for _, one in sorted(store.baselines().items())]
        heard = store.events_by_box()
        waiting = {(b.site, b.node): total(document(b.state).get("backlog")) for b in store.boxes()}
    if args.json:
        print(json.dumps([asdict(one) for one in found]))
        return 0
    for one in found:
        print(f"{one.site}/{one.node}: from number {one.from_seq} on, said on {_day(one.set_ms)}")
    for box in map(_box, args.box):
        if box not in heard:
            print(f"  no event of {'/'.join(box)} is stored yet: is that its name?")
    for box in guessed:
        if waiting.get(box):
            print(f"  {'/'.join(box)} still has {waiting[box]} events: look again when they are here")
    if not found:
        print("no baseline: of every box all numbers are expected here, from 1 on")
    return 0


def _set_baselines(store: Store, args: argparse.Namespace) -> list[tuple[str, str]]:
    """Set what the command line says; return the boxes whose number was the lowest that is stored."""
    came = store.events_by_box()
    lowest = {box: one.lowest_seq for box, one in came.items()}
    wanted = dict.fromkeys(_box(name) for name in args.box)
    if args.all:
        wanted.update(dict.fromkeys(sorted(lowest.keys() - store.baselines().keys())))
    for box in wanted:
        if args.first and box in came and args.first > came[box].highest_seq + 1:
            raise ConfigError(
                f"--from {args.first}: the highest number of {'/'.join(box)} that is stored is"
                f" {came[box].highest_seq}, and what is lost before {args.first} would not be missed",
                fix=f"a number up to {came[box].highest_seq + 1}",
            )
    now_ms = time.time_ns() // 1_000_000
    store.set_baselines(Baseline(*box, args.first or _lowest(lowest, box), now_ms) for box in wanted)
    return [] if args.first else list(wanted)


def retire_boxes(args: argparse.Namespace) -> int:
    """Forget what boxes said of themselves, so that whom they saw last is no longer counted.

    Raises:
        ConfigError: one was never heard.
    """
    with closing(store_of(args)) as store:
        heard = {(one.site, one.node) for one in store.boxes()}
        wanted = [_box(name) for name in args.box]
        if strange := [box for box in wanted if box not in heard]:
            raise ConfigError(f"{'/'.join(strange[0])} was never heard", fix="dsr-surface boxes lists them")
        for box in wanted:
            store.forget(*box)
            topic = f"mine/{box[0]}/v1/{box[1]}"
            print(f"{'/'.join(box)} is forgotten, its events stay; it comes back with what is retained under")
            print(f"  {topic}/muster and {topic}/state, unless that is removed: mosquitto_pub -r -n -t TOPIC")
    return 0


def _box(name: str) -> tuple[str, str]:
    found = _BOX.fullmatch(name)
    if found is None:
        raise ConfigError(f"{name!r:.80} is no box", fix="SITE/BOX, as `dsr-surface boxes` shows it")
    return found[1], found[2]


def _lowest(lowest: dict[tuple[str, str], int], box: tuple[str, str]) -> int:
    try:
        return lowest[box]
    except KeyError:
        raise ConfigError(
            f"no event of {'/'.join(box)} is in the store", fix="check the name, or give --from N"
        ) from None


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def copy_store(args: argparse.Namespace) -> int:
    """Take over what another store has and this one has not; the exit status is 1 if it takes some of it not.

    Events keep their order and the time they arrived; of everything else what is here already stays.
    """
    refused: list[str] = []
    stored = known = 0
    if args.source == args.db:
        raise ConfigError(
            f"--from and --db are the same store: {args.db}", fix="name the older store in --from"
        )
    with (
        closing(store_at(args.source, args.from_password_file)) as source,
        closing(store_of(args, make=True)) as store,
    ):
        last = -1
        while rows := source.arrivals(after=last, most=_BATCH):
            last = rows[-1][0]
            new, old = add_or_refuse(store, [one for _, one in rows], refused)
            stored, known = stored + new, known + old
        _copy_the_rest(source, store)
    print(f"{stored} events stored, {known} known already, {len(refused)} refused")
    for why in refused[:_TOLD]:
        print(f"  {why}")
    return 1 if refused else 0


def _copy_the_rest(source: Store, store: Store) -> None:
    heard = {(one.site, one.node) for one in store.boxes()}
    store.say(one for one in source.said() if (one.site, one.node) not in heard)
    names, set_here = store.roster(), store.baselines()
    store.import_roster(
        {ref: name for ref, name in source.roster().items() if ref not in names}, replace=False
    )
    store.set_baselines(one for box, one in source.baselines().items() if box not in set_here)
