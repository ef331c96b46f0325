"""Every fault of a camera, switched on in simulated tunnel footage: is it told, by its name, and how soon?

``python -m benchmarks.camera_health`` renders a tunnel a second at a time (the box looks once a second),
with dust that drifts, people who come by close to the camera (flat figures, as bright as a face), vibration
and the sensor's noise, and puts the pictures through the box's own camera health and its blindness. Two
parts: each fault in each tunnel, from a clean minute into a minute of the fault and back; and hours of
clean footage, in which every report is a false alarm. Time is simulated, so an hour takes about a minute.

The footage is not photometry and the faults are simulated (a defocused lens blurs the light before the
sensor adds its noise, a lamp that is out is left out of the scene). Exit status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from edge_app.capture.blindness import Blindness
from edge_app.capture.camera_health import CameraHealth, Sight
from field_test import scene
from field_test.light import LAYOUTS
from field_test.weather import Air, Weather

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from edge_app.records import CameraState

    Light = npt.NDArray[np.float32]
    Picture = npt.NDArray[np.uint8]

S: Final = 1_000_000_000
CLEAN_S: Final = 20
FAULT_S: Final = 20
AFTER_S: Final = 12
BAR_S: Final = 15.0
BAR_AN_HOUR: Final = 1.0
LOOK: Final = (scene.HEIGHT, scene.WIDTH)


class Footage:
    """A tunnel's light, second by second, before the sensor (`light`) and after it (`picture`)."""

    def __init__(self, seed: int, *, busy: float = 0.35) -> None:
        rng = np.random.default_rng(seed)
        self._seed, self._busy = seed, busy
        self.gain = float(rng.uniform(0.5, 1.6))
        layout = sorted(set(LAYOUTS) - {"glare"})[seed % (len(LAYOUTS) - 1)]
        light = LAYOUTS[layout]
        self._lit = scene.make_scene(seed, light)
        self._unlit = scene.make_scene(
            seed, dataclasses.replace(light, roof=light.roof[(len(light.roof) + 1) // 2 :])
        )
        air = Air(dust=float(rng.uniform(0.5, 2.0)), codec=float(rng.choice([0.0, 0.5])))
        self.weather = Weather(self._lit, seed=seed, air=air)

    def light(self, second: float, *, lamp_out: bool = False) -> Light:
        """Return the light of the tunnel, dust and people; or without the nearer lamps."""
        picture = (self._unlit if lamp_out else self._lit).rock.copy()
        self.weather.add_far_air(picture, second)
        self._people(picture, second)
        self.weather.add_near_air(picture, second)
        return picture

    def picture(self, second: float, light: Light | None = None, *, gain: float = 1.0) -> Picture:
        """Return what the sensor makes of `light`, or of the tunnel at `second`."""
        return self.weather.expose(
            self.light(second) if light is None else light, second, gain=self.gain * gain
        )

    def _people(self, picture: Light, second: float) -> None:
        """Draw whoever comes by: every ten seconds somebody or nobody, from far to close."""
        number = int(second // 10)
        rng = np.random.default_rng([self._seed, number])
        if rng.random() > self._busy:
            return
        share = (second % 10) / 10
        z = 6.0 + (1.2 - 6.0) * share
        x = rng.uniform(-0.5, 0.5) + 0.1 * np.sin(3 * second)
        height, left = scene.FOCAL / z, scene.WIDTH / 2 + scene.FOCAL * x / z
        top = scene.HORIZON - 0.18 * height
        body = (int(left), int(top + 0.75 * height))
        bright = float(rng.uniform(0.02, 0.2)) * (1.0 + 2.0 / z)
        cv2.ellipse(
            picture, body, (int(0.25 * height), int(0.6 * height)), 0, 0, 360, (bright * 0.3,) * 3, -1
        )
        face = (int(left), int(top + 0.1 * height))
        cv2.ellipse(picture, face, (int(0.08 * height), int(0.12 * height)), 0, 0, 360, (bright,) * 3, -1)
        if rng.random() < 0.5:  # noqa: PLR2004 -- a coin
            lamp = (int(left), int(top - 0.03 * height))
            cv2.circle(picture, lamp, max(2, int(0.035 * height)), (3.0, 3.0, 3.0), -1)


def smudged(light: Light) -> Light:
    """Return it through a lens with mud on it: takes light away where it sits, and scatters some."""
    cloud = cv2.resize(np.random.default_rng(0).random((9, 16)), LOOK[::-1], interpolation=cv2.INTER_CUBIC)
    kept = 1 - np.clip((0.8 - cloud) * 4, 0, 0.92)[..., None]
    return np.asarray(light * kept + (1 - kept) * 0.6 * light.mean(), np.float32)


def blurred(light: Light) -> Light:
    """Return it out of focus."""
    return np.asarray(cv2.GaussianBlur(light, (0, 0), 3.0), np.float32)


def veiled(light: Light) -> Light:
    """Return it through a film of dust on the glass: a third of the contrast, and the film's own light."""
    return np.asarray(0.25 * light + 0.75 * light.mean() * 1.5, np.float32)


def under_a_hand(light: Light) -> Light:
    """Return what a hand or a rag on the lens lets through."""
    return np.asarray(cv2.GaussianBlur(light, (0, 0), 60) * 0.15 + 0.004, np.float32)


def dazzled(light: Light) -> Light:
    """Return it with a locomotive's lamp in it."""
    lit = light.copy()
    cv2.circle(lit, (350, 150), 125, (4.0, 4.0, 4.0), -1)
    return np.asarray(lit + 0.3 * cv2.GaussianBlur(lit - light, (0, 0), 30), np.float32)


def pushed(light: Light) -> Light:
    """Return what a camera sees that was turned aside by six degrees and tilted."""
    turn = cv2.getRotationMatrix2D((scene.WIDTH / 2, scene.HEIGHT / 2), 7, 1.05)
    turn[:, 2] += (90, 20)
    return np.asarray(cv2.warpAffine(light, turn, LOOK[::-1], borderMode=cv2.BORDER_REFLECT), np.float32)


def capped(light: Light) -> Light:
    """Return what is left when the light is out: almost nothing."""
    return light * np.float32(2e-4)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: which states name it rightly, what it does to the light, whether the picture stands."""

    named: tuple[Sight, ...]
    light: Callable[[Light], Light] | None = None
    still: bool = False
    lamp_out: bool = False


FAULTS: Final[dict[str, Fault]] = {
    "darkness": Fault((Sight.DARK,), capped),
    "covered": Fault((Sight.COVERED, Sight.DARK), under_a_hand),
    "blur": Fault((Sight.BLURRED,), blurred),
    "mud on the lens": Fault((Sight.DIRTY,), smudged),
    "dust film on the lens": Fault((Sight.DIRTY, Sight.BLURRED), veiled),
    "frozen": Fault((Sight.FROZEN,), still=True),
    "moved": Fault((Sight.MOVED,), pushed),
    "nearest lamps out": Fault((Sight.LAMP_OUT, Sight.DARK), lamp_out=True),
    "glare": Fault((Sight.GLARE, Sight.BLINDED), dazzled),
}


class Watch:
    """The box's camera health and its blindness, as `edge_app.capture.live` wires them."""

    def __init__(self) -> None:
        self.health = CameraHealth()
        self.blindness = Blindness(camera="cam", zone="drift", after_s=10.0, now_ns=0)

    def look(self, picture: Picture, second: float) -> CameraState | None:
        """Return the report that the box makes now, None where it makes none."""
        now = round(second * S)
        sight = self.health.look(picture, now)
        if sight.blind:
            self.blindness.saw_nothing(sight.value, self.health.useless_ns)
        else:
            self.blindness.saw(now)
            self.blindness.noticed(None if sight is Sight.CLEAR else sight.value, now)
        return self.blindness.check(now)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds until a fault was told and until its end was, None where it was not; what it was called."""

    told_s: float | None
    called: str | None
    over_s: float | None
    before: int


def try_fault(seed: int, fault: Fault) -> Outcome:
    """Return what the box says of `fault` in tunnel `seed`."""
    footage, watch = Footage(seed), Watch()
    before = 0
    told: tuple[float, str] | None = None
    over: float | None = None
    still = footage.picture(CLEAN_S)
    for second in range(CLEAN_S + FAULT_S + AFTER_S):
        on = CLEAN_S <= second < CLEAN_S + FAULT_S
        if on and fault.still:
            picture = still
        else:
            light = footage.light(second, lamp_out=on and fault.lamp_out)
            picture = footage.picture(second, fault.light(light) if on and fault.light else light)
        state = watch.look(picture, second)
        if state is None:
            continue
        reason = state.reason if state.blind_since_ns is not None else state.impaired
        if second < CLEAN_S:
            before += 1
        elif reason and on and (told is None or reason in {s.value for s in fault.named}):
            told = told if told and told[1] in {s.value for s in fault.named} else (second - CLEAN_S, reason)
        elif reason is None and not on:
            over = second - CLEAN_S - FAULT_S
    return Outcome(told[0] if told else None, told[1] if told else None, over, before)


def false_alarms(seed: int, hours: float) -> list[tuple[float, str]]:
    """Return the reports, second and reason, in `hours` of clean footage of tunnel `seed`.

    The light is that of ten minutes over and over; the sensor's noise and the vibration are always new.
    """
    footage, watch = Footage(seed), Watch()
    kept = [footage.light(second).astype(np.float16) for second in range(600)]
    found = []
    for second in range(round(hours * 3600)):
        picture = footage.picture(second, kept[second % len(kept)].astype(np.float32))
        state = watch.look(picture, second)
        if state is not None and (state.blind_since_ns is not None or state.impaired):
            found.append((float(second), state.reason or str(state.impaired)))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--tunnels", type=int, default=3, help="tunnels for each fault (default: 3)")
    parser.add_argument("--hours", type=float, default=1.0, help="clean hours for each tunnel (default: 1)")
    args = parser.parse_args(argv)
    good = True
    print("| fault | told after (s) | as | over after (s) |\n|---|---|---|---|")
    for name, fault in FAULTS.items():
        outcomes = [try_fault(seed, fault) for seed in range(50, 50 + args.tunnels)]
        called = {s.value for s in fault.named}
        right = all(o.told_s is not None and o.told_s <= BAR_S and o.called in called for o in outcomes)
        good &= right and all(o.before == 0 for o in outcomes)
        cells = [", ".join("-" if v is None else f"{v}" for v in (getattr(o, k) for o in outcomes))
                 for k in ("told_s", "called", "over_s")]  # fmt: skip
        print(f"| {name} | {' | '.join(cells)} | {'' if right else 'MISSED'}")
    alarms = [false_alarms(seed, args.hours) for seed in range(80, 80 + args.tunnels)]
    total, hours = sum(len(one) for one in alarms), max(args.hours * args.tunnels, 1e-9)
    print(f"\nfalse alarms: {total} in {hours:g} h of clean footage (bar: under {BAR_AN_HOUR:g} an hour)")
    print(sorted({reason for one in alarms for _, reason in one}) or "none")
    return 0 if good and total / hours < BAR_AN_HOUR else 1


if __name__ == "__main__":
    sys.exit(main())
