"""``dsr-edge doctor``: does everything work here, and if not, what to do.

Exit status: 0 all is well, 1 there is something to look at, 2 there is something to mend.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from edge_app.cli.parsers import add_config_option
from edge_app.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from edge_app.cli.parsers import SubParsers
    from edge_app.health.doctor import Check


def add_parser(subparsers: SubParsers) -> None:
    """Add ``doctor``."""
    parser = subparsers.add_parser(
        "doctor",
        help="check everything the daemon needs, and say what to do",
        epilog="exit status: 0 all is well, 1 warnings only, 2 something does not work",
    )
    add_config_option(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look at everything; returns 0, 1 or 2."""
    from edge_app import log
    from edge_app.health import doctor

    log.configure(level="error")
    findings = []
    for finding in doctor.examine(_checks(args)):
        findings.append(finding)
        if not args.json:
            print(doctor.as_text(finding), flush=True)
    print(doctor.as_json(findings) if args.json else f"\n{doctor.summary(findings)}")
    sys.stdout.flush()
    return doctor.exit_status(findings)


def _checks(args: argparse.Namespace) -> list[Check]:
    from edge_app import wiring
    from edge_app.clock import SystemClock
    from edge_app.health.checks import table

    clock = SystemClock()
    try:
        config = wiring.load_config(args.config)
    except ConfigError as error:
        return table.broken_config_checks(args.config, error, clock)
    openers = table.Openers(
        detector=partial(wiring.build_detector, tracked=True),
        recogniser=wiring.build_recogniser,
        delivery=wiring.delivery_options,
        first_frame=wiring.first_frame,
    )
    return table.box_checks(args.config, config, openers, clock)
