"""``dsr-train detector`` and ``dsr-train detect``: train the dust detector, and measure detectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse

    from dsr_inception.datasets import Splits
    from dsr_inception.detection import Case
    from edge_app.faces.detect import CenterFace, Detector, YuNet

ROOT: Final = Path(__file__).resolve().parents[2]
CENTERFACE: Final = ROOT / ".cache" / "models" / "centerface.json"
DUSTFACE: Final = ROOT / "models" / "dustface.json"
YUNET: Final = Path("models") / "face_detection_yunet_2023mar.onnx"


def add_parsers(commands: Any) -> None:
    """Add both sub-commands."""
    train = commands.add_parser("detector", help="train the dust detector, from YuNet's weights on")
    train.add_argument("--out", type=Path, required=True, help="folder of dustface.keras and recipe.json")
    train.add_argument("--minutes", type=float, default=55.0, help="how long (default: 55)")
    train.add_argument("--rate", type=float, default=1e-3, help="learning rate at its highest")
    train.add_argument("--init", type=Path, help="a dustface.keras to go on from")
    train.add_argument("--portraits", type=int, default=3000, help="aligned photos (default: 3000)")
    train.add_argument("--backgrounds", type=Path, help="folder of pictures or clips without people")
    measure = commands.add_parser("detect", help="measure face detectors under simulated ash and darkness")
    measure.add_argument("--people", choices=("development", "test"), default="development")
    measure.add_argument("--dustface", type=Path, default=DUSTFACE, help="its manifest")
    measure.add_argument("--ash", type=Path, help="ash_reference.py (default: beside the data folder)")
    measure.add_argument("--weak", action="store_true", help="also with what may only continue a track")
    measure.add_argument("--every", type=int, default=1, help="only every so many photos: a first look")
    measure.add_argument("--out", type=Path, help="write the figures as JSON")
    for parser in (train, measure):
        parser.add_argument("--detector", type=Path, default=CENTERFACE, help="CenterFace manifest")
        parser.add_argument("--yunet", type=Path, help="YuNet's file (default: in the data folder)")


def train(arguments: argparse.Namespace) -> int:
    """Train the dust detector; print the path of its weights."""
    import logging

    from dsr_inception.datasets import Splits, data_folder
    from dsr_inception.dust_sources import (
        backgrounds_of,
        development_cases,
        learnt_people,
        portraits_of,
        whole_photos,
    )

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folder = data_folder(arguments.data)
    splits, yunet = Splits.load(folder), arguments.yunet or folder / YUNET
    cases = list(development_cases(folder, splits, _references(arguments.detector, yunet)))
    learnt = learnt_people(cases)
    photos = whole_photos([case for case in cases if case.person in learnt])
    small = _references(arguments.detector, yunet, sides=(160, 256))
    arguments.out.mkdir(parents=True, exist_ok=True)
    from dsr_inception.dust_training import DustRecipe, DustTrainer

    trainer = DustTrainer(
        recipe=DustRecipe(minutes=arguments.minutes, rate=arguments.rate),
        portraits=portraits_of(folder, splits, small, count=arguments.portraits),
        photos=photos,
        backgrounds=backgrounds_of(photos, arguments.backgrounds),
        model=_first(yunet, arguments.init),
        teacher=_first(yunet, None),
        folder=arguments.out,
    )
    print(trainer.run())
    return 0


def _first(yunet: Path, init: Path | None) -> Any:
    """Return the network with its authors' weights, or with those of `init`."""
    import keras

    from dsr_inception.detector import build_detector, load_yunet

    model = build_detector()
    if init is None:
        load_yunet(model, yunet)
    else:
        model.set_weights(keras.saving.load_model(init).get_weights())
    return model


def measure(arguments: argparse.Namespace) -> int:
    """Print the table of detectors; write it as JSON where asked for."""
    from dsr_inception.crops import reference_ash
    from dsr_inception.datasets import Splits, data_folder
    from dsr_inception.detection import as_json, measure, table

    folder = data_folder(arguments.data)
    yunet = arguments.yunet or folder / YUNET
    references = _references(arguments.detector, yunet)
    cases = _cases(folder, Splits.load(folder), references, test=arguments.people == "test")
    detectors = _measured(arguments, yunet)
    yardstick = reference_ash(arguments.ash or folder.parent / "ash_reference.py")
    result = measure(detectors, cases[:: arguments.every], yardstick)
    print(table(result))
    if arguments.out:
        arguments.out.write_text(json.dumps(as_json(result), indent=1) + "\n")
    return 0


def _references(
    centerface: Path, yunet: Path, sides: tuple[int, int] = (640, 640)
) -> tuple[CenterFace, YuNet]:
    """Return the two detectors that say where the faces of clean pictures are."""
    from dsr_inception.errors import DataError
    from edge_app.faces.detect import CenterFace, YuNet

    if not centerface.is_file():
        raise DataError(
            f"the detector is missing: {centerface}; run `python3 run.py setup`, or give --detector"
        )
    return CenterFace.open(centerface, long_side=sides[0]), YuNet(yunet, long_side=sides[1])


def _cases(folder: Path, splits: Splits, references: Any, *, test: bool) -> list[Case]:
    """Return the people of the report, or the development people whom the dust detector has not learnt."""
    from dsr_inception.datasets import PhotoSet, free_photos
    from dsr_inception.detection import cases_of
    from dsr_inception.dust_sources import development_cases, learnt_people

    if not test:
        cases = list(development_cases(folder, splits, references))
        learnt = learnt_people(cases)
        return [case for case in cases if case.person not in learnt]
    chosen = (("mf_photos", splits.mf_test), ("people_photos", splits.people_test))
    found: list[Case] = []
    for name, people in chosen:
        photos = PhotoSet(folder, name)
        found.extend(cases_of(photos, free_photos(photos, people), references))
    return found


def _measured(arguments: argparse.Namespace, yunet: Path) -> dict[str, Detector]:
    """Return the detectors of the table by name; *both* is CenterFace with what the dust detector adds."""
    from edge_app.faces.detect import YUNET_FOLLOW, YUNET_SCORE, CenterFace, YuNet
    from edge_app.faces.dustface import DUSTFACE_FOLLOW, DUSTFACE_SCORE, DustFace
    from edge_app.faces.pair import CENTERFACE_SCALE, DUST_SCALE, PairDetector

    found: dict[str, Detector] = {}
    for weak in (False, True) if arguments.weak else (False,):
        after = ", weak" if weak else ""
        first = CenterFace.open(arguments.detector, score_threshold=CENTERFACE_SCALE[weak])
        found[f"CenterFace{after}"] = first
        found[f"YuNet{after}"] = YuNet(yunet, score_threshold=YUNET_FOLLOW if weak else YUNET_SCORE)
        if arguments.dustface.is_file():
            score = DUSTFACE_FOLLOW if weak else DUSTFACE_SCORE
            found[f"DustFace{after}"] = DustFace.open(arguments.dustface, score_threshold=score)
            second = DustFace.open(arguments.dustface, score_threshold=DUST_SCALE[weak])
            both = PairDetector(first, second, scale=CENTERFACE_SCALE, second_scale=DUST_SCALE)
            found[f"both{after}"] = both
    return found
