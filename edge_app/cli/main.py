"""``dsr-edge``: one command, one sub-command a module.

Every sub-command module has ``add_parser(subparsers)`` and ``run(args) -> int``. They import what
they need when they run, so that ``--help`` is quick and works on a machine without a GPU, a camera
or an inference runtime.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from edge_app.cli import command, config, doctor, emit, engine, look, outbox, people, presence, run
from edge_app.errors import AccessError, DsrError

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = (run, config, people, presence, look, doctor, outbox, emit, engine, command)


class _Version(argparse.Action):
    """Looks the version up when it is asked for, and not at every start."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from edge_app.wiring import version

        print(f"{parser.prog} {version()}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="dsr-edge",
        description="Recognises registered miners in front of the cameras and tells the mine over MQTT.",
        epilog="exit status: 0 done, 2 wrong input, 3 source, 4 model, 5 people, 6 outbox, 7 broker",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the program's version")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = build_parser().parse_args(argv)
    _only_warnings()
    try:
        return int(args.run(args))
    except DsrError as error:
        return _refused(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `dsr-edge ... | head`: nobody is left to read; not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # most often: somebody forgot `sudo -u dsr-edge`
        return _refused(AccessError.of(error))


def _refused(error: DsrError) -> int:
    print(f"dsr-edge: {error}", file=sys.stderr)
    return error.exit_status


def _only_warnings() -> None:
    """Let a command's own lines stand alone on the terminal; what wants another level sets it up anew."""
    from edge_app import log

    log.configure(level="warning")


if __name__ == "__main__":
    sys.exit(main())
