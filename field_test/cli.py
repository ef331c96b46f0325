"""``dsr-field``: a simulated tunnel, and the scoring of a whole run of the real box in it.

::

    dsr-field make --scenario field_test/scenarios/development.yaml --out out/development --people development
    dsr-field score out/development

Both go on where they were interrupted. `score` leaves ``score.json``, ``score.md``, plots and each passage's
answer in ``DIR/run``; another ``--out`` keeps the results of another configuration beside them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsr_inception.errors import DataError
from edge_app.config.document import read_document
from edge_app.errors import AccessError, ConfigError, DsrError
from field_test.assets import AssetError
from field_test.broker import BrokerError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.work(args))
    except DsrError as error:
        print(f"dsr-field: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        if not error.filename:
            print(f"dsr-field: {error}", file=sys.stderr)
            return 3
        refused = AccessError.of(error)
        print(f"dsr-field: {refused}", file=sys.stderr)
        return refused.exit_status
    except (AssetError, BrokerError, DataError) as error:
        print(f"dsr-field: {error}", file=sys.stderr)
        return 3


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="dsr-field", description="A simulated tunnel, and how the box does in it."
    )
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    make = verbs.add_parser("make", help="render a scenario's clips, with their ground truth")
    make.add_argument("--scenario", type=Path, required=True, metavar="S.yaml", help="what happens")
    make.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="an empty folder, or one begun before"
    )
    make.add_argument(
        "--people",
        choices=("public", "development", "test"),
        default="public",
        help="who walks (default: the demo's portraits); test people are only ever reported on",
    )
    make.add_argument("--seed", type=int, help="another seed than the scenario's")
    make.add_argument(
        "--data", type=Path, help="folder of the face sets (default: DSR_DATA, or ../shared/data)"
    )
    make.set_defaults(work=_make)
    score = verbs.add_parser("score", help="run the real box over the clips, and score what it says")
    score.add_argument(
        "clips", type=Path, metavar="DIR", help="of `make`, or real clips with a truth by hand"
    )
    score.add_argument("--out", type=Path, metavar="DIR", help="runs and figures (default: DIR/run)")
    score.add_argument(
        "--box", type=Path, metavar="PART.yaml", help="sections of the box's configuration that differ"
    )
    score.add_argument("--shots", nargs="+", default=(), metavar="NAME", help="only these (default: all)")
    score.add_argument(
        "--min-px", type=float, default=40.0, help="narrower faces are not counted (default: 40)"
    )
    score.set_defaults(work=_score)
    sheet = verbs.add_parser("sheet", help="a contact sheet of made clips")
    sheet.add_argument("clips", type=Path, metavar="DIR", help="of `make`")
    sheet.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="the picture")
    sheet.add_argument("--boxes", action="store_true", help="with the true boxes")
    sheet.set_defaults(work=_sheet)
    return parser


def _make(args: argparse.Namespace) -> int:
    from field_test.make import make
    from field_test.scenario import load_scenario

    scenario = load_scenario(args.scenario)
    if args.seed is not None:
        if args.seed < 0:
            raise ConfigError(f"--seed must be 0 or more; received {args.seed}", fix="give another one")
        scenario = scenario.model_copy(update={"seed": args.seed})
    make(scenario, args.out, collection=args.people, data=args.data, say=_say)
    return 0


def _score(args: argparse.Namespace) -> int:
    from field_test.plots import plot
    from field_test.report import report
    from field_test.runs import run_all
    from field_test.score import Limits

    out = (args.out or args.clips / "run").resolve()
    shots = run_all(args.clips.resolve(), out, settings=_settings(args.box), only=args.shots, say=_say)
    figures = report(args.clips, out, shots, limits=Limits(min_px=args.min_px))
    plot(figures, out)
    print((out / "score.md").read_text(encoding="utf-8"))
    return 0


def _sheet(args: argparse.Namespace) -> int:
    from field_test.clipsheet import clip_sheet

    print(clip_sheet(args.clips, args.out, boxes=args.boxes))
    return 0


def _settings(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    content = read_document(
        path,
        name="the part of a configuration",
        path_fix="check the path",
        example="write it like a box's configuration: section, then keys",
    ).tree
    if not all(isinstance(one, dict) for one in content.values()):
        raise ConfigError(
            f"{path} holds no sections", fix="write it like a box's configuration: section, then keys"
        )
    return content


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
