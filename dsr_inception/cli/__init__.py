"""`dsr-train`: train the recogniser, choose its threshold, measure it.

Commands: ``pretrain`` and ``resume`` (a recipe in YAML), ``finetune`` (the closed set), ``threshold``
(development strangers), ``evaluate`` (figures beside the peer's and dlib's), ``report`` (tables and plots
of them), ``detector`` (train the dust detector), ``detect`` (measure detectors), ``sheet`` (a contact
sheet of the conditions). Errors are one line on standard error and exit status 2; a training that a signal
stopped ends with 128 and the signal's number.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dsr_inception.cli import detector as detecting
from dsr_inception.cli import measure as measuring
from dsr_inception.cli import train as training
from dsr_inception.cli.measure import EVALUATION, PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
MODEL: Final = ROOT / "models" / "dsr_inception.onnx"
WEIGHTS: Final = ROOT / "models" / "dsr_inception.keras"
QUICK: Final = Path(__file__).resolve().parents[1] / "recipes" / "closed" / "quick.yaml"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="dsr-train", description="Train and measure the recogniser.")
    parser.add_argument("--data", type=Path, help="folder of the face sets (default: DSR_DATA)")
    commands = parser.add_subparsers(dest="command", required=True)

    for name, about in (("pretrain", "train by a recipe"), ("resume", "go on from the folder's checkpoint")):
        train = commands.add_parser(name, help=about)
        train.add_argument("--recipe", type=Path, required=name == "pretrain", help="YAML; see recipes/")
        train.add_argument("--out", type=Path, required=True, help="folder of checkpoint, log and weights")
        train.add_argument(
            "--dlib", type=Path, required=name == "pretrain", help="folder of dlib's .dat files: the teacher"
        )
        train.add_argument("--minutes", type=float, help="instead of the recipe's; `resume` keeps them")
        train.add_argument("--photos", type=int, help="only the first so many: a first look; kept as well")
        if name == "pretrain":
            train.add_argument("--init", type=Path, help="begin with these weights (.keras), optimiser fresh")

    _add_finetune(commands)
    _add_measuring(commands)
    detecting.add_parsers(commands)
    sheet = commands.add_parser("sheet", help="write a contact sheet of the simulated conditions")
    sheet.add_argument("photo", type=Path, help="an aligned face photo that may be shown")
    sheet.add_argument("out", type=Path)
    return parser


def _add_finetune(commands: Any) -> None:
    tune = commands.add_parser("finetune", help="the closed set of deep people by a scheme of Table 3")
    tune.add_argument("--init", type=Path, default=WEIGHTS)
    tune.add_argument("--recipe", type=Path, default=QUICK, help="YAML; see recipes/closed/")
    tune.add_argument("--scheme", choices=tuple("bcdef"), help="freezes 1-5 stages; instead of the recipe's")
    tune.add_argument("--centre", type=float, help="lambda of the centre loss, 0: softmax alone; as above")
    tune.add_argument("--epochs", type=int, help="as above")
    tune.add_argument("--identities", type=int, help="only the first so many")
    tune.add_argument("--cache", type=Path, help="folder where the frozen stages' values are kept")
    tune.add_argument("--out", type=Path, help="folder of figures, log, plot and classifier")


def _add_measuring(commands: Any) -> None:
    choose = commands.add_parser("threshold", help="choose the acceptance threshold on development people")
    choose.add_argument("--model", type=Path, default=MODEL)
    choose.add_argument("--out", type=Path, help="write the choice as JSON, for build_engine.export")
    choose.add_argument("--detector", type=Path, help="CenterFace manifest, for the miner-face people")

    measure = commands.add_parser("evaluate", help="measure, beside the peer and dlib's embedder")
    measure.add_argument("--model", type=Path, default=MODEL)
    measure.add_argument("--weights", type=Path, default=WEIGHTS, help="the same, .keras, for closed sets")
    measure.add_argument("--out", type=Path, help="folder of evaluation.json; other parts in it stay")
    measure.add_argument("--detector", type=Path, help="CenterFace manifest; needed by miner-face parts")
    measure.add_argument("--mf", type=Path, help="a mine's own PERSON/LEVEL/POSE.jpg instead of mf_photos")
    measure.add_argument("--ash", type=Path, help="ash_reference.py (default: beside the data folder)")
    measure.add_argument("--dlib", type=Path, help="folder of dlib's .dat files; adds dlib's embedder")
    measure.add_argument("--alone", action="store_true", help="leave the comparisons out")
    measure.add_argument("--single", action="store_true", help="also without the mirror image")
    measure.add_argument("--cache", type=Path, help="folder where vectors and crops are kept between runs")
    measure.add_argument("--people", choices=("development", "test"), default="development")
    measure.add_argument("--recipe", type=Path, default=QUICK, help="of the closed sets, YAML")
    measure.add_argument("--schemes", nargs="+", choices=tuple("abcdef"), default=["a", "f"])
    measure.add_argument("--groups", type=int, help="of table3 (1) and joint (20)")
    measure.add_argument(
        "--only", nargs="+", choices=PARTS, default=["pairs", "mf"],
        help="all but pairs and mf are for reporting only, never for choices",
    )  # fmt: skip

    tables = commands.add_parser("report", help="write tables and plots from evaluation.json")
    tables.add_argument("--evaluation", type=Path, default=ROOT / "models" / EVALUATION)
    tables.add_argument("--page", type=Path, default=ROOT / "docs" / "accuracy.md")


def _sheet(arguments: argparse.Namespace) -> int:
    from calibration.sheet import contact_sheet

    contact_sheet(arguments.photo, arguments.out)
    print(arguments.out)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = build_parser().parse_args(argv)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "pretrain": training.pretrain,
        "resume": training.pretrain,
        "finetune": training.finetune,
        "threshold": measuring.choose,
        "evaluate": measuring.evaluate,
        "report": measuring.report,
        "detector": detecting.train,
        "detect": detecting.measure,
        "sheet": _sheet,
    }
    from dsr_inception.errors import TrainError
    from edge_app.errors import AccessError, DsrError

    try:
        return commands[arguments.command](arguments)
    except (TrainError, DsrError) as error:
        return _refused(error)
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # most often: a folder that is a file, or a full disk
        return _refused(AccessError.of(error))


def _refused(error: Exception) -> int:
    print(f"dsr-train: {error}", file=sys.stderr)
    return 2
