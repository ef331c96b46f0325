"""``dsr-field make``: a scenario and a collection of people become clips with their ground truth.

A folder holds ``scenario.json`` (what was asked for, with the collection and the seed), ``registration/``
(the photos that register people) and one folder a shot with its clips and ``truth.jsonl``. A shot whose
truth stands is not made again, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from edge_app.errors import ConfigError, PhotoError
from field_test import film
from field_test.people import gather, write_registration
from field_test.traffic import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from field_test.film import Ash
    from field_test.people import Collection, People
    from field_test.scenario import Scenario, Shot
    from field_test.traffic import Walk

#: Seconds of work on a shot between two words about it.
SAY_EVERY_S: Final = 30.0
#: What was asked for, in the folder of the clips.
NOTE: Final = "scenario.json"


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
        ConfigError: `out` holds another scenario, or is no folder.
        PhotoError: the collection has too few people.
        OSError: it cannot be written.
    """
    asked: dict[str, object] = {"collection": collection, "scenario": scenario.model_dump(mode="json")}
    _must_be_free(out, asked)
    people = _people(scenario, collection, data)
    plans = {shot.name: plan(shot, scenario, people) for shot in scenario.shots}
    for shot in scenario.shots:
        _must_happen(shot, plans[shot.name])
    _claim(out, asked)
    write_registration(people.registered, out / "registration")
    ash = _ash(scenario, data)
    for shot in scenario.shots:
        folder = out / shot.name
        if (folder / "made").exists():
            say(f"{shot.name}: stands")
            continue
        walks = plans[shot.name]
        begun = said = time.monotonic()
        frames = 0

        def count(done: int, of: int, name: str = shot.name) -> None:
            nonlocal frames, said
            frames += 1
            if time.monotonic() - said >= SAY_EVERY_S:
                said = time.monotonic()
                say(f"{name}: frame {done} of {of}")

        film.film(shot, scenario, walks, folder, ash=ash, progress=count)
        (folder / "shot.json").write_text(shot.model_dump_json(), encoding="utf-8")
        (folder / "made").touch()
        spent = time.monotonic() - begun
        pace = f"{frames / spent:.0f} a second"
        say(f"{shot.name}: {len(walks)} passages, {frames} frames in {spent:.0f} s ({pace})")


def _must_happen(shot: Shot, walks: Sequence[Walk]) -> None:
    """Refuse what would happen only after the end of every camera's clip: nobody would notice."""
    end = max(
        film.end_of(shot, [walk for walk in walks if walk.camera == camera.name]) for camera in shot.cameras
    )
    for key, event in (("resize", shot.resize), ("clock_jump", shot.clock_jump)):
        if event is not None and event.at_s >= end:
            raise ConfigError(
                f"shot {shot.name}: {key} at {event.at_s:g} s comes after the shot's end at {end:.1f} s",
                fix=f"give {key} an earlier at_s, or the shot more seconds",
            )


def _people(scenario: Scenario, collection: Collection, data: Path | None) -> People:
    try:
        return gather(collection, scenario.people, seed=scenario.seed, data=data)
    except PhotoError as error:
        if collection != "public":
            raise
        raise PhotoError(
            error.what,
            fix="give --people development, which needs the research sets, or ask for fewer in the scenario,"
            " under people",
        ) from error


def _must_be_free(out: Path, asked: dict[str, object]) -> None:
    """Refuse a folder with anything else in it; one in which nothing was made yet is free."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is no folder", fix="give a folder with --out, new or begun before")
    found = {path.name for path in out.iterdir()} if out.exists() else set()
    if not found <= {NOTE} and _asked_before(out) != asked:
        holds = "holds another scenario's clips" if NOTE in found else "is not empty and holds no scenario"
        raise ConfigError(f"{out} {holds}", fix="give another folder with --out")


def _asked_before(out: Path) -> object:
    try:
        return json.loads((out / NOTE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # a note that was cut short is nobody's
        return None


def _claim(out: Path, asked: dict[str, object]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / NOTE).write_text(json.dumps(asked, indent=1), encoding="utf-8")


def _ash(scenario: Scenario, data: Path | None) -> Ash:
    if scenario.ash == "own":
        return film.own_ash
    from dsr_inception.crops import reference_ash
    from dsr_inception.datasets import data_folder

    return reference_ash(data_folder(data).parent / "ash_reference.py")
