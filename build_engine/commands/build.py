"""``dsr-engine build``: the quantised graph becomes an engine for this box's GPU."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

    from typing_extensions import Self

    from edge_app.cli.parsers import SubParsers

_QUIET_S: Final = 10.0
_PROGRESS: Final = "progress: "


def add_parser(subparsers: SubParsers) -> None:
    """Add the ``build`` sub-command."""
    parser = subparsers.add_parser("build", help="build a TensorRT or TensorRT-RTX engine")
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("models/dsr_inception.json"),
        help="manifest of the FP32 model; the graphs for builders lie beside it",
    )
    parser.add_argument("--backend", choices=("tensorrt", "tensorrt-rtx"), default="tensorrt")
    parser.add_argument("--precision", choices=("int8", "fp16", "fp32"), default="int8")
    parser.add_argument("--out", type=Path, default=Path("state/engines"), help="folder of the engines")
    parser.add_argument(
        "--target", metavar="SMxx", help="build for this GPU instead of the one here (TensorRT-RTX only)"
    )
    parser.add_argument(
        "--dla", type=int, nargs="?", const=0, metavar="CORE", help="on a DLA core (TensorRT up to 10.x)"
    )
    parser.add_argument("--calibration", type=Path, help="manifest of the calibration pictures, for --dla")
    parser.add_argument("--pictures", type=Path, help="the calibration pictures' folder, for --dla")
    parser.add_argument(
        "--size", type=_size, metavar="WxH", help="a detector's picture, pixels: multiples of 32 (640x384)"
    )
    parser.add_argument("--max-batch", type=_batch, default=8, help="faces at once, at most (default: 8)")
    parser.add_argument("--workspace", type=int, metavar="MIB", help="memory for the builder's tactics")
    parser.add_argument(
        "--cache", type=Path, help="folder of the timing cache (default: that of the engines)"
    )
    parser.add_argument("--allow-fp16", action="store_true", help="build FP16 where INT8 fails, and say so")
    parser.add_argument("--force", action="store_true", help="build even if nothing changed")
    parser.set_defaults(run=run)


def _size(text: str) -> tuple[int, int]:
    import argparse

    width, by, height = text.lower().partition("x")
    if not (by and width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT, such as 640x384; received {text!r}")
    return int(width), int(height)


def _batch(text: str) -> int:
    import argparse

    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of faces above 0; received {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Build, and print where the engine is; returns the exit status."""
    from build_engine.build import BuildOptions, build_engine
    from build_engine.implicit import calibrator_for
    from build_engine.trt_api import Toolkit

    options = BuildOptions(
        model=args.model,
        out=args.out,
        precision=args.precision,
        target=args.target,
        dla_core=args.dla,
        max_batch=args.max_batch,
        workspace_mib=args.workspace,
        cache=args.cache,
        allow_fp16=args.allow_fp16,
        force=args.force,
        size=args.size,
    )
    toolkit = Toolkit(args.backend)
    calibrator = None
    if args.dla is not None and args.precision == "int8":
        calibrator = calibrator_for(toolkit, args.model, manifest=args.calibration, pictures=args.pictures)
    with Progress() as progress:
        result = build_engine(toolkit, options, say=progress.say, calibrator=calibrator)
    if not result.built:
        print(f"{result.manifest}: up to date; {result.reason}")
        return 0
    print(f"{result.manifest}: built in {result.seconds:.1f} s because {result.reason}")
    return 0


class Progress:
    """Tells on standard error what a build does, with the time it has taken; never silent for long."""

    def __init__(self) -> None:
        self._started = self._told = time.monotonic()
        self._doing = "starting"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tell_on, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def say(self, text: str) -> None:
        """Print `text` with the elapsed time; steps of the builder only when it was quiet for long."""
        if text.startswith(_PROGRESS):
            self._doing = text.removeprefix(_PROGRESS)
            return
        self._print(text)

    def _tell_on(self) -> None:
        while not self._done.wait(1.0):
            if time.monotonic() - self._told >= _QUIET_S:
                self._print(self._doing)

    def _print(self, text: str) -> None:
        self._told = time.monotonic()
        print(f"{self._told - self._started:6.1f} s  {text}", file=sys.stderr)
