"""``dsr-engine``: from the trained network to an engine that proves itself; one sub-command a module.

Every module of `build_engine.commands` in the table has ``add_parser(subparsers)`` and
``run(args) -> int``. They import what they need when they run, so that ``--help`` is quick and works
without TensorFlow, TensorRT, ONNX or a GPU.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING

from build_engine.commands import build, export, inspect, quantize, rebuild, release, verify
from edge_app.errors import DsrError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: In the order in which an engineer uses them.
_COMMANDS = (export, quantize, release, build, inspect, verify, rebuild)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="dsr-engine",
        description="Turns the trained recogniser into the files that a box runs, and proves them.",
        epilog="exit status: 0 done, 2 wrong input, 4 a model was refused",
    )
    parser.add_argument("--verbose", action="store_true", help="show progress on standard error")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(message)s")
    from dsr_inception.errors import DataError

    try:
        return int(args.run(args))
    except DsrError as error:
        print(f"dsr-engine: {error}", file=sys.stderr)
        return error.exit_status
    except DataError as error:
        print(f"dsr-engine: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
