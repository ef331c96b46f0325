"""``dsr-field make``: a scenario and a collection of people become clips with their ground truth.

A folder holds ``scenario.json`` (what was asked for, with the collection and the seed), ``registration/``
(the photos that register people) and one folder a shot with its clips and ``truth.jsonl``. A shot whose
truth stands is not made again, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from edge_app.errors import ConfigError
from field_test import film
from field_test.people import gather, write_registration
from field_test.traffic import plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from field_test.film import Ash
    from field_test.people import Collection
    from field_test.scenario import Scenario


def make(
    scenario: Scenario,
    out: Path,
    *,
    collection: Collection,
    data: Path | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Write a scenario's clips into `out`.

    Raises:
        ConfigError: `out` holds another scenario.
        PhotoError: the collection has too few people.
        OSError: it cannot be written.
    """
    asked: dict[str, object] = {"collection": collection, "scenario": scenario.model_dump(mode="json")}
    _claim(out, asked)
    people = gather(collection, scenario.people, seed=scenario.seed, data=data)
    write_registration(people.registered, out / "registration")
    ash = _ash(scenario, data)
    for shot in scenario.shots:
        folder = out / shot.name
        if (folder / "made").exists():
            say(f"{shot.name}: stands")
            continue
        walks = plan(shot, scenario, people)
        begun, frames = time.monotonic(), 0

        def count(_done: int, _all: int) -> None:
            nonlocal frames
            frames += 1

        film.film(shot, scenario, walks, folder, ash=ash, progress=count)
        (folder / "shot.json").write_text(shot.model_dump_json(), encoding="utf-8")
        (folder / "made").touch()
        spent = time.monotonic() - begun
        pace = f"{frames / spent:.0f} a second"
        say(f"{shot.name}: {len(walks)} passages, {frames} frames in {spent:.0f} s ({pace})")


def _claim(out: Path, asked: dict[str, object]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    note = out / "scenario.json"
    if note.exists():
        if json.loads(note.read_text(encoding="utf-8")) != asked:
            raise ConfigError(f"{out} holds another scenario's clips", fix="give another folder with --out")
    elif any(out.iterdir()):
        raise ConfigError(f"{out} is not empty and holds no scenario", fix="give another folder with --out")
    note.write_text(json.dumps(asked, indent=1), encoding="utf-8")


def _ash(scenario: Scenario, data: Path | None) -> Ash:
    if scenario.ash == "own":
        return film.own_ash
    from dsr_inception.crops import reference_ash
    from dsr_inception.datasets import data_folder

    return reference_ash(data_folder(data).parent / "ash_reference.py")
