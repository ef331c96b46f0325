"""``dsr-calibrate``: choose and check the pictures, then measure ranges.

``manifest`` reads a folder of MF pictures and writes which of them calibrate, or refuses the set and
says why; ``collect`` runs the network on them and writes scales.json with a report of histograms.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.errors import ConfigError, DsrError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
_METHODS = ("max", "percentile", "mse", "wide", "entropy")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="dsr-calibrate",
        description="Chooses the pictures that INT8 scales are measured on, and measures them.",
        epilog="exit status: 0 done, 2 the pictures were refused, 4 the network was",
    )
    parser.add_argument("--verbose", action="store_true", help="show progress on standard error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    make = commands.add_parser("manifest", help="choose and check pictures of an MF folder")
    make.add_argument(
        "folder", type=Path, help="MF pictures: PERSON/LEVEL/POSE.jpg, or a tar archive of them"
    )
    make.add_argument("--out", type=Path, default=Path("models/dsr_inception.calibration.json"))
    make.add_argument("--consent", type=Path, help="the consent note (default: consent.json in the folder)")
    make.add_argument(
        "--splits", type=Path, help="splits.json: its test people may not be among the pictures"
    )
    make.add_argument("--held-out", type=Path, help="text file, one evaluation person a line")
    make.add_argument("--people", help="NAME,NAME,... or `development`: the development people of --splits")
    make.add_argument("--count", type=int, default=96, help="pictures to take (default: 96)")
    make.add_argument("--detector", type=Path, help="CenterFace manifest (default: the one that set-up made)")
    make.set_defaults(run=_manifest)
    measure = commands.add_parser("collect", help="measure ranges and write scales.json")
    measure.add_argument("folder", type=Path, help="the same MF pictures")
    measure.add_argument("--manifest", type=Path, default=Path("models/dsr_inception.calibration.json"))
    measure.add_argument(
        "--model",
        type=Path,
        default=Path("models/dsr_inception.plain.json"),
        help="manifest of the plain ONNX",
    )
    measure.add_argument(
        "--method", choices=_METHODS, default="wide", help="how a range is chosen (default: wide)"
    )
    measure.add_argument("--out", type=Path, default=Path("models/dsr_inception.scales.json"))
    measure.add_argument("--no-equalise", action="store_true", help="leave the channels as they are")
    measure.add_argument("--report", type=Path, help="write histograms as HTML")
    measure.set_defaults(run=_collect)
    return parser


def _manifest(args: argparse.Namespace) -> int:
    from calibration.pictures import PictureFolder
    from calibration.survey import read_consent, survey
    from edge_app.faces.detect import CenterFace

    folder = PictureFolder(args.folder)
    detector = args.detector or ROOT / ".cache" / "models" / "centerface.json"
    if not detector.is_file():
        raise ConfigError(
            f"the detector is missing: {detector}", fix="run `python3 run.py setup`, or give --detector"
        )
    held_out, people = _people(args)
    result = survey(
        folder,
        CenterFace.open(detector),
        consent=read_consent(folder, args.consent),
        held_out=held_out,
        people=people,
        count=args.count,
    )
    for line in result.manifest.dropped:
        print(f"left out: {line}")
    for finding in result.findings:
        print(f"{'REFUSED' if finding.refuses else 'warning'} [{finding.code}] {finding.text}")
    if result.refused:
        print(f"nothing written: {args.folder} cannot calibrate", file=sys.stderr)
        return 2
    digest = result.manifest.write(args.out)
    summary = result.manifest.as_json()
    light = summary["luminance"]
    print(f"{args.out}: {summary['pictures']} pictures of {summary['people']} people, sha256 {digest[:16]}")
    print(f"levels {summary['levels']} ({summary['simulated_ash']} simulated), poses {summary['poses']}")
    print(f"luminance {light['min']} .. {light['median']} .. {light['max']}")
    return 0


def _people(args: argparse.Namespace) -> tuple[list[str] | None, list[str] | None]:
    """Return the evaluation people and the people to take, None where nothing was said."""
    splits: dict[str, list[str]] = {}
    held_out: list[str] | None = None
    try:
        if args.splits:
            splits = json.loads(args.splits.read_bytes())
            held_out = [name for key, names in splits.items() if key.endswith("_test") for name in names]
        if args.held_out:
            lines = args.held_out.read_text(encoding="utf-8").splitlines()
            held_out = [*(held_out or []), *(line.strip() for line in lines if line.strip())]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"the evaluation people cannot be read: {error}", fix="check --splits, --held-out"
        ) from error
    if not args.people:
        return held_out, None
    if args.people != "development":
        return held_out, args.people.split(",")
    if "mf_development" not in splits:
        raise ConfigError("--people development needs the development people", fix="give --splits")
    return held_out, splits["mf_development"]


def _collect(args: argparse.Namespace) -> int:
    from calibration.collect import Scales, choose_scales, observe, observe_channels, versions
    from calibration.equalise import equalise
    from calibration.manifest import crops_of, load_calibration_manifest, replace_file
    from calibration.network import load_network, require_preprocess
    from calibration.pictures import PictureFolder
    from calibration.report import report_html
    from edge_app.engines.manifest import load_manifest

    model_manifest = load_manifest(args.model)
    model = load_network(model_manifest.path, sha256=model_manifest.sha256)
    require_preprocess(model, name=str(model_manifest.path))
    manifest, digest = load_calibration_manifest(args.manifest)
    crops = crops_of(manifest, PictureFolder(args.folder))
    channels = {} if args.no_equalise else observe_channels(model, crops)
    equal = equalise(model, channels)
    histograms = observe(equal, crops)
    scales = Scales(
        model_sha256=model_manifest.sha256,
        manifest_sha256=digest,
        method=args.method,
        pictures=len(crops),
        tensors=choose_scales(equal, histograms, method=args.method),
        channels=channels,
        made_with=versions(),
    )
    found = scales.write(args.out)
    chosen = [t for t in scales.tensors.values() if t.quantised]
    print(f"{args.out}: {len(chosen)} of {len(scales.tensors)} tensors, {args.method}, sha256 {found[:16]}")
    if args.report:
        replace_file(args.report, report_html(scales, histograms).encode())
        print(args.report)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(message)s")
    try:
        return int(args.run(args))
    except DsrError as error:
        print(f"dsr-calibrate: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
