"""``dsr-engine quantize``: the plain ONNX and its scales become both Q/DQ files and the calibration cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edge_app.cli.parsers import SubParsers


def add_parser(subparsers: SubParsers) -> None:
    """Add the ``quantize`` sub-command."""
    parser = subparsers.add_parser("quantize", help="plain ONNX and scales to INT8 Q/DQ files")
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("models/dsr_inception.plain.json"),
        help="manifest of the plain ONNX",
    )
    parser.add_argument(
        "--scales",
        type=Path,
        default=Path("models/dsr_inception.scales.json"),
        help="of `dsr-calibrate collect`",
    )
    parser.add_argument("--out", type=Path, help="folder of the files (default: the model's)")
    parser.add_argument(
        "--tensorrt",
        default="100300",
        metavar="VERSION",
        help="version in the cache's first line (10.3: 100300)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the files, print their paths and what is in INT8."""
    from build_engine.quantize import quantize_files

    result = quantize_files(args.model, args.scales, args.out or args.model.parent, version=args.tensorrt)
    for path in result.files:
        print(path)
    print(result.summary())
    return 0
