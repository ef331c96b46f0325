"""``dsr-edge outbox``: look into the store of events, and, with the daemon stopped, drain or purge it.

``status``, ``peek`` and ``export`` only read, and work beside the daemon.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_app.cli.parsers import add_config_option
from edge_app.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from edge_app.cli.parsers import SubParsers

_NAMES: Final = ("alarm", "presence", "sighting", "health")
_DIGITS: Final = 9


def add_parser(subparsers: SubParsers) -> None:
    """Add the ``outbox`` sub-command and its verbs."""
    parser = subparsers.add_parser("outbox", help="look into the store of events; drain or purge it")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    status = verbs.add_parser("status", help="how many events wait, of which priority, and what was lost")
    status.add_argument("--json", action="store_true", help="print JSON")
    peek = verbs.add_parser("peek", help="print the oldest events that wait")
    peek.add_argument("--limit", type=_at_least_one, default=10, help="how many (default: 10)")
    export = verbs.add_parser(
        "export", help="write all events that wait as JSON lines, without removing them"
    )
    export.add_argument("--out", type=Path, required=True, help="a new file; never overwritten")
    drain = verbs.add_parser("drain", help="deliver what waits now, unthrottled (the daemon must be stopped)")
    drain.add_argument("--timeout", type=float, default=600.0, help="seconds at most (default: 600)")
    purge = verbs.add_parser(
        "purge", help="delete what waits, and report it as lost (the daemon must be stopped)"
    )
    purge.add_argument("--yes", action="store_true", help="required: the events are gone after this")
    for verb, function in (
        (status, _status),
        (peek, _peek),
        (export, _export),
        (drain, _drain),
        (purge, _purge),
    ):
        add_config_option(verb)
        verb.set_defaults(run=run, work=function)


def run(args: argparse.Namespace) -> int:
    """Do what the verb says; returns the exit status."""
    from edge_app.wiring import delivery_options, load_config

    return int(args.work(args, delivery_options(load_config(args.config))))


def _at_least_one(text: str) -> int:
    import argparse

    if not text.isdecimal() or len(text) > _DIGITS or int(text) == 0:
        msg = f"{text:.40} is not a number from 1 to {'9' * _DIGITS}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _status(args: argparse.Namespace, options: Any) -> int:
    from edge_app.delivery.database import open_for_reading, translated
    from edge_app.delivery.files import has_room
    from edge_app.delivery.lock import is_owned, owner

    path = options.outbox.path
    connection = open_for_reading(path)
    with translated(path):
        tally = connection.execute("SELECT priority, n, bytes FROM tally ORDER BY priority").fetchall()
        parked = connection.execute("SELECT count(*) FROM outbox WHERE parked IS NOT NULL").fetchone()[0]
        lost, losses, unknown = connection.execute(
            "SELECT coalesce(sum(n), 0), count(*), count(*) - count(n) FROM loss"
        ).fetchone()
        alarms = [row[0] for row in connection.execute("SELECT id FROM alarm WHERE body IS NOT NULL")]
    connection.close()
    found: dict[str, Any] = {
        "outbox": str(path),
        "owner": owner(path) if is_owned(path) else None,
        "waiting": {_NAMES[priority]: n for priority, n, _ in tally},
        "bytes": sum(size for _, _, size in tally),
        "parked": parked,
        "lost": lost,
        "losses": losses,
        "losses_of_unknown_size": unknown,
        "standing_alarms": alarms,
    }
    if args.json:
        print(json.dumps(found))
        return 0
    print(
        f"{found['outbox']}: "
        + ("no daemon runs" if found["owner"] is None else f"daemon is process {found['owner']}")
    )
    for name, n in found["waiting"].items():
        print(f"  {name:10} {n:10,} waiting")
    of_these = f" ({unknown} of unknown size)" if unknown else ""
    print(f"  {found['bytes'] / 1e6:.1f} MB; {parked} parked")
    print(f"  losses: {losses}{of_these}, {'at least ' if unknown else ''}{lost} events")
    print(f"  standing alarms: {', '.join(alarms) or 'none'}")
    if not has_room(path.parent):
        print("  the disk is full: what the daemon cannot store waits in memory (`uncommitted` in its state)")
    return 0


def _peek(args: argparse.Namespace, options: Any) -> int:
    from edge_app.delivery.database import open_for_reading, translated

    path = options.outbox.path
    connection = open_for_reading(path)
    with translated(path):
        rows = connection.execute("SELECT body, parked FROM outbox ORDER BY seq LIMIT ?", (args.limit,))
        for body, parked in rows:
            print(body.decode("utf-8") + (f"   parked: {parked}" if parked else ""))
    connection.close()
    return 0


def _export(args: argparse.Namespace, options: Any) -> int:
    from edge_app.delivery.database import open_for_reading, translated

    path = options.outbox.path
    connection = open_for_reading(path)
    count, begun = 0, False
    try:
        with translated(path), args.out.open("xb") as file:
            begun = True
            for (body,) in connection.execute("SELECT body FROM outbox ORDER BY seq"):
                file.write(body + b"\n")
                count += 1
    except BaseException as error:
        if begun:  # half of it looks like all of it
            args.out.unlink()
        if not isinstance(error, OSError):
            raise
        raise ConfigError(
            f"{args.out} cannot be written: {error.strerror}",
            fix="name a file that does not exist yet, where there is room for it",
        ) from error
    finally:
        connection.close()
    print(f"{count} events written to {args.out}; they stay in the outbox")
    return 0


def _drain(args: argparse.Namespace, options: Any) -> int:
    import dataclasses

    from edge_app.clock import SystemClock, boot_id
    from edge_app.delivery.database import must_exist
    from edge_app.delivery.event import EnvelopeContext
    from edge_app.delivery.service import Delivery

    must_exist(options.outbox.path)
    context = EnvelopeContext(site=options.site, node=options.node, boot=boot_id())
    unthrottled = dataclasses.replace(options, history_per_s=None)
    delivery = Delivery(options=unthrottled, context=context, clock=SystemClock())
    delivery.start()
    deadline = time.monotonic() + args.timeout
    before = -1
    while time.monotonic() < deadline:
        time.sleep(0.6)  # the status is at most half a second old
        status = delivery.status()
        if status.connects and status.waiting <= status.parked:
            break
        if status.waiting != before:
            before = status.waiting
            print(f"{before} waiting", file=sys.stderr)
    status = delivery.status()
    delivery.stop(5.0)
    if status.parked and status.waiting <= status.parked:
        print(f"{status.delivered} delivered, {status.waiting} set aside: `dsr-edge doctor` says why")
        return 7
    if status.waiting:
        print(
            f"{status.delivered} delivered, {status.waiting} still wait: {status.last_error or 'no receipts'}"
        )
        return 7
    print(f"{status.delivered} delivered; the outbox is empty")
    return 0


def _purge(args: argparse.Namespace, options: Any) -> int:
    from edge_app.delivery.database import must_exist
    from edge_app.delivery.outbox import Outbox

    must_exist(options.outbox.path)
    if not args.yes:
        raise ConfigError(
            "purge deletes events that nobody has received", fix="add --yes if that is what you want"
        )
    outbox = Outbox(options=options.outbox)
    try:
        count = outbox.purge()
    finally:
        outbox.close()
    if count:
        print(f"{count} events deleted; the loss will be reported to the mine as a gap event")
    else:
        print("nothing waits; nothing was deleted")
    return 0
