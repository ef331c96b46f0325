"""`dsr-train pretrain`, `resume` and `finetune`."""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse


def pretrain(arguments: argparse.Namespace) -> int:
    """Train by a recipe, or go on from the folder's checkpoint."""
    import shutil

    from dsr_inception.batches import decoded
    from dsr_inception.celeba import celeba_photos
    from dsr_inception.datasets import Splits, data_folder, require_classes, training_photos
    from dsr_inception.embedders import DlibEmbedder
    from dsr_inception.events import rows_of, write_scalars
    from dsr_inception.plots import training_curves
    from dsr_inception.recipe import load_recipe
    from dsr_inception.targets import make_targets, teacher_descriptors
    from dsr_inception.training import Trainer

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    kept = arguments.out / "recipe.yaml"
    recipe = load_recipe(arguments.recipe or kept)
    if arguments.minutes:
        recipe = dataclasses.replace(recipe, minutes=arguments.minutes)
    folder = data_folder(arguments.data)
    celeba = celeba_photos(folder)
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
    log = arguments.out / "log.csv"
    write_scalars(arguments.out, rows_of(log, step="step"))
    print(training_curves(log, arguments.out / "log.png"))
    return 0


def finetune(arguments: argparse.Namespace) -> int:
    """Train the closed set of deep people by one scheme; figures, log and plot into ``--out``."""
    import keras

    from dsr_inception import network  # noqa: F401 -- registers the layers that the file names
    from dsr_inception.celeba import celeba_photos
    from dsr_inception.closed import deep_selection, enter_closed
    from dsr_inception.datasets import Splits, data_folder
    from dsr_inception.embedders import file_hash
    from dsr_inception.errors import TrainingError
    from dsr_inception.finetune import train_upper, write_log
    from dsr_inception.plots import training_curves
    from dsr_inception.recipe import load_closed_recipe
    from dsr_inception.report import Report
    from dsr_inception.tables import Trunk
    from dsr_inception.transfer import frozen_stages

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = dataclasses.replace(load_closed_recipe(arguments.recipe), **_given(arguments))
    folder = data_folder(arguments.data)
    if not arguments.init.is_file():
        raise TrainingError(f"no weights at {arguments.init}; give --init a recogniser, .keras")
    photos = celeba_photos(folder)
    chosen = deep_selection(photos, Splits.load(folder), identities=arguments.identities)
    trunk = Trunk(keras.saving.load_model(arguments.init), file_hash(arguments.init), arguments.cache)
    values = trunk.lower(frozen_stages(recipe.scheme)).of_photos(photos, chosen.photos)
    test, labels = chosen.test, chosen.labels
    halves = (values[:, test], labels[test])
    names = [p.file for p, held in zip(chosen.photos, test, strict=True) if not held]
    trained = train_upper(trunk.recogniser, values[:, ~test], labels[~test], recipe, names=names, test=halves)
    report = Report()
    enter_closed(
        report, "deep", f"scheme {recipe.scheme}", trained.scores(halves[0]).argmax(axis=1), halves[1]
    )
    report.note("deep", recipe=dataclasses.asdict(recipe))
    print(report.table())
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "figures.json").write_text(json.dumps(report.as_json(), indent=1) + "\n")
        trained.model.save(arguments.out / "classifier.keras")
        print(training_curves(write_log(arguments.out, trained.log), arguments.out / "log.png"))
    return 0


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the command line says instead of the recipe."""
    said = {key: getattr(arguments, key) for key in ("scheme", "centre", "epochs")}
    return {key: value for key, value in said.items() if value is not None}
