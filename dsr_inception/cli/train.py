"""`dsr-train pretrain`, `resume` and `finetune`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dsr_inception.errors import DataError, RecipeError, TrainingError
from dsr_inception.run_record import CHECKPOINT, RunRecord, alone_in, names_hash, record_of

if TYPE_CHECKING:
    import argparse

    from dsr_inception.recipe import Recipe

#: What is computed of the photos once and kept in the run's folder.
PIXELS: Final = "photos.npy"
TEACHER: Final = "teacher.npy"
#: A run that a signal stopped ends with this and the signal's number, as a shell has it: it is not done.
SIGNALLED: Final = 128


def pretrain(arguments: argparse.Namespace) -> int:
    """Train by a recipe, or go on from the folder's checkpoint."""
    with contextlib.ExitStack() as until_then:
        return _pretrain(arguments, until_then)


def _pretrain(arguments: argparse.Namespace, until_then: contextlib.ExitStack) -> int:
    import shutil

    from dsr_inception.batches import decoded
    from dsr_inception.celeba import celeba_photos
    from dsr_inception.datasets import Splits, data_folder, require_classes, training_photos
    from dsr_inception.embedders import DlibEmbedder
    from dsr_inception.events import rows_of, write_scalars
    from dsr_inception.plots import training_curves
    from dsr_inception.targets import make_targets, teacher_descriptors

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    resume, kept = arguments.command == "resume", arguments.out / "recipe.yaml"
    init = None if resume else arguments.init
    before = record_of(arguments.out, resume=resume)
    recipe, minutes = _recipe_and_minutes(arguments, before, kept, resume=resume)
    count = before.photos if resume and arguments.photos is None else arguments.photos
    if count is not None and count < 1:
        raise RecipeError(f"--photos must be above 0; received {count}")
    folder = data_folder(arguments.data)
    celeba = celeba_photos(folder)
    chosen = training_photos(celeba.photos, Splits.load(folder))[:count]
    require_classes(chosen, least=1)
    names = [p.file for p in chosen]
    _require_weights(init)
    teacher = functools.cache(lambda: DlibEmbedder(_given_dlib(arguments)))
    if not (arguments.out / TEACHER).is_file():
        teacher()  # a wrong --dlib is said before anything is computed
    arguments.out.mkdir(parents=True, exist_ok=True)
    until_then.enter_context(alone_in(arguments.out))
    _keep_record(arguments.out, before, RunRecord(photos=count, minutes=minutes, names=names_hash(names)))
    if arguments.recipe and arguments.recipe.resolve() != kept.resolve():
        shutil.copyfile(arguments.recipe, kept)
    from dsr_inception.training import Trainer  # TensorFlow: after everything that can be wrong at once

    pixels = decoded(celeba, chosen, arguments.out / PIXELS)
    descriptors = teacher_descriptors(teacher, celeba, chosen, arguments.out / TEACHER)
    targets = make_targets(descriptors, chosen, whiten=recipe.loss.whiten)
    trainer = Trainer(recipe=recipe, pixels=pixels, names=names, targets=targets, folder=arguments.out)
    if resume:
        trainer.restore()
    elif init:
        trainer.start_from(init)
    print(trainer.run())
    log = arguments.out / "log.csv"
    if log.is_file():  # a run that was stopped before its first step has none
        write_scalars(arguments.out, rows_of(log, step="step"))
        print(training_curves(log, arguments.out / "log.png"))
    return SIGNALLED + trainer.stopped if trainer.stopped else 0


def _recipe_and_minutes(
    arguments: argparse.Namespace, before: RunRecord, kept: Path, *, resume: bool
) -> tuple[Recipe, float | None]:
    """Return the recipe, of `kept` where a run goes on without another, and the minutes if said beside it.

    Raises:
        RecipeError: it cannot be used, or a run would go on to other targets than it began with.
    """
    from dsr_inception.recipe import load_recipe

    recipe: Recipe = load_recipe(arguments.recipe or kept)
    minutes: float | None = arguments.minutes
    if resume and minutes is None and arguments.recipe is None:
        minutes = before.minutes
    if resume and kept.is_file():
        began = load_recipe(kept).loss.whiten
        if recipe.loss.whiten != began:
            raise RecipeError(
                f"{arguments.recipe}: loss.whiten must stay {began}, with which the run in {arguments.out} "
                f"began: its targets would be others; received {recipe.loss.whiten}"
            )
    return (recipe if minutes is None else dataclasses.replace(recipe, minutes=minutes)), minutes


