"""``dsr-edge run``: the daemon."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.cli.parsers import add_config_option
from edge_app.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from edge_app.cli.parsers import SubParsers


def add_parser(subparsers: SubParsers) -> None:
    """Add ``run``."""
    parser = subparsers.add_parser("run", help="watch the cameras and report, until told to stop")
    add_config_option(parser)
    parser.add_argument(
        "--show", type=Path, metavar="FILE.mp4", help="also write what the first camera sees, annotated"
    )
    parser.add_argument("--log-json", action="store_true", help="JSON lines even on a terminal")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the daemon; returns 0 after a clean stop (SIGTERM, SIGINT, or the end of all files)."""
    from edge_app import log
    from edge_app.config import load_config
    from edge_app.daemon import Daemon
    from edge_app.delivery.lock import OutboxLock, is_owned

    config = load_config(args.config)
    _check_show(args.show)
    if is_owned(config.delivery.outbox):
        OutboxLock(config.delivery.outbox).release()  # says whose it is, before any model is loaded
    log.configure(level=config.log.level, json=True if args.log_json else None)
    return Daemon.from_config(config, show=args.show, source=args.config).run()


def _check_show(path: Path | None) -> None:
    """Refuse what could not be written before a running box finds out."""
    if path is None:
        return
    if path.suffix.lower() not in {".mp4", ".avi"} or not os.access(path.resolve().parent, os.W_OK):
        raise ConfigError(
            f"cannot write the video {path}", fix="give --show a .mp4 or .avi file in a folder you may write"
        )
