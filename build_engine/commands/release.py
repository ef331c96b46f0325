"""``dsr-engine release``: from the plain ONNX and the pictures to both INT8 files with their verdict.

What it runs are the other commands, each printed before it runs, so that the whole can be repeated by hand
from any step on. It stops at the first that refuses.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from edge_app.cli.parsers import SubParsers

    Step = tuple[str, list[str]]

_VARIANTS: Final = ("qdq-fp32", "qdq-fp16")


def add_parser(subparsers: SubParsers) -> None:
    """Add the ``release`` sub-command."""
    parser = subparsers.add_parser(
        "release",
        help="calibrate, quantise and accept the exported recogniser: all steps in one go",
        description="Runs dsr-calibrate manifest and collect, dsr-engine quantize with its sensitivity "
        "report, and dsr-engine verify --record for both Q/DQ files; prints each command before it runs.",
    )
    parser.add_argument("pictures", type=Path, help="MF pictures: a folder or a tar archive")
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("models/dsr_inception.json"),
        help="manifest of the FP32 model; the plain ONNX lies beside it",
    )
    parser.add_argument("--consent", type=Path, help="the consent note (default: in the pictures' folder)")
    parser.add_argument("--splits", type=Path, help="splits.json: its development people calibrate")
    parser.add_argument("--data", type=Path, help="folder of the face sets to judge on (default: DSR_DATA)")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/release"),
        help="folder of what is not shipped: calibration manifest, reports, the reference's embeddings",
    )
    parser.add_argument(
        "--backend",
        choices=("onnxruntime", "openvino"),
        default="onnxruntime",
        help="runs the Q/DQ files when they are judged (default: onnxruntime; OpenVINO computes "
        "their float parts in BF16, eight times coarser than a GPU's FP16)",
    )
    parser.set_defaults(run=run)


def steps(args: argparse.Namespace) -> list[Step]:
    """Return every command line in its order, as (program, arguments)."""
    model, work, pictures = args.model, args.work, str(args.pictures)
    folder, name = model.parent, model.stem
    plain, scales = folder / f"{name}.plain.json", folder / f"{name}.scales.json"
    manifest = str(work / f"{name}.calibration.json")
    people = ["--splits", str(args.splits), "--people", "development"] if args.splits else []
    consent = ["--consent", str(args.consent)] if args.consent else []
    data = ["--data", str(args.data)] if args.data else []
    judged = ["--reference", str(model), "--backend", args.backend, "--cache", str(work / "cache"), *data]
    return [
        ("dsr-calibrate", ["manifest", pictures, *people, *consent, "--out", manifest]),
        (
            "dsr-calibrate",
            ["collect", pictures, "--manifest", manifest, "--model", str(plain), "--out", str(scales),
             "--report", str(work / "ranges.html")],
        ),
        (
            "dsr-engine",
            ["quantize", "--model", str(plain), "--scales", str(scales), "--pictures", pictures,
             "--manifest", manifest, "--sensitivity", str(work / "sensitivity.json")],
        ),
        *(
            (
                "dsr-engine",
                ["verify", str(folder / f"{name}.{variant}.json"), "--record",
                 "--out", str(work / f"{variant}.verdict.json"), *judged],
            )
            for variant in _VARIANTS
        ),
    ]  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run every step; returns the exit status of the first that failed, 0 if none did."""
    from build_engine import cli as engine
    from calibration import cli as calibrate

    programs: dict[str, Callable[[Sequence[str]], int]] = {
        "dsr-calibrate": calibrate.main,
        "dsr-engine": engine.main,
    }
    refused = 0
    for program, words in steps(args):
        print(f"$ {program} {shlex.join(words)}", flush=True)
        started = time.monotonic()
        status = programs[program](words)
        print(f"({time.monotonic() - started:.0f} s, exit status {status})\n", flush=True)
        if status and words[0] != "verify":
            return status
        refused = refused or status
    return refused
