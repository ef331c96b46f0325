"""``dsr-engine verify``: INT8 against FP32 on people that nothing was tuned to; refuses a bad engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edge_app.cli.parsers import SubParsers


def add_parser(subparsers: SubParsers) -> None:
    """Add the ``verify`` sub-command."""
    parser = subparsers.add_parser("verify", help="the acceptance gate: an engine against the FP32 network")
    parser.add_argument("candidate", type=Path, help="manifest of the engine or of the Q/DQ file")
    parser.add_argument(
        "--reference",
        type=Path,
        default=Path("models/dsr_inception.json"),
        help="manifest of the FP32 network",
    )
    parser.add_argument("--backend", help="which backend runs the candidate (default: the first that can)")
    parser.add_argument("--data", type=Path, help="folder of the face sets (default: DSR_DATA)")
    parser.add_argument(
        "--detector", type=Path, help="CenterFace manifest (default: the one that set-up made)"
    )
    parser.add_argument("--out", type=Path, help="write the table and figures as JSON")
    parser.add_argument(
        "--cache", type=Path, help="folder that keeps the reference's embeddings between runs"
    )
    parser.add_argument(
        "--record", action="store_true", help="write the verdict into the candidate's manifest"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print the table; 0 accepted, 4 refused."""
    from build_engine.verify import verify_command

    return verify_command(args)
