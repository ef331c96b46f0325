"""``dsr-engine rebuild``: build again what the daemon could not use any more; run by systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edge_app.cli.parsers import SubParsers


def add_parser(subparsers: SubParsers) -> None:
    """Add the ``rebuild`` sub-command."""
    from edge_app.cli.parsers import add_config_option

    parser = subparsers.add_parser(
        "rebuild",
        help="build what the daemon asked for, sign it and take it into use (dsr-edge-build.service)",
        description="Takes the request that the daemon left beside the engines (engines.rebuild: true), "
        "builds that engine anew, signs it with this box's key, and takes it into use after every check.",
    )
    add_config_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Build, and print what became of it; returns the exit status."""
    from build_engine.commands.build import Progress
    from build_engine.rebuild import rebuild
    from edge_app.wiring import load_config

    config = load_config(args.config)
    with Progress() as progress:
        outcome = rebuild(config, say=progress.say)
    if outcome is None:
        print(f"nothing was asked for in {config.engines.folder}")
    else:
        print(f"{outcome.built}: {outcome.said}")
    return 0
