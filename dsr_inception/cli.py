"""`dsr-train`: train the recogniser, choose its threshold, measure it.

Commands: ``pretrain`` and ``resume`` (a recipe in YAML), ``finetune`` (the closed set), ``threshold``
(development strangers), ``evaluate`` (figures beside the peer's and dlib's), ``sheet`` (a contact sheet
of the conditions). Errors are one line on standard error and exit status 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent


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
            "--dlib", type=Path, required=True, help="folder of dlib's .dat files: the teacher"
        )
        train.add_argument("--init", type=Path, help="start from these weights (.keras), optimiser fresh")
        train.add_argument("--minutes", type=float, help="instead of the recipe's")
        train.add_argument("--photos", type=int, help="only the first so many: a first look")

    tune = commands.add_parser("finetune", help="the closed set of deep people by a scheme of Table 3")
    tune.add_argument("--init", type=Path, default=ROOT / "models" / "dsr_inception.keras")
    tune.add_argument(
        "--scheme", choices=tuple("abcdef"), default="d", help="b-f freeze 1-5 stages; a: none trained"
    )
    tune.add_argument(
        "--centre", type=float, default=0.01, help="lambda of the centre loss; 0: softmax alone"
    )
    tune.add_argument("--epochs", type=int, default=20)
    tune.add_argument("--identities", type=int, help="only the first so many")
    tune.add_argument("--out", type=Path, help="write the figures as JSON")

    choose = commands.add_parser("threshold", help="choose the acceptance threshold on development people")
    choose.add_argument("--model", type=Path, default=ROOT / "models" / "dsr_inception.onnx")
    choose.add_argument("--out", type=Path, help="write the choice as JSON, for build_engine.export")
    choose.add_argument(
        "--detector", type=Path, help="CenterFace manifest; adds the miner-face development people"
    )

    measure = commands.add_parser("evaluate", help="measure, beside the peer and dlib's embedder")
    measure.add_argument("--model", type=Path, default=ROOT / "models" / "dsr_inception.onnx")
    measure.add_argument("--out", type=Path, help="folder for evaluation.json and evaluation.md")
    measure.add_argument("--detector", type=Path, help="CenterFace manifest; needed by mf and open")
    measure.add_argument("--ash", type=Path, help="ash_reference.py (default: beside the data folder)")
    measure.add_argument("--dlib", type=Path, help="folder of dlib's .dat files; adds dlib's embedder")
    measure.add_argument("--alone", action="store_true", help="leave the comparisons out")
    measure.add_argument(
        "--single",
        action="store_true",
        help="without the mirror image (the box has both)",
    )
    measure.add_argument("--people", choices=("development", "test"), default="development")
    measure.add_argument(
        "--only", nargs="+", choices=("lfw", "mf", "open", "pairs"), default=["pairs", "mf"],
        help="lfw and open are for reporting only, never for choices",
    )  # fmt: skip

    sheet = commands.add_parser("sheet", help="write a contact sheet of the simulated conditions")
    sheet.add_argument("photo", type=Path, help="an aligned face photo that may be shown")
    sheet.add_argument("out", type=Path)
    return parser


def _detector(path: Path | None) -> Any:
    from dsr_inception.errors import DataError
    from edge_app.faces.detect import CenterFace

    path = path or ROOT / ".cache" / "models" / "centerface.json"
    if not path.is_file():
        raise DataError(f"the detector is missing: {path}; run `python3 run.py setup`, or give --detector")
    return CenterFace.open(path)


def _train(arguments: argparse.Namespace) -> int:
    import dataclasses
    import logging
    import shutil

    from dsr_inception.batches import decoded
    from dsr_inception.datasets import PhotoSet, Splits, data_folder, require_classes, training_photos
    from dsr_inception.embedders import DlibEmbedder
    from dsr_inception.recipe import load_recipe
    from dsr_inception.targets import make_targets, teacher_descriptors
    from dsr_inception.training import Trainer

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    kept = arguments.out / "recipe.yaml"
    recipe = load_recipe(arguments.recipe or kept)
    if arguments.minutes:
        recipe = dataclasses.replace(recipe, minutes=arguments.minutes)
    folder = data_folder(arguments.data)
    celeba = PhotoSet(folder, "celeba_train")
    chosen = training_photos(celeba.photos, Splits.load(folder))[: arguments.photos]
    require_classes(chosen, least=1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.recipe and arguments.recipe.resolve() != kept.resolve():
        shutil.copyfile(arguments.recipe, kept)
    pixels = decoded(celeba, chosen, arguments.out / "photos.npy")
    teacher = DlibEmbedder(arguments.dlib)
    descriptors = teacher_descriptors(teacher, celeba, chosen, arguments.out / "teacher.npy")
    targets = make_targets(descriptors, chosen, whiten=recipe.loss.whiten)
    names = [p.file for p in chosen]
    trainer = Trainer(recipe=recipe, pixels=pixels, names=names, targets=targets, folder=arguments.out)
    if arguments.command == "resume":
        trainer.restore()
    elif arguments.init:
        trainer.start_from(arguments.init)
    print(trainer.run())
    return 0


def _finetune(arguments: argparse.Namespace) -> int:
    import dataclasses
    import logging

    import keras

    from dsr_inception import network  # noqa: F401 -- registers the layers that the file names
    from dsr_inception.datasets import PhotoSet, Splits, data_folder
    from dsr_inception.errors import TrainingError
    from dsr_inception.finetune import deep_split, finetune, write_figures

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = data_folder(arguments.data)
    if not arguments.init.is_file():
        raise TrainingError(f"no weights at {arguments.init}; give --init a recogniser, .keras")
    split = deep_split(PhotoSet(folder, "celeba_train"), Splits.load(folder), identities=arguments.identities)
    recogniser = keras.saving.load_model(arguments.init)
    options = {"scheme": arguments.scheme, "weight": arguments.centre, "epochs": arguments.epochs}
    figures = finetune(recogniser, split, **options)
    print(json.dumps(dataclasses.asdict(figures) | options, indent=1))
    if arguments.out:
        write_figures(arguments.out, figures, **options)
    return 0


def _threshold(arguments: argparse.Namespace) -> int:
    import numpy as np

    from dsr_inception.crops import aligned_crops, miner_crops, own_ash
    from dsr_inception.datasets import PhotoSet, Splits, data_folder, miner_photos
    from dsr_inception.embedders import Mirrored, OnnxEmbedder
    from dsr_inception.threshold import choose_threshold, embed_conditions

    folder = data_folder(arguments.data)
    splits = Splits.load(folder)
    celeba = PhotoSet(folder, "celeba_train")
    chosen = [p for p in celeba.photos if p.person in splits.celeba_development]
    people, crops = [p.person for p in chosen], aligned_crops(celeba, chosen)
    miners = PhotoSet(folder, "mf_photos")
    own = [p for p in miner_photos(miners) if p.person in splits.mf_development]
    clean = miner_crops(miners, own, _detector(arguments.detector), own_ash)["clean"]
    people += [f"mf-{p.person}" for p in own]
    crops = np.concatenate([crops, clean.crops])
    vectors = embed_conditions(Mirrored(OnnxEmbedder(arguments.model, name="dsr-inception")), crops)
    found = choose_threshold(vectors, np.array(people))
    source = (
        f"{found.people} development people ({found.photos} photos: celeba_development and mf_development of "
        "splits.json), none of them trained on; registers of 6 drawn 200 times, enrolled on 4 clean photos "
        "each (their mean), every face seen with its mirror image; strangers are all other development "
        "people: clean, under simulated light ash, "
        "heavy ash, dark with dust, and the last three pooled as a passage; best similarity to any of the "
        "six, at most "
        f"1 false accept in 200 in each, highest of the five; {found.impostor_scores} scores; made by "
        "`dsr-train threshold`"
    )
    result = found.as_json(source)
    print(json.dumps(result, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from dsr_inception import evaluation as ev
    from dsr_inception.crops import own_ash, reference_ash
    from dsr_inception.datasets import PhotoSet, Splits, data_folder
    from dsr_inception.embedders import all_embedders

    folder = data_folder(arguments.data)
    splits = Splits.load(folder)
    mirrored = all_embedders(arguments.model, folder, arguments.dlib)[: 1 if arguments.alone else None]
    embedders = [embedder.inner if arguments.single else embedder for embedder in mirrored]
    notes = {"model": arguments.model.name, "people": arguments.people, "mirrored": not arguments.single}
    report = ev.Report(notes=notes)
    started = time.monotonic()
    if "pairs" in arguments.only:
        ev.evaluate_development(report, PhotoSet(folder, "celeba_train"), splits, embedders)
    if "lfw" in arguments.only:
        ev.evaluate_lfw(report, PhotoSet(folder, "lfw_pairs"), embedders)
    if {"mf", "open"} & set(arguments.only):
        people = splits.mf_test if arguments.people == "test" else splits.mf_development
        yardstick = reference_ash(arguments.ash or folder.parent / "ash_reference.py")
        miners, detector = PhotoSet(folder, "mf_photos"), _detector(arguments.detector)
        for name, ash in (("yardstick ash", yardstick), ("our ash", own_ash)):
            vectors = ev.miner_vectors(report, miners, people, detector, ash, embedders)
            if "mf" in arguments.only:
                ev.evaluate_miners(report, vectors, f"mf, {name}")
            if "open" in arguments.only and ash is yardstick:
                ev.evaluate_open_set(report, vectors, ev.stranger_vectors(folder, splits, embedders))
    report.notes["seconds"] = round(time.monotonic() - started)
    table = report.table()
    print(table)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "evaluation.json").write_text(json.dumps(report.as_json(), indent=1) + "\n")
        (arguments.out / "evaluation.md").write_text(table + "\n")
    return 0


def _sheet(arguments: argparse.Namespace) -> int:
    from calibration.sheet import contact_sheet

    contact_sheet(arguments.photo, arguments.out)
    print(arguments.out)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = build_parser().parse_args(argv)
    commands = {
        "pretrain": _train,
        "resume": _train,
        "finetune": _finetune,
        "threshold": _threshold,
        "evaluate": _evaluate,
        "sheet": _sheet,
        "finetune": _finetune,
    }
    from dsr_inception.errors import TrainError
    from edge_app.errors import DsrError

    try:
        return commands[arguments.command](arguments)
    except (TrainError, DsrError) as error:
        print(f"dsr-train: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
