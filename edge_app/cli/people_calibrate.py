"""``dsr-edge people cohort`` and ``dsr-edge people calibrate``: the threshold from the mine's own data."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from edge_app.identity.calibration import Calibration

_MOST_SHOWN: Final = 10


def add_actions(actions: Any) -> None:
    """Add both to the actions of ``people``."""
    cohort = actions.add_parser("cohort", help="make a cohort of strangers from photos, one person a photo")
    cohort.add_argument("--photos", type=Path, required=True, metavar="DIR", help="of nobody registered")
    cohort.add_argument(
        "--by-person", action="store_true", help="photos that lie in one folder are of one person"
    )
    cohort.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="embeddings, no pictures")
    cohort.set_defaults(run=_cohort)
    calibrate = actions.add_parser("calibrate", help="set the thresholds for a false-accept rate")
    calibrate.add_argument(
        "--cohort", type=Path, required=True, metavar="FILE.npz", help="from `people cohort`"
    )
    calibrate.add_argument("--far", type=float, default=0.001, help="strangers named, as a share (0.001)")
    calibrate.add_argument(
        "--may-lower", action="store_true", help="also below the model's own threshold, measured in dust"
    )
    calibrate.add_argument(
        "--allow-unnamed",
        action="store_true",
        help="also thresholds at which most people would not be named by their own photos",
    )
    calibrate.set_defaults(run=_calibrate)


def _cohort(args: argparse.Namespace) -> int:
    from edge_app.identity import cohort
    from edge_app.wiring import build_detector, build_recogniser, load_config

    config = load_config(args.config)
    with (
        contextlib.closing(build_detector(config)) as detector,
        contextlib.closing(build_recogniser(config)) as recogniser,
    ):
        made, without = cohort.build(
            args.photos, detector=detector, recogniser=recogniser, by_person=args.by_person
        )
    cohort.save(args.out, made)
    numbers = {"strangers": len(made.vectors), "without_face": without, "model_sha256": made.model_sha256}
    text = f"{len(made.vectors)} strangers in {args.out}; {without} photos had no usable face"
    print(json.dumps(numbers) if args.json else text)
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from edge_app.errors import GalleryError
    from edge_app.faces.preprocess import PREPROCESS_SHA256
    from edge_app.identity import calibration, cohort
    from edge_app.identity.gallery import Gallery
    from edge_app.wiring import build_recogniser, load_config

    config = load_config(args.config)
    path = config.gallery.path
    if not path.exists():
        raise GalleryError(f"{path} does not exist: nobody is registered", fix="register people first")
    with contextlib.closing(build_recogniser(config)) as recogniser:
        model, floor = recogniser.model_sha256, recogniser.threshold
    snapshot = Gallery(path=path).snapshot(model_sha256=model, preprocess_sha256=PREPROCESS_SHA256)
    strangers = cohort.load(args.cohort, model_sha256=model)
    found = calibration.calibrate(
        snapshot,
        strangers.vectors,
        far=args.far,
        floor=-1.0 if args.may_lower else floor,
        allow_unnamed=args.allow_unnamed,
    )
    calibration.save(calibration.path_beside(path), found)
    if args.json:
        print(json.dumps(_numbers(found, floor)))
        return 0
    print(
        f"threshold {found.threshold:.3f} (the model's own: {floor:.3f}) for at most {args.far:g} strangers"
    )
    bars = sorted(found.people.values())
    print(f"people's own thresholds: {bars[0]:.3f} to {bars[-1]:.3f}; {found.cohort} strangers")
    for line in (*_left_out(found), *_named(found)):
        print(line)
    if found.continued:
        print(f"the cohort is small for this rate (10 / rate = {10 / args.far:.0f}): its tail was continued")
    if not strangers.by_person:
        print(
            "the cohort has one photo a person: several times as many passages may be named (docs/people.md)"
        )
    for one, other, score in found.alike:
        print(f"look-alikes: {one} and {other} ({score:.2f}); they need twice the lead")
    if config.recogniser.threshold is not None:
        print("not in use: recogniser.threshold is set in the configuration; make it null")
    return 0


def _numbers(found: Calibration, floor: float) -> dict[str, Any]:
    return {
        "threshold": found.threshold,
        "model_threshold": floor,
        "people": dict(found.people),
        "strangers": found.cohort,
        "left_out": [{"person_ref": ref, "similarity": score} for ref, score in found.left_out],
        "unnamed": list(found.unnamed),
        "single_photo": found.single,
    }


def _left_out(found: Calibration) -> Iterator[str]:
    from edge_app.identity.calibration import shown

    if found.left_out:
        yield (
            f"left out {len(found.left_out)} of the cohort, as alike to registered people as their own"
            f" photos: {shown(found.left_out)}; if they are others, the box cannot tell them apart"
        )


def _named(found: Calibration) -> Iterator[str]:
    """Yield how many people would still be named: what a threshold that keeps strangers out costs."""
    judged = len(found.people) - found.single
    if judged:
        yield f"{judged - len(found.unnamed)} of {judged} people would be named by their own photos"
    if found.unnamed:
        bars = ", ".join(f"{ref} (needs {found.people[ref]:.2f})" for ref in found.unnamed[:_MOST_SHOWN])
        more = len(found.unnamed) - _MOST_SHOWN
        yield f"WARNING: not {bars}{f', and {more} more' if more > 0 else ''}: register more photos of them"
    if found.single:
        yield f"{found.single} people have one photo: whether they would be named cannot be told"