def _require_weights(path: Path | None) -> None:
    if path is not None and not path.is_file():
        raise TrainingError(f"no weights at {path}; give --init a recogniser, .keras")


def _given_dlib(arguments: argparse.Namespace) -> Path:
    """Return ``--dlib``, which `resume` does without while the teacher's vectors are in the run's folder.

    Raises:
        DataError: it is needed and was not given.
    """
    if arguments.dlib is None:
        raise DataError(
            f"{arguments.out / TEACHER} is missing, damaged or of other photos: give --dlib, the folder of "
            "the teacher's files"
        )
    return Path(arguments.dlib)


def _keep_record(folder: Path, before: RunRecord, now: RunRecord) -> None:
    """Write down what the run is told, and drop what was computed of other photos before a run began.

    Raises:
        TrainingError: a run that has begun would go on with other photos.
    """
    if before.names not in {None, now.names}:
        if (folder / CHECKPOINT).is_file():
            raise TrainingError(
                f"these are not the photos that the run in {folder} began with (--photos {before.photos}); "
                "give the same --photos, --data and splits.json, or begin another run with `pretrain`"
            )
        for name in (PIXELS, TEACHER):
            (folder / name).unlink(missing_ok=True)
    now.save(folder)


def finetune(arguments: argparse.Namespace) -> int:
    """Train the closed set of deep people by one scheme; figures, log and plot into ``--out``."""
    from dsr_inception.celeba import celeba_photos
    from dsr_inception.closed import deep_selection, enter_closed
    from dsr_inception.datasets import Splits, data_folder
    from dsr_inception.embedders import file_hash
    from dsr_inception.finetune import train_upper, write_log
    from dsr_inception.interrupted import Interrupted
    from dsr_inception.network import load_recogniser
    from dsr_inception.plots import training_curves
    from dsr_inception.recipe import load_closed_recipe
    from dsr_inception.report import Report
    from dsr_inception.tables import Trunk
    from dsr_inception.transfer import frozen_stages

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns, twice, of every size of a last batch
    recipe = dataclasses.replace(load_closed_recipe(arguments.recipe), **_given(arguments))
    folder = data_folder(arguments.data)
    _require_weights(arguments.init)
    photos = celeba_photos(folder)
    chosen = deep_selection(photos, Splits.load(folder), identities=arguments.identities)
    trunk = Trunk(load_recogniser(arguments.init), file_hash(arguments.init), arguments.cache)
    values = trunk.lower(frozen_stages(recipe.scheme)).of_photos(photos, chosen.photos)
    test, labels = chosen.test, chosen.labels
    halves = (values[:, test], labels[test])
    names = [p.file for p, held in zip(chosen.photos, test, strict=True) if not held]
    key = {"recipe": dataclasses.asdict(recipe), "weights": trunk.key, "photos": names_hash(names)}
    state = Interrupted(arguments.out, key) if arguments.out else None
    trained = train_upper(
        trunk.recogniser, values[:, ~test], labels[~test], recipe,
        names=names, test=halves, interrupted=state,
    )  # fmt: skip
    report = Report()
    enter_closed(
        report, "deep", f"scheme {recipe.scheme}", trained.scores(halves[0]).argmax(axis=1), halves[1]
    )
    report.note("deep", recipe=dataclasses.asdict(recipe))
    print(report.table())
    if state:
        (arguments.out / "figures.json").write_text(json.dumps(report.as_json(), indent=1) + "\n")
        trained.model.save(arguments.out / "classifier.keras")
        print(training_curves(write_log(arguments.out, trained.log), arguments.out / "log.png"))
        state.done()
    return 0


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the command line says instead of the recipe."""
    said = {key: getattr(arguments, key) for key in ("scheme", "centre", "epochs")}
    return {key: value for key, value in said.items() if value is not None}
