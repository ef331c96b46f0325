"""Comings and goings through one portal, for the headcount: so many people inside, known and unknown.

Who goes in crosses the picture from left to right, who comes out from right to left, one after another,
with pauses in which nobody is there. Everybody who came out has gone in before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from field_test.scenario import LEVELS
from field_test.traffic import Walk, with_views

if TYPE_CHECKING:
    import numpy as np

    from field_test.people import People, Person
    from field_test.scenario import Comings

#: Metres from the axis for each metre before the lens at either end of the way.
_BESIDE: Final = 0.2
_FIRST_S, _LEAST_S = 3.0, 2.5


def come_and_go(comings: Comings, camera: str, people: People, rng: np.random.Generator) -> list[Walk]:
    """Return the passages of `comings.minutes`, in their order."""
    outside = [*people.registered, *people.strangers[: comings.strangers]]
    inside: list[Person] = []
    walks: list[Walk] = []
    now = _FIRST_S
    while now < comings.minutes * 60:
        room = bool(outside) and len(inside) < comings.at_most
        enters = room and (not inside or rng.random() < 0.5)  # noqa: PLR2004 - a coin
        source, sink = (outside, inside) if enters else (inside, outside)
        person = source.pop(int(rng.integers(len(source))))
        sink.append(person)
        walk = _through(person, camera, now, rng, ash=LEVELS.index(comings.ash), enters=enters)
        walks.append(walk)
        now = walk.end + _LEAST_S + float(rng.exponential(max(0.1, comings.every_s - _LEAST_S)))
    return walks


def _through(
    person: Person, camera: str, start: float, rng: np.random.Generator, *, ash: int, enters: bool
) -> Walk:
    towards = 1 if enters else -1
    far, near = float(rng.uniform(3.0, 3.6)), float(rng.uniform(1.5, 1.7))
    walk = Walk(
        person=person,
        camera=camera,
        start=start,
        speed=float(rng.uniform(0.6, 0.9)),
        far=far,
        near=near,
        side=-towards * _BESIDE * far,
        to_side=towards * _BESIDE * near,
        ash=ash,
        out=towards,
    )
    return with_views(walk, rng, turns=False)
