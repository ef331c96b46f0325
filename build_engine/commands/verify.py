"""``dsr-engine verify``: INT8 against FP32 on people that nothing was tuned to; refuses a bad engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

    from edge_app.cli.parsers import SubParsers


ROOT: Final = Path(__file__).resolve().parents[2]
#: The exit status of a refused engine: that of every `ModelError`.
REFUSED: Final = 4


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
    parser.add_argument(
        "--backend",
        choices=("onnxruntime", "openvino", "tensorrt"),
        help="runs the candidate (default: by its file)",
    )
    parser.add_argument("--data", type=Path, help="folder of the face sets (default: DSR_DATA)")
    parser.add_argument(
        "--detector", type=Path, help="CenterFace manifest (default: the one that set-up made)"
    )
    parser.add_argument(
        "--sets",
        nargs="+",
        choices=("lfw", "mf"),
        default=["lfw", "mf"],
        help="faces to judge on (default: both)",
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
    import json

    from build_engine.verify import Faces, record_verdict, summary, today, verify_files
    from calibration.manifest import replace_file
    from dsr_inception.datasets import data_folder
    from edge_app.errors import ConfigError
    from edge_app.faces.detect import CenterFace

    detector = args.detector or ROOT / ".cache" / "models" / "centerface.json"
    if not detector.is_file():
        fix = "run `python3 run.py setup`, or give --detector"
        raise ConfigError(f"the detector is missing: {detector}", fix=fix)
    faces = Faces(folder=data_folder(args.data), detector=CenterFace.open(detector), sets=tuple(args.sets))
    verdict = verify_files(args.candidate, args.reference, faces, backend=args.backend, cache=args.cache)
    accuracy = verdict.as_json(date=today())
    print(summary(verdict))
    if args.out:
        replace_file(args.out, (json.dumps(accuracy, indent=1) + "\n").encode())
    if args.record:
        record_verdict(args.candidate, accuracy)
    return 0 if verdict.accepted else REFUSED
