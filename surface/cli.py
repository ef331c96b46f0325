"""``dsr-surface``: the reference consumer on a command line.

::

    dsr-surface run --broker 10.0.0.5 --site mine-1 --keys keys/ --db surface.db
    dsr-surface muster --db surface.db
    dsr-surface boxes --db surface.db
    dsr-surface gaps --db surface.db
    dsr-surface roster --db surface.db --import roster.csv
    dsr-surface import events.jsonl --db surface.db
    dsr-surface copy --from surface.db --db postgresql://surface@db.mine-1/surface
    dsr-surface baseline --all --db surface.db
    dsr-surface retire mine-1/box-01 --db surface.db

`keys` is a folder with one file a box, named as the box (``box-01``), or ``default`` for all others; each
holds 64 hexadecimal digits, mode 0600, the same as the box's ``delivery.consumers[].key_file``. `db` is the
path of an SQLite file, or ``postgresql://user@host/database``.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_app.errors import ConfigError, DsrError
from surface import carried, reports, takeover

if TYPE_CHECKING:
    from collections.abc import Sequence

    from surface.link import ConsumerSettings

_BROKER: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s:/\[\]]+))(?::(?P<port>[0-9]{1,5}))?"
)
_PORTS: Final = range(1, 65536)


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
    _add_run_options(run)
    run.set_defaults(work=_run)
    reports.add_parsers(verbs)
    carried.add_parser(verbs)
    takeover.add_parsers(verbs)
    for verb in verbs.choices.values():
        verb.add_argument(
            "--db", required=True, metavar="PATH|URL", help="SQLite file, or postgresql://user@host/database"
        )
        verb.add_argument("--db-password-file", type=Path, help="of the database's user; mode 0600")
    return parser


def _add_run_options(run: argparse.ArgumentParser) -> None:
    run.add_argument("--broker", required=True, metavar="HOST[:PORT]", help="the mine's broker")
    run.add_argument("--site", default="+", help="one mine only (default: all)")
    run.add_argument("--node", default="+", help="one box only (default: all)")
    run.add_argument(
        "--consumer", default="surface", help="our id in the boxes' configuration (default: surface)"
    )
    run.add_argument(
        "--share", metavar="NAME", help="one of several consumers on one database; each has its own NAME"
    )
    run.add_argument("--keys", type=Path, required=True, help="folder of the keys shared with the boxes")
    run.add_argument("--username", help="at the broker")
    run.add_argument("--password-file", type=Path, help="at the broker; mode 0600")
    run.add_argument("--ca-file", type=Path, help="authority of the broker's certificate; switches TLS on")
    run.add_argument("--cert-file", type=Path, help="our certificate, with --key-file")
    run.add_argument("--key-file", type=Path, help="its private key; mode 0600")


def read_keys(folder: Path) -> dict[str, bytes]:
    """Return the keys in `folder` by node; ``default`` counts for all others.

    Raises:
        ConfigError: there is none, or one cannot be used.
    """
    from edge_app.secret_files import read_hex_key
    from surface.arrive import NAME

    try:
        files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    except OSError as error:
        raise ConfigError(
            f"the keys' folder {folder} cannot be read: {error.strerror}", fix="check --keys"
        ) from error
    if not files:
        raise ConfigError(f"there is no key in {folder}", fix=f"openssl rand -hex 32 > {folder}/default")
    if strange := [path.name for path in files if not NAME.fullmatch(path.name)]:
        raise ConfigError(
            f"{folder}/{strange[0]} is named as no box can be", fix="name it as the box (box-01), or default"
        )
    return {
        "*" if path.name == "default" else path.name: read_hex_key(path, what="the key for receipts")
        for path in files
    }


def _broker(text: str) -> tuple[str, int | None]:
    """Return host and port, None where none is given."""
    found = _BROKER.fullmatch(text)
    port = int(found["port"]) if found and found["port"] else None
    if found is None or (port is not None and port not in _PORTS):
        raise ConfigError(
            f"not a broker: {text!r:.80}", fix="HOST, HOST:PORT or [IPV6]:PORT, without mqtt:// before it"
        )
    return found["v6"] or found["host"], port


def settings_from(args: argparse.Namespace) -> ConsumerSettings:
    """Return what the consumer is told by the command line.

    Raises:
        ConfigError: something of it cannot be used.
    """
    from edge_app.clock import WallQuality
    from edge_app.delivery.options import TlsOptions
    from edge_app.delivery.tls import context_for
    from edge_app.secret_files import read_secret
    from surface.arrive import NAME
    from surface.link import ConsumerSettings

    host, port = _broker(args.broker)
    for option in ("site", "node", "consumer", "share"):
        value = getattr(args, option)
        if value not in (None, "+") and not NAME.fullmatch(value):
            raise ConfigError(
                f"--{option} {value!r:.60} is no name", fix="letters, digits, - and _; 32 at most"
            )
    secret = None
    if args.password_file is not None and args.username is None:
        raise ConfigError("--password-file is given without --username", fix="give both")
    if args.password_file is not None:
        secret = read_secret(args.password_file, what="the password file").decode("utf-8")
    tls = None
    if args.ca_file or args.cert_file or args.key_file:
        tls = TlsOptions(ca_file=args.ca_file, cert_file=args.cert_file, key_file=args.key_file)
        context_for(tls, quality=WallQuality.SYNC)  # says now what each connection would say
    return ConsumerSettings(
        host=host,
        port=port or (8883 if tls else 1883),
        consumer=args.consumer,
        site=args.site,
        node=args.node,
        share=args.share,
        keys=read_keys(args.keys),
        username=args.username,
        password=secret,
        tls=tls,
    )


def _run(args: argparse.Namespace) -> int:
    from edge_app import log
    from surface.consumer import Consumer

    log.configure()
    consumer = Consumer(settings=settings_from(args), store=reports.store_of(args, make=True))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: consumer.stop())
    consumer.run()
    print(
        f"{consumer.stored} stored, {consumer.duplicates} known already, {consumer.refused} refused,"
        f" {consumer.overflowed} not read"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
