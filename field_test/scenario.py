"""What happens in a tunnel, as a file: who comes by, how they walk, what the light and the air are like.

A scenario has shots. Each shot is one run of one box with its cameras; its traffic is drawn by lot from the
scenario's seed, or its passages are written out one by one, or both. Unknown keys and values out of range
are refused with the place where they stand. `load_scenario` reads one; the files that the project
measures with are in ``field_test/scenarios/``.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError, model_validator

from edge_app.config.base import Name, Section, Share
from edge_app.config.document import read_document
from edge_app.errors import ConfigError
from field_test.light import LAYOUTS

FOLDER: Final = Path(__file__).parent / "scenarios"
LEVELS: Final = ("clean", "light", "heavy")
#: Folders beside those of the shots: the photos that register people, and what `score` leaves.
RESERVED: Final = ("registration", "run")
Level = Literal["clean", "light", "heavy"]
#: Seconds of a shot; ten hours are more than a day of rendering.
Seconds = Annotated[float, Field(ge=0, le=36_000)]
Moment = Annotated[float, Field(gt=0, le=36_000)]
#: Metres a second; slower than a tenth is standing, and takes for ever to render.
Speed = Annotated[float, Field(ge=0.1, le=10)]
Metres = Annotated[float, Field(ge=0.3, le=50)]
#: A picture's side.
Pixels = Annotated[int, Field(ge=16, le=4096)]
#: Seconds that a clock is set by: forty years, so that it shows no time before 1970.
Jump = Annotated[float, Field(ge=-1.2e9, le=1.2e9)]


class AirSpec(Section):
    """Dust, lens, mount, sensor and wire; 1 is what the demo has (`field_test.weather.Air`)."""

    dust: Annotated[float, Field(ge=0, le=10)] = 1.0
    grains: Annotated[int, Field(ge=0, le=2000)] = 90
    vibration: Annotated[float, Field(ge=0, le=10)] = 1.0
    noise: Annotated[float, Field(ge=0, le=10)] = 1.0
    bands: Share = 0.0
    dirt: Share = 0.0
    dirt_grows: Share = 0.0
    codec: Share | None = 0.4


class CameraSpec(Section):
    """One camera of the box."""

    name: Name = "drift"
    zone: Name = "main-drift"
    light: str = "cone"
    air: AirSpec = AirSpec()
    drops: Annotated[float, Field(ge=0, le=0.9)] = Field(default=0.0, description="share of frames lost")
    portal: bool = Field(
        default=False, description="the picture's middle is the way: to the right is in, to the left is out"
    )

    @model_validator(mode="after")
    def _light_is_known(self) -> CameraSpec:
        if self.light not in LAYOUTS:
            near = difflib.get_close_matches(self.light, LAYOUTS, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            msg = f"there is no light {self.light!r:.40}; {meant}known are {', '.join(sorted(LAYOUTS))}"
            raise ValueError(msg)
        return self


class Traffic(Section):
    """Passages by lot: so many of each registered person and so many of strangers, each ash level alike."""

    registered: Annotated[int, Field(ge=0, le=1000)] = Field(default=1, description="passages of each")
    strangers: Annotated[int, Field(ge=0, le=10000)] = Field(default=0, description="passages in all")
    at_once: Annotated[float, Field(gt=0, le=6)] = Field(default=2.0, description="people in the picture")
    speed: tuple[Speed, Speed] = Field(default=(0.8, 1.5), description="metres a second, from and to")
    turns: Share = Field(default=0.3, description="share that turns the head on the way")
    stops: Share = Field(default=0.15, description="share that stops on the way")
    crosses: Share = Field(default=0.2, description="share that changes the side")
    away: Share = Field(default=0.05, description="walkers-away for each passage: nobody's face")
    ash: tuple[Level, ...] = Field(default=LEVELS, min_length=1, description="levels, in turn")
    pause_s: Annotated[float, Field(ge=0, le=600)] = Field(default=4.0, description="empty before and after")

    @model_validator(mode="after")
    def _speeds_rise(self) -> Traffic:
        if self.speed[0] > self.speed[1]:
            msg = f"speed goes from {self.speed[0]:g} to {self.speed[1]:g}; give the slower one first"
            raise ValueError(msg)
        return self


class Comings(Section):
    """People who go in and out through the first camera's portal, one after another."""

    minutes: Annotated[float, Field(gt=0, le=600)] = 10.0
    at_most: Annotated[int, Field(ge=1, le=100)] = Field(default=5, description="people inside")
    every_s: Annotated[float, Field(ge=3, le=3600)] = Field(
        default=15.0, description="seconds between two, in the mean"
    )
    strangers: Annotated[int, Field(ge=0, le=1000)] = Field(default=2, description="of those who come and go")
    ash: Level = "clean"


