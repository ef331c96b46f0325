"""`dsr-train threshold`, `evaluate` and `report`."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from dsr_inception.crops import Ash
    from dsr_inception.datasets import Splits
    from dsr_inception.embedders import Embedder
    from dsr_inception.miners import MinerSet
    from dsr_inception.report import Report
    from dsr_inception.tables import Trunk
    from edge_app.faces.detect import Detector

#: What `evaluate --only` knows: those for choices as well, and those that are for reporting alone.
PARTS: Final = ("pairs", "mf", "lfw", "open", "deep", "paper", "table3", "joint", "table4")
EVALUATION: Final = "evaluation.json"


def open_detector(path: Path | None) -> Detector:
    """Return CenterFace from its manifest.

    Raises:
        DataError: it is not there.
    """
    from dsr_inception.cli import ROOT
    from dsr_inception.errors import DataError
    from edge_app.faces.detect import CenterFace

    path = path or ROOT / ".cache" / "models" / "centerface.json"
    if not path.is_file():
        raise DataError(f"the detector is missing: {path}; run `python3 run.py setup`, or give --detector")
    return CenterFace.open(path)


def choose(arguments: argparse.Namespace) -> int:
    """Choose the threshold on development people."""
    import logging

    import numpy as np

    from dsr_inception.celeba import celeba_photos
    from dsr_inception.crops import aligned_crops, miner_crops, own_ash
    from dsr_inception.datasets import PhotoSet, Splits, data_folder, miner_photos
    from dsr_inception.embedders import Mirrored, OnnxEmbedder
    from dsr_inception.threshold import choose_threshold, embed_conditions

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = data_folder(arguments.data)
    splits = Splits.load(folder)
    celeba, miners = celeba_photos(folder), PhotoSet(folder, "mf_photos")
    detector = open_detector(arguments.detector)  # what is missing is said before anything is computed
    chosen = [p for p in celeba.photos if p.person in splits.celeba_development]
    people, crops = [p.person for p in chosen], aligned_crops(celeba, chosen)
    own = [p for p in miner_photos(miners) if p.person in splits.mf_development]
    clean = miner_crops(miners, own, detector, own_ash)["clean"]
    people += [f"mf-{p.person}" for p in own]
    crops = np.concatenate([crops, clean.crops])
    vectors = embed_conditions(Mirrored(OnnxEmbedder(arguments.model, name="dsr-inception")), crops)
    found = choose_threshold(vectors, np.array(people))
    source = (
        f"{found.people} development people ({found.photos} photos: celeba_development and "
        "mf_development of splits.json), none of them trained on; registers of 6 drawn 200 times, "
        "enrolled on 4 clean photos each (half their mean, half the best), every face seen with its "
        "mirror image; strangers are all other development people: clean, under simulated light ash, "
        "heavy ash, dark with dust, in a miner's hood and helmet, in a passage of the last four and in "
        "one of fourteen views in hood and helmet, both judged after three views and after each further "
        "one by the last six; "
        "best similarity to any of the six, at most 1 false accept in 200 in each, highest of the "
        "seven; "
        f"{found.impostor_scores} scores; made by `dsr-train threshold`"
    )
    result = found.as_json(source)
    print(json.dumps(result, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure what ``--only`` says and print it; with ``--out``, into ``evaluation.json``."""
    import logging

    from dsr_inception.report import Report

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run = _Run(arguments)
    if not run.own_alone:
        _ = run.splits  # what is missing is said now, not after the first part's hours
    for part in PARTS:
        if part not in arguments.only:
            continue
        run.report = Report()
        started = time.monotonic()
        getattr(run, part)()
        run.report.stamp(
            model=run.model_hash[:16],
            date=dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
            machine=_machine(),
            seconds=round(time.monotonic() - started),
        )
        print(f"{run.report.table()}\n", flush=True)
        if arguments.out:
            run.report.save_into(arguments.out / EVALUATION)
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Write the tables between the marks of a page, and the plots, from ``evaluation.json``."""
    from dsr_inception.accuracy import write_tables
    from dsr_inception.plots import write_plots
    from dsr_inception.report import load_report

    found = load_report(arguments.evaluation)
    write_tables(found, arguments.page)
    for path in write_plots(found, arguments.page.parent / "img"):
        print(path)
    print(arguments.page)
    return 0


def _machine() -> str:
    return f"{os.cpu_count()} {platform.machine()} cores"


class _Run:
    """What the parts of one `evaluate` share; each part fills `report`."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from dsr_inception.embedders import file_hash
        from dsr_inception.report import Report

        self.arguments = arguments
        #: A mine's own pictures are all that is measured: that needs no face sets and no split.
        self.own_alone = arguments.mf is not None and set(arguments.only) == {"mf"}
        self.report: Report = Report()
        self.model_hash = file_hash(arguments.model) if arguments.model.is_file() else ""
        self._embedders: list[Embedder] = []
        self._miners: dict[str, MinerSet] = {}
        self._trunk: Trunk | None = None

    @cached_property
    def folder(self) -> Path:
        """The folder of the face sets."""
        from dsr_inception.datasets import data_folder

        return data_folder(self.arguments.data)

    @cached_property
    def splits(self) -> Splits:
        """Who is for choices and who for figures."""
        from dsr_inception.datasets import Splits

        return Splits.load(self.folder)

    @property
    def embedders(self) -> list[Embedder]:
        """Ours and the comparisons."""
        from dsr_inception.embedders import all_embedders
        from dsr_inception.errors import DataError

        if not self._embedders:
            a, data = self.arguments, None
            try:
                data = self.folder
            except DataError:
                if not self.own_alone or a.data is not None:
                    raise
            options: dict[str, Any] = {"alone": a.alone, "single": a.single, "cache": a.cache}
            self._embedders = all_embedders(a.model, data, a.dlib, **options)
        return self._embedders

    @property
    def trunk(self) -> Trunk:
        """The Keras weights that the closed sets stand on."""
        from dsr_inception.embedders import file_hash
        from dsr_inception.errors import TrainingError
        from dsr_inception.network import load_recogniser
        from dsr_inception.tables import Trunk

        if self._trunk is None:
            path = self.arguments.weights
            if not path.is_file():
                raise TrainingError(f"no weights at {path}; give --weights a recogniser, .keras")
            self._trunk = Trunk(load_recogniser(path), file_hash(path), self.arguments.cache)
        return self._trunk

    def miners(self, kind: str, people: str | None = None) -> MinerSet:
        """Return the miner-face set of test or development people under one ash, `kind`."""
        from dsr_inception.crops import own_ash, reference_ash
        from dsr_inception.datasets import PhotoSet
        from dsr_inception.miners import miner_set

        people, cache = people or self.arguments.people, self.arguments.cache
        key = f"miners-{people}-{kind}".replace(" ", "-")
        if key not in self._miners:
            chosen = self.splits.mf_test if people == "test" else self.splits.mf_development
            yardstick = self.arguments.ash or self.folder.parent / "ash_reference.py"
            ash: Ash = own_ash if kind == "our ash" else reference_ash(yardstick)
            photos, detector = PhotoSet(self.folder, "mf_photos"), open_detector(self.arguments.detector)
            at = cache / f"{key}.npz" if cache else None
            self._miners[key] = miner_set(photos, chosen, detector, ash, cache=at)
        return self._miners[key]

    # -- the parts

    def pairs(self) -> None:
        from dsr_inception.celeba import celeba_photos
        from dsr_inception.evaluation import evaluate_development

        evaluate_development(self.report, celeba_photos(self.folder), self.splits, self.embedders)

    def lfw(self) -> None:
        from dsr_inception.datasets import PhotoSet
        from dsr_inception.evaluation import evaluate_lfw

        evaluate_lfw(self.report, PhotoSet(self.folder, "lfw_pairs"), self.embedders)

    def mf(self) -> None:
        from dsr_inception.miners import evaluate_miners

        if self.arguments.mf:
            from dsr_inception.mine import mine_set

            miners = mine_set(self.arguments.mf, open_detector(self.arguments.detector))
            evaluate_miners(self.report, f"mf {self.arguments.mf.stem}", miners, self.embedders)
            return
        for kind in ("yardstick ash", "our ash"):
            section = f"mf {self.arguments.people}, {kind}"
            evaluate_miners(self.report, section, self.miners(kind), self.embedders)

    def open(self) -> None:
        from dsr_inception.open_set import evaluate_open_set, stranger_vectors
        from edge_app.engines.manifest import load_manifest

        miners = self.miners("yardstick ash")
        vectors = {e.name: miners.vectors(e) for e in self.embedders}
        manifest = self.arguments.model.with_suffix(".json")
        threshold = load_manifest(manifest).threshold if manifest.is_file() else None
        strangers = stranger_vectors(self.folder, self.splits, self.embedders)
        evaluate_open_set(self.report, vectors, strangers, threshold=threshold)
        self.report.note("open", threshold=threshold, people=self.arguments.people)

    def deep(self) -> None:
        from dsr_inception.celeba import celeba_photos
        from dsr_inception.closed import deep_selection

        chosen = deep_selection(celeba_photos(self.folder), self.splits)
        self._closed("deep", chosen, [e for e in self.embedders if "single" not in e.name])

    def paper(self) -> None:
        from dsr_inception.celeba import celeba_photos
        from dsr_inception.closed import paper_selection

        chosen = paper_selection(celeba_photos(self.folder), self.splits)
        self._closed("paper size", chosen, [])

    def _closed(self, section: str, chosen: Any, embedders: list[Embedder]) -> None:
        from dsr_inception.celeba import celeba_photos
        from dsr_inception.tables import evaluate_closed

        evaluate_closed(
            self.report,
            section,
            self.trunk,
            (celeba_photos(self.folder), chosen),
            self._recipe(),
            schemes=self.arguments.schemes,
            embedders=embedders,
        )

    def _recipe(self) -> Any:
        from dsr_inception.recipe import load_closed_recipe

        return load_closed_recipe(self.arguments.recipe)

    def table3(self) -> None:
        from dsr_inception.tables import MinerClosed, evaluate_schemes

        groups = self.arguments.groups or 1
        found = {}
        for people in ("development", "test"):
            miners = MinerClosed.of(self.miners("yardstick ash", people))
            found[people] = evaluate_schemes(
                self.report, f"table 3, {people} people", self.trunk, miners, self._recipe(), groups=groups
            )
        print(f"best on development people, simulated ash: scheme {found['development']}")

    def joint(self) -> None:
        from dsr_inception.tables import GROUPS, MinerClosed, evaluate_joint

        miners = MinerClosed.of(self.miners("yardstick ash", "test"))
        groups = self.arguments.groups or GROUPS
        evaluate_joint(self.report, "appendix 7", self.trunk, miners, self._recipe(), groups=groups)

    def table4(self) -> None:
        from dsr_inception.speed import evaluate_networks

        evaluate_networks(self.report)
