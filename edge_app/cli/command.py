r"""``dsr-edge command``: make a key and sign commands; for whoever gives them, not for the box.

A signed command is one line, to be published as it is::

    dsr-edge command sign --key control-room.pem --site north --node box-07 --verb muster \
        | mosquitto_pub -t mine/north/v1/box-07/cmd/muster -q 1 -s
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_app.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from edge_app.cli.parsers import SubParsers
    from edge_app.commands.signed import Argument

_VALID_S: Final = 300


def add_parser(subparsers: SubParsers) -> None:
    """Add ``command`` and its actions."""
    parser = subparsers.add_parser("command", help="make a key, and sign commands for a box")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    keygen = actions.add_parser("keygen", help="make a key: FILE, to be kept, and FILE.pub beside it")
    keygen.add_argument("--out", type=Path, required=True, metavar="FILE.pem", help="never overwritten")
    keygen.set_defaults(run=run, work=_keygen)
    sign = actions.add_parser("sign", help="print a signed command, ready to be published")
    sign.add_argument("--key", type=Path, required=True, metavar="FILE.pem", help="the private key")
    sign.add_argument("--site", required=True, help="the mine of the box")
    sign.add_argument("--node", required=True, help="the box")
    sign.add_argument(
        "--verb", required=True, help="what it shall do: identify, muster, reload, engine, gallery"
    )
    sign.add_argument(
        "--arg", action="append", default=[], metavar="NAME=VALUE", help="an argument of the verb; repeat"
    )
    sign.add_argument(
        "--valid-s", type=int, default=_VALID_S, help=f"seconds until it expires (default: {_VALID_S})"
    )
    sign.add_argument(
        "--counter", type=int, help="above all that this key has signed (default: milliseconds since 1970)"
    )
    sign.set_defaults(run=run, work=_sign)


def run(args: argparse.Namespace) -> int:
    """Do what the action says; returns the exit status."""
    return int(args.work(args))


def _keygen(args: argparse.Namespace) -> int:
    from edge_app.commands.keys import make_key

    key_id = make_key(args.out)
    print(f"made {args.out} (keep it) and {args.out.with_suffix('.pub')} (for the boxes); key {key_id}")
    return 0


def _sign(args: argparse.Namespace) -> int:
    from edge_app.commands.keys import read_private
    from edge_app.commands.signed import MAX_VALID_MS, sign_command

    if not 0 < args.valid_s * 1000 <= MAX_VALID_MS:
        raise ConfigError(
            f"--valid-s {args.valid_s} is nothing that a box takes",
            fix=f"1 to {MAX_VALID_MS // 1000} seconds",
        )
    now_ms = time.time_ns() // 1_000_000
    key_id, private = read_private(args.key)
    try:
        payload = sign_command(
            private=private,
            key_id=key_id,
            site=args.site,
            node=args.node,
            verb=args.verb,
            args=dict(map(_argument, args.arg)),
            counter=now_ms if args.counter is None else args.counter,
            expires_ms=now_ms + args.valid_s * 1000,
        )
    except ValueError as error:
        raise ConfigError(str(error), fix="see docs/commands.md") from error
    print(f"publish it to mine/{args.site}/v1/{args.node}/cmd/{args.verb}", file=sys.stderr)
    print(payload.decode("ascii"))
    return 0


def _argument(text: str) -> tuple[str, Argument]:
    """Return name and value of ``NAME=VALUE``: true, false and null mean that, all else is text.

    Digits as well: a card's number is a reference, and 0012 is not 12.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--arg takes NAME=VALUE; received {text!r:.60}", fix="e.g. --arg rollback=true")
    words: dict[str, Argument] = {"true": True, "false": False, "null": None}
    return name, words.get(value, value)