class PassageSpec(Section):
    """One passage, written out: who, when, how."""

    who: Annotated[str, Field(pattern=r"^(registered|stranger):\d+$")]
    start_s: Seconds
    camera: Name | None = Field(default=None, description="null is the first")
    speed: Speed = 1.1
    far_m: Metres = 4.2
    near_m: Metres = 1.5
    side_m: Annotated[float, Field(ge=-2, le=2)] = 0.2
    to_side_m: Annotated[float, Field(ge=-2, le=2)] = 0.0
    stops_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    turns: bool = False
    away: bool = False
    ash: Level = "clean"

    @model_validator(mode="after")
    def _comes_closer(self) -> PassageSpec:
        if self.near_m >= self.far_m:
            msg = f"near_m ({self.near_m}) must be less than far_m ({self.far_m})"
            raise ValueError(msg)
        return self


class Resize(Section):
    """The camera changes its resolution while it runs: it then gives pictures of `size`."""

    at_s: Moment
    size: tuple[Pixels, Pixels]


class ClockJump(Section):
    """The box's wall clock is set by `by_s` seconds at `at_s` of the shot."""

    at_s: Moment
    by_s: Jump


class Shot(Section):
    """One run of the box."""

    name: Name
    cameras: tuple[CameraSpec, ...] = Field(default=(CameraSpec(),), min_length=1)
    traffic: Traffic | None = None
    comings: Comings | None = None
    passages: tuple[PassageSpec, ...] = ()
    seconds: Seconds | None = Field(default=None, description="at least so long; null is as needed")
    quiet_fps: Annotated[float, Field(ge=0.01, le=60)] | None = Field(
        default=None, description="frames a second while nobody is there"
    )
    resize: Resize | None = None
    clock_jump: ClockJump | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Shot:
        if self.name in RESERVED:
            msg = f"a shot cannot be called {self.name}: the folder of clips has another folder of that name"
            raise ValueError(msg)
        names = [camera.name for camera in self.cameras]
        if len(set(names)) < len(names):
            msg = f"two cameras have one name: {', '.join(names)}"
            raise ValueError(msg)
        if strange := [one.camera for one in self.passages if one.camera not in {None, *names}]:
            msg = f"passages before cameras that are not in the shot: {', '.join(map(str, strange))}"
            raise ValueError(msg)
        if self.comings is not None and not self.cameras[0].portal:
            msg = "comings go through the first camera's portal; set portal: true there"
            raise ValueError(msg)
        if not (self.traffic or self.comings or self.passages or self.seconds):
            msg = "nothing happens: give traffic, comings, passages, or the seconds of an empty shot"
            raise ValueError(msg)
        return self


class PeopleSpec(Section):
    """How many there are; who they are is decided by the seed and ``dsr-field make --people``."""

    registered: Annotated[int, Field(ge=0, le=100)] = 6
    photos: Annotated[int, Field(ge=1, le=12)] = Field(default=4, description="to register each")
    strangers: Annotated[int, Field(ge=0, le=5000)] = 60


class Scenario(Section):
    """The whole file."""

    name: Name
    seed: Annotated[int, Field(ge=0)] = 1
    fps: Annotated[float, Field(ge=1, le=60)] = 12.5
    people: PeopleSpec = PeopleSpec()
    ash: Literal["own", "yardstick"] = Field(
        default="own", description="own: for choices; yardstick: the frozen one, for reported figures"
    )
    shots: tuple[Shot, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _people_are_there(self) -> Scenario:
        names = [shot.name for shot in self.shots]
        if len(set(names)) < len(names):
            msg = f"two shots have one name: {', '.join(names)}"
            raise ValueError(msg)
        have = {"registered": self.people.registered, "stranger": self.people.strangers}
        for shot in self.shots:
            if not (shot.traffic or shot.comings or shot.passages) and (shot.seconds or 0) * self.fps < 1:
                msg = f"shot {shot.name}: {shot.seconds} s at {self.fps:g} frames a second is no frame"
                raise ValueError(msg)
            for one in shot.passages:
                kind, number = one.who.split(":")
                if int(number) >= have[kind]:
                    msg = f"shot {shot.name}: there is no {one.who}; people has {have[kind]}, counted from 0"
                    raise ValueError(msg)
            if shot.traffic is not None and shot.traffic.strangers and not self.people.strangers:
                msg = f"shot {shot.name}: its traffic has strangers, and people.strangers is 0"
                raise ValueError(msg)
        return self


def load_scenario(path: Path) -> Scenario:
    """Read a scenario.

    Raises:
        ConfigError: it cannot be read, or something in it cannot be; each fault with its place.
    """
    document = read_document(
        path, name="the scenario", path_fix="check the path", example=f"start from one in {FOLDER}"
    )
    try:
        return Scenario.model_validate(document.tree)
    except ValidationError as error:
        faults = "\n".join(f"  - {problem}" for problem in document.problems(error, Scenario))
        raise ConfigError(
            f"the scenario {path} cannot be used:\n{faults}",
            fix="mend the keys named above; field_test/scenario.py lists every key with its range",
        ) from None
