"""``dsr-surface``: the reference consumer on a command line.

::

    dsr-surface run --broker 10.0.0.5 --site mine-1 --keys keys/ --db surface.db
    dsr-surface muster --db surface.db
    dsr-surface gaps --db surface.db

`keys` is a folder with one file a box, named as the box (``box-01``), or ``default`` for all others; each
holds 64 hexadecimal digits, mode 0600, the same as the box's ``delivery.consumers[].key_file``.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.errors import ConfigError, DsrError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.work(args))
    except DsrError as error:
        print(f"dsr-surface: {error}", file=sys.stderr)
        return error.exit_status


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="dsr-surface", description="Stores what the boxes send, and receipts it."
    )
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    run = verbs.add_parser("run", help="subscribe, store, receipt; until SIGTERM")
    run.add_argument("--broker", required=True, metavar="HOST[:PORT]", help="the mine's broker")
    run.add_argument("--site", default="+", help="one mine only (default: all)")
    run.add_argument(
        "--consumer", default="surface", help="our id in the boxes' configuration (default: surface)"
    )
    run.add_argument("--keys", type=Path, required=True, help="folder of the keys shared with the boxes")
    run.add_argument("--username", help="at the broker")
    run.add_argument("--password-file", type=Path, help="at the broker; mode 0600")
    run.add_argument("--ca-file", type=Path, help="authority of the broker's certificate; switches TLS on")
    muster = verbs.add_parser("muster", help="who was last seen where, over all boxes")
    muster.add_argument("--json", action="store_true", help="print JSON")
    gaps = verbs.add_parser("gaps", help="numbers that never came, and whether their loss was reported")
    for verb, work in ((run, _run), (muster, _muster), (gaps, _gaps)):
        verb.add_argument("--db", type=Path, required=True, help="the store (SQLite)")
        verb.set_defaults(work=work)
    return parser


def read_keys(folder: Path) -> dict[str, bytes]:
    """Return the keys in `folder` by node; ``default`` counts for all others.

    Raises:
        ConfigError: there is none, or one cannot be used.
    """
    from edge_app.delivery.receipts import read_key

    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise ConfigError(
            f"the keys' folder {folder} cannot be read: {error.strerror}", fix="check --keys"
        ) from error
    if not files:
        raise ConfigError(f"there is no key in {folder}", fix=f"openssl rand -hex 32 > {folder}/default")
    return {
        "*" if path.name == "default" else path.name: read_key(path, consumer=path.name) for path in files
    }


def _run(args: argparse.Namespace) -> int:
    from edge_app.delivery.receipts import read_secret
    from surface.consumer import Consumer, ConsumerSettings
    from surface.store import Store

    host, _, port = args.broker.partition(":")
    if not port.isdigit() and port:
        raise ConfigError(f"not a broker: {args.broker!r}", fix="HOST or HOST:PORT")
    secret = None
    if args.password_file is not None:
        secret = read_secret(args.password_file, what="the password file").decode("utf-8")
    settings = ConsumerSettings(
        host=host,
        port=int(port or (8883 if args.ca_file else 1883)),
        consumer=args.consumer,
        site=args.site,
        keys=read_keys(args.keys),
        username=args.username,
        password=secret,
        ca_file=args.ca_file,
    )
    consumer = Consumer(settings=settings, store=Store(args.db))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: consumer.stop())
    consumer.run()
    print(f"{consumer.stored} stored, {consumer.duplicates} known already, {consumer.refused} refused")
    return 0


def _muster(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from surface.muster import mine_muster
    from surface.store import Store

    found = mine_muster(Store(args.db), now_ms=time.time_ns() // 1_000_000)
    if args.json:
        print(json.dumps({"headcount": found.headcount, **asdict(found)}))
        return 0
    print(f"headcount {found.headcount}: {len(found.people)} registered, {len(found.strangers)} unknown")
    for one in (*found.people, *found.strangers):
        box = f"{one.node}{'  BOX SILENT' if one.silent else ''}"
        print(f"  {one.person_ref or '(unknown)':32} {one.zone:20} {one.age_s:8.0f} s ago  {box}")
    for box in found.silent_boxes:
        print(f"  box {box} is not there: its people may be elsewhere")
    for camera in found.blind_cameras:
        print(f"  camera {camera} is blind")
    return 0


def _gaps(args: argparse.Namespace) -> int:
    from surface.store import Store

    found = Store(args.db).missing()
    for one in found:
        told = "reported by the box" if one.reported else "NOT REPORTED (or still on its way)"
        print(f"{one.site}/{one.node}: {one.from_seq}..{one.to_seq}  {told}")
    if not found:
        print("nothing is missing")
    return 0 if all(one.reported for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
