"""``dsr-engine quantize``: the plain ONNX and its scales become both Q/DQ files and the calibration cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from build_engine.placement import SECOND_TERMS

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
    parser.add_argument("--pictures", type=Path, help="folder of the calibration pictures, to correct biases")
    parser.add_argument(
        "--manifest",
        type=Path,
        default=Path("models/dsr_inception.calibration.json"),
        help="of the calibration pictures",
    )
    parser.add_argument(
        "--float",
        default="auto",
        metavar="NAMES",
        help="which convolutions stay in float: beginnings of their names, separated by commas; "
        "auto (the default) spares the costliest, as long as nine tenths of the multiply-adds run in INT8",
    )
    parser.add_argument(
        "--second-terms",
        type=float,
        default=SECOND_TERMS,
        metavar="SHARE",
        help="how many more multiply-adds may be spent, in INT8, on inputs for which eight bits are too few "
        "(default: %(default)s; 0 for none)",
    )
    parser.add_argument("--no-correction", action="store_true", help="leave the biases: costs accuracy")
    parser.add_argument(
        "--sensitivity",
        type=Path,
        metavar="JSON",
        help="also measure what each layer costs, and write it here",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the files, print their paths and what is in INT8."""
    import json

    from build_engine.quantize import Pictures, quantize_files
    from edge_app.errors import ConfigError

    if args.pictures is None and not args.no_correction:
        raise ConfigError(
            "biases are corrected on the calibration pictures; none were given",
            fix="add --pictures FOLDER, or --no-correction",
        )
    pictures = Pictures(folder=args.pictures, manifest=args.manifest) if args.pictures else None
    out = args.out or args.model.parent
    result = quantize_files(
        args.model,
        args.scales,
        out,
        version=args.tensorrt,
        pictures=pictures,
        keep_float=getattr(args, "float"),  # noqa: B009 -- the option's own name
        second_terms=args.second_terms,
    )
    for path in result.files:
        print(path)
    print(result.summary())
    if args.sensitivity:
        from build_engine.sensitivity import as_json, sensitivity, table
        from calibration.collect import load_scales
        from calibration.manifest import replace_file

        if pictures is None:
            raise ConfigError("the sensitivity report needs pictures", fix="add --pictures FOLDER")
        crops = pictures.crops(load_scales(args.scales)[0])[::4]
        network = result.network
        layers = sensitivity(network.equal, network.quantised, network.scales, crops, rounded=network.rounded)
        replace_file(args.sensitivity, (json.dumps(as_json(layers), indent=1) + "\n").encode())
        print(table(layers))
    return 0
