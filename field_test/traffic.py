"""From a shot to its passages: who walks when, where and how, drawn by lot from the seed.

A passage leads towards the camera: out of a side drift or out of the dark, along the tunnel, past the
lens. Some stop, some change sides, some turn the head (another photo of theirs, at a real pose), and
some walk away with their back to the camera. Nobody is in two places at once.
"""

from __future__ import annotations

import dataclasses
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from field_test.scenario import LEVELS
from field_test.scene import FOCAL, WIDTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from field_test.people import People, Person, View
    from field_test.scenario import PassageSpec, Scenario, Shot, Traffic

#: How fast somebody comes out of a side drift, and goes past the lens, metres a second to the side.
_ENTERS, _LEAVES = 1.5, 1.8
#: How long somebody takes to come out of the dark, or to be lost in it.
_DIM_S: Final = 0.5
#: Somebody who was here may be here again after this.
_AGAIN_S: Final = 1.5
#: Where people walk: metres from the axis for each metre before the lens, so that they stand apart.
_LANES: Final = (-0.24, 0.12, -0.12, 0.24, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """One passage: when, where, and which of the person's views is seen when.

    `views` are (seconds of the shot from which on, view); none for somebody who walks away.
    """

    person: Person
    camera: str
    start: float
    speed: float
    far: float
    near: float
    side: float
    to_side: float
    ash: int
    views: tuple[tuple[float, View], ...] = field(default=(), repr=False)
    stop_at: float = 0.5
    stops: float = 0.0
    from_dark: bool = False
    out: int = 1
    away: bool = False
    number: int = 0

    @property
    def walking(self) -> float:
        """Seconds from the first step to the last, the stop included."""
        return (self.far - self.near) / self.speed + self.stops

    @property
    def end(self) -> float:
        """When it is over."""
        return (
            self.start + self.walking + (0.0 if self.away else self._aside(self.to_side, self.near) / _LEAVES)
        )

    def share(self, now: float) -> float:
        """Return how much of the way lies behind, 0..1."""
        moving = (self.far - self.near) / self.speed
        elapsed, before = now - self.start, self.stop_at * moving
        if elapsed > before:
            elapsed = max(before, elapsed - self.stops)
        return float(np.clip(elapsed / moving, 0.0, 1.0))

    def place(self, now: float) -> tuple[float, float, float]:
        """Return metres from the axis and along the tunnel, and how far they came out of the dark, 0..1."""
        done = 1 - self.share(now) if self.away else self.share(now)
        z = self.far + (self.near - self.far) * done
        x = self.side + (self.to_side - self.side) * done
        since, after, seen = now - self.start, now - self.start - self.walking, 1.0
        if self.away:
            seen = min(1.0, (self.end - now) / _DIM_S)
            x += self.out * max(0.0, self._aside(self.to_side, self.near) - _LEAVES * since)
        elif self.from_dark:
            seen = min(1.0, since / _DIM_S)
        else:
            begins = 1 if self.side >= 0 else -1
            x += begins * max(0.0, _beyond(self.far) - abs(self.side) - _ENTERS * since)
        return x + self.out * _LEAVES * max(0.0, after), z, seen

    def _aside(self, x: float, z: float) -> float:
        """Return how far it is from `x` to beyond the picture, on the side where they go out."""
        return _beyond(z) - self.out * x

    def view(self, now: float) -> View | None:
        """Return the photo that is seen now."""
        seen = None
        for since, view in self.views:
            if now >= since:
                seen = view
        return seen


def _beyond(z: float) -> float:
    """Return how far from the axis nothing is in the picture any more at `z`."""
    return WIDTH / 2 / FOCAL * z + 0.3


def plan(shot: Shot, scenario: Scenario, people: People) -> list[Walk]:
    """Return the passages of a shot in the order of their beginning, numbered."""
    rng = np.random.default_rng([scenario.seed, zlib.crc32(shot.name.encode())])
    walks = [_written(one, shot, people, rng) for one in shot.passages]
    if shot.comings is not None:
        from field_test.comings import come_and_go

        walks += come_and_go(shot.comings, shot.cameras[0].name, people, rng)
    if shot.traffic is not None:
        before = _strangers_before(shot, scenario)
        for camera in shot.cameras:
            walks += _by_lot(shot.traffic, camera.name, people, rng, others=walks, first=before)
            before += shot.traffic.strangers
    walks.sort(key=lambda walk: (walk.start, walk.person.who))
    return [_numbered(walk, number) for number, walk in enumerate(walks)]


def _numbered(walk: Walk, number: int) -> Walk:
    return dataclasses.replace(walk, number=number)


def _written(one: PassageSpec, shot: Shot, people: People, rng: np.random.Generator) -> Walk:
    kind, number = one.who.split(":")
    walk = Walk(
        person=(people.registered if kind == "registered" else people.strangers)[int(number)],
        camera=one.camera or shot.cameras[0].name,
        start=one.start_s,
        speed=one.speed,
        far=one.far_m,
        near=one.near_m,
        side=one.side_m,
        to_side=one.to_side_m,
        ash=LEVELS.index(one.ash),
        stops=one.stops_s,
        out=1 if one.to_side_m >= 0 else -1,
        away=one.away,
    )
    return with_views(walk, rng, turns=one.turns)


def with_views(walk: Walk, rng: np.random.Generator, *, turns: bool) -> Walk:
    """Return `walk` with the photos that are seen on it, none of somebody who walks away."""
    if walk.away:
        return walk
    views = _views_of(walk.person, walk.start, walk.walking, rng, turns=turns)
    return dataclasses.replace(walk, views=views)


def _views_of(
    person: Person, start: float, seconds: float, rng: np.random.Generator, *, turns: bool
) -> tuple[tuple[float, View], ...]:
    """Return the photos of a passage: mostly a frontal one; who turns the head shows another for a while."""
    facing = [view for view in person.views if view.pose != "yaw_45"] or list(person.views)
    base = facing[int(rng.integers(len(facing)))]
    others = [view for view in person.views if view is not base]
    if not turns or not others:
        return ((start, base),)
    aside = sorted(others, key=lambda view: -abs(view.yaw) - abs(view.pitch))[: max(1, len(others) // 2)]
    other = aside[int(rng.integers(len(aside)))]
    begins = start + seconds * float(rng.uniform(0.25, 0.5))
    return ((start, base), (begins, other), (begins + float(rng.uniform(0.6, 1.0)), base))


def _by_lot(
    traffic: Traffic,
    camera: str,
    people: People,
    rng: np.random.Generator,
    *,
    others: Sequence[Walk],
    first: int,
) -> list[Walk]:
    queue = _draw(traffic, people, rng, first)
    slots = max(1, round(traffic.at_once))
    free = [traffic.pause_s + float(rng.uniform(0, 1.5)) for _ in range(slots)]
    left = [-float(rng.uniform(0, 1)) for _ in _LANES]  # when each lane was last walked on
    busy: dict[str, float] = {}
    for walk in others:
        busy[walk.person.who] = max(busy.get(walk.person.who, 0.0), walk.end)
    walks: list[Walk] = []
    while queue:
        slot, lane = int(np.argmin(free)), int(np.argmin(left))
        free[slot] = max(free[slot], left[lane])
        at = next(
            (n for n, (person, _) in enumerate(queue) if busy.get(person.who, 0.0) + _AGAIN_S <= free[slot]),
            None,
        )
        if at is None:
            free[slot] += 0.5
            continue
        person, ash = queue.pop(at)
        walk = _walk(traffic, rng, camera=camera, person=person, ash=ash, start=free[slot], lane=lane)
        walks.append(walk)
        busy[person.who] = walk.end
        free[slot] = walk.end + float(rng.exponential(0.15)) * slots / traffic.at_once
        left[lane] = walk.end
        if rng.random() < traffic.away:
            gone = _walk(
                traffic, rng, camera=camera, person=person, ash=ash, start=free[slot], lane=lane, away=True
            )
            walks.append(gone)
            busy[person.who] = free[slot] = left[lane] = gone.end
    return walks


def _strangers_before(shot: Shot, scenario: Scenario) -> int:
    """Return how many strangers earlier shots have had: a shot goes on with the next ones."""
    earlier = scenario.shots[: scenario.shots.index(shot)]
    return sum(len(one.cameras) * one.traffic.strangers for one in earlier if one.traffic is not None)


def _draw(traffic: Traffic, people: People, rng: np.random.Generator, first: int) -> list[tuple[Person, int]]:
    """Return everybody's passages in random order; each person's go through the ash levels in turn."""
    levels = [LEVELS.index(level) for level in traffic.ash]
    shift = int(rng.integers(len(levels)))
    queue = [
        (person, levels[(turn + number + shift) % len(levels)])
        for number, person in enumerate(people.registered)
        for turn in range(traffic.registered)
    ]
    if people.strangers:
        queue += [
            (people.strangers[(first + turn) % len(people.strangers)], levels[turn % len(levels)])
            for turn in range(traffic.strangers)
        ]
    order = rng.permutation(len(queue))
    return [queue[int(index)] for index in order]


def _walk(
    traffic: Traffic,
    rng: np.random.Generator,
    *,
    camera: str,
    person: Person,
    ash: int,
    start: float,
    lane: int,
    away: bool = False,
) -> Walk:
    sight = _LANES[lane % len(_LANES)] + float(rng.normal(0, 0.015))
    crosses = rng.random() < traffic.crosses
    speed = float(rng.uniform(*traffic.speed))
    stops = float(rng.uniform(0.6, 1.2)) if rng.random() < traffic.stops else 0.0
    turns = bool(rng.random() < traffic.turns)
    from_dark = bool(rng.random() < 0.4)  # noqa: PLR2004 - the others come out of a side drift
    near = float(rng.uniform(1.45, 1.8))
    far = near + float(np.clip(speed * rng.uniform(2.0, 2.8), 1.4, 3.4))
    side, beside = sight * far, (-sight if crosses else sight) * near
    out = -1 if sight < 0 else 1
    walk = Walk(
        person=person,
        camera=camera,
        start=start,
        speed=speed,
        far=far,
        near=near,
        side=side,
        to_side=beside,
        ash=ash,
        stops=stops,
        from_dark=from_dark and far > 3.2,  # noqa: PLR2004 - nearer, nobody can hide
        out=-out if crosses else out,
        away=away,
    )
    walk = with_views(walk, rng, turns=turns)
    return dataclasses.replace(walk, stop_at=float(rng.uniform(0.35, 0.8)))
