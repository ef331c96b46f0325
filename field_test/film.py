"""Renders a shot: each camera's clip, and line by line the truth of what was drawn into it."""

from __future__ import annotations

import contextlib
import json
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from calibration.ash import coal_ash
from field_test import scene
from field_test.light import LAYOUTS
from field_test.miner import Figure, Outfit, figure_from_behind, figure_from_face
from field_test.scenario import LEVELS
from field_test.truth import Clip, FrameTruth, Passage, TrueFace, write_line
from field_test.weather import Air, Weather

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from field_test.people import View
    from field_test.scenario import CameraSpec, Scenario, Shot
    from field_test.scene import Picture
    from field_test.traffic import Walk

    Image = npt.NDArray[np.uint8]
    #: ``ash(image, box, level, key)``, the yardstick's signature.
    Ash = Callable[[Image, tuple[float, float, float, float], int, str], Image]

#: A face box is this high in life, in metres, and carried so far above the camera's axis.
_FACE_M, _CARRIED = 0.21, 0.06
#: Below this share of itself a face that comes out of the dark is not called present.
_OUT_OF_THE_DARK: Final = 0.6
_HELMET_BLOOM: Final = 1.6


def own_ash(image: Image, box: tuple[float, float, float, float], level: int, key: str) -> Image:
    """Return `image` with this project's simulated ash, seeded by `key`."""
    seed = np.frombuffer(key.encode().ljust(4, b" "), np.uint8)
    return coal_ash(image, level, np.random.default_rng(seed.tolist()), face=box)


@dataclass(slots=True)
class _Drawn:
    """What one walker left in a frame: the face's box, how much later figures covered of it."""

    walk: Walk
    box: tuple[float, float, float, float] | None
    pose: str
    hidden: float = 0.0


def film(
    shot: Shot,
    scenario: Scenario,
    walks: list[Walk],
    folder: Path,
    *,
    ash: Ash,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a shot's clips and ``truth.jsonl`` into `folder`.

    Raises:
        OSError: a clip cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "truth.jsonl").open("w", encoding="utf-8") as out:
        for number, camera in enumerate(shot.cameras):
            own = [walk for walk in walks if walk.camera == camera.name]
            _film_camera(
                shot, scenario, camera, walks=own, folder=folder, out=out, number=number, ash=ash,
                progress=progress,
            )  # fmt: skip


def _film_camera(
    shot: Shot,
    scenario: Scenario,
    camera: CameraSpec,
    *,
    walks: list[Walk],
    folder: Path,
    out: IO[str],
    number: int,
    ash: Ash,
    progress: Callable[[int, int], None] | None,
) -> None:
    size = (scene.WIDTH, scene.HEIGHT)
    name = camera.name if shot.resize else f"{camera.name}.mp4"
    clip = Clip(
        camera=camera.name, file=name, fps=scenario.fps, size=size, zone=camera.zone, light=camera.light,
        portal=camera.portal,
    )  # fmt: skip
    write_line(out, "clip", clip)
    for walk in walks:
        write_line(out, "passage", _passage(walk, portal=camera.portal))
    stage = _Stage(
        scenario, camera, ash=ash, seed=zlib.crc32(f"{scenario.seed}/{shot.name}/{number}".encode())
    )
    times = list(_times(shot, scenario, walks, stage.rng, camera.drops))
    with _writer(folder / name, scenario.fps, size, shot) as write:
        for index, now in enumerate(times):
            picture, drawn = stage.frame([walk for walk in walks if walk.start <= now < walk.end], now)
            scale = write(picture, now)
            write_line(out, "frame", _frame_truth(camera.name, index, now, drawn, scale))
            if progress:
                progress(index + 1, len(times))


def end_of(shot: Shot, walks: Iterable[Walk]) -> float:
    """Return how many seconds a shot has before a camera with `walks`."""
    pause = shot.traffic.pause_s if shot.traffic else 2.0
    return max([shot.seconds or 0.0, *(walk.end + pause for walk in walks)])


def _times(
    shot: Shot, scenario: Scenario, walks: list[Walk], rng: np.random.Generator, drops: float
) -> Iterator[float]:
    """Yield the times of the frames that the camera gives: some are lost, and in quiet some are spared."""
    last = -1e9
    for index in range(round(end_of(shot, walks) * scenario.fps)):
        now = index / scenario.fps
        busy = any(walk.start - 0.5 <= now <= walk.end + 1.5 for walk in walks)
        quiet = not busy and shot.quiet_fps is not None and now - last < 1 / shot.quiet_fps - 1e-6
        if not quiet and rng.random() >= drops:
            last = now
            yield round(now, 4)


@contextlib.contextmanager
def _writer(
    path: Path, fps: float, size: tuple[int, int], shot: Shot
) -> Iterator[Callable[[Image, float], tuple[float, float]]]:
    """Give a function that writes a frame and returns the factors by which it was scaled across and down."""
    if shot.resize is not None:
        path.mkdir(exist_ok=True)
        resize, count = shot.resize, iter(range(10**6))

        def write_picture(picture: Image, now: float) -> tuple[float, float]:
            changed = now >= resize.at_s
            if changed:
                picture = np.asarray(cv2.resize(picture, resize.size, interpolation=cv2.INTER_AREA), np.uint8)
            cv2.imwrite(str(path / f"{next(count):06d}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
            return (resize.size[0] / size[0], resize.size[1] / size[1]) if changed else (1.0, 1.0)

        yield write_picture
        return
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    if not writer.isOpened():
        msg = f"OpenCV cannot write {path}; is the disk full, or the folder read-only?"
        raise OSError(msg)

    def write_frame(picture: Image, _now: float) -> tuple[float, float]:
        writer.write(picture)
        return 1.0, 1.0

    try:
        yield write_frame
    finally:
        writer.release()


def _passage(walk: Walk, *, portal: bool) -> Passage:
    way, crossed = _through(walk) if portal else (None, None)
    return Passage(
        id=walk.number, camera=walk.camera, who=walk.person.who, ref=walk.person.ref, ash=LEVELS[walk.ash],
        first_s=round(walk.start, 3), last_s=round(walk.end, 3), away=walk.away, way=way, crossed_s=crossed,
    )  # fmt: skip


def _through(walk: Walk) -> tuple[str | None, float | None]:
    """Return which way somebody goes through the middle of the picture, and when; None if they do not."""
    times = np.arange(walk.start + 0.5, walk.start + walk.walking, 0.02)
    sides = np.sign([walk.place(float(now))[0] for now in times])
    turns = np.flatnonzero(sides[1:] != sides[:-1])
    if not len(turns):
        return None, None
    at = int(turns[-1])
    return ("in" if sides[at + 1] > 0 else "out"), round(float(times[at]), 2)


def _frame_truth(
    camera: str, index: int, now: float, drawn: list[_Drawn], scale: tuple[float, float]
) -> FrameTruth:
    faces = tuple(
        TrueFace(
            passage=one.walk.number,
            box=tuple(round(value * factor, 1) for value, factor in zip(one.box, scale * 2, strict=True)),  # type: ignore[arg-type]
            pose=one.pose,
            hidden=round(one.hidden, 2),
        )
        for one in drawn
        if one.box is not None
    )
    present = tuple(one.walk.number for one in drawn)
    return FrameTruth(camera=camera, index=index, t=now, faces=faces, present=present)


class _Stage:
    """One camera's tunnel, with the figures of those who are in it."""

    def __init__(self, scenario: Scenario, camera: CameraSpec, *, ash: Ash, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._light = LAYOUTS[camera.light]
        self._tunnel = scene.make_scene(seed, self._light)
        self._air = Weather(self._tunnel, seed=seed, air=Air(**camera.air.model_dump()))
        self._ash = ash
        self._figures: dict[tuple[int, str], Figure] = {}
        self._bloom = _bloom()
        self._seed = scenario.seed

    def frame(self, walks: list[Walk], now: float) -> tuple[Image, list[_Drawn]]:
        """Return the camera's picture at `now` and what is in it, the farthest first."""
        picture = self._tunnel.rock.copy()
        self._air.add_far_air(picture, now)
        drawn: list[_Drawn] = []
        self._forget({walk.number for walk in walks})
        for walk in sorted(walks, key=lambda one: -one.place(now)[1]):
            drawn.append(self._draw(picture, walk, now, drawn))
        self._air.add_near_air(picture, now)
        return self._air.expose(picture, now), drawn

    def _forget(self, present: set[int]) -> None:
        self._figures = {key: one for key, one in self._figures.items() if key[0] in present}

    def _figure(self, walk: Walk, view: View | None) -> Figure:
        key = (walk.number, view.key if view else "")
        if key not in self._figures:
            self._figures[key] = self._make_figure(walk, view)
        return self._figures[key]

    def _make_figure(self, walk: Walk, view: View | None) -> Figure:
        rng = np.random.default_rng([self._seed, walk.number])
        outfit = Outfit(int(rng.integers(4)), int(rng.integers(4)), bool(rng.random() < 0.35), int(rng.integers(2)))  # noqa: E501, PLR2004 # fmt: skip
        if view is None:
            return figure_from_behind(outfit=outfit, ash=walk.ash)
        clean = view.read()
        dusty = (
            self._ash(clean, view.box, walk.ash, f"{view.key}/{walk.number}/{walk.ash}")
            if walk.ash
            else clean
        )
        return figure_from_face(dusty, view.box, clean=clean, outfit=outfit, ash=walk.ash, yaw=view.yaw)

    def _draw(self, picture: Picture, walk: Walk, now: float, before: list[_Drawn]) -> _Drawn:
        view = walk.view(now)
        figure = self._figure(walk, view)
        x, z, seen = walk.place(now)
        step = 2 * np.pi * 1.8 * (now + walk.number * 0.37)
        x += 0.018 * np.sin(step / 2)
        y = -_CARRIED + 0.014 * np.cos(step)
        unit = scene.FOCAL * _FACE_M / z
        centre = (scene.WIDTH / 2 + scene.FOCAL * x / z, scene.HORIZON + scene.FOCAL * y / z)
        turn = _placing(figure, unit, centre, degrees=1.2 * float(np.sin(step / 2)))
        patch = _patch(figure, unit, turn)
        if patch is None:
            return _Drawn(walk, None, "none")
        layer, left, top = patch
        height, width = layer.shape[:2]
        alpha = np.asarray(cv2.extractChannel(layer, 3), np.float32)
        colour = cv2.cvtColor(layer, cv2.COLOR_BGRA2BGR)
        self._light_up(colour, (x, z), unit, first=top - centre[1], seen=seen)
        under = picture[top : top + height, left : left + width]
        kept = cv2.cvtColor(cv2.addWeighted(alpha, -seen, alpha, 0.0, 1.0), cv2.COLOR_GRAY2BGR)
        under[:] = cv2.add(cv2.multiply(under, kept), colour)
        for other in before:
            _cover(other, alpha, left, top)
        if figure.lit and seen > _OUT_OF_THE_DARK:
            self._add_bloom(picture, figure, turn, z)
        return _Drawn(walk, self._face(figure, turn, unit, seen), view.pose if view else "none")

    def _face(
        self, figure: Figure, turn: npt.NDArray[np.float64], unit: float, seen: float
    ) -> tuple[float, float, float, float] | None:
        """Return the face's box in the picture, None if it is not (wholly) there."""
        if not figure.has_face or seen < _OUT_OF_THE_DARK:
            return None
        fx, fy, fw, fh = figure.face
        u, v = (turn @ np.array([fx + fw / 2, fy + fh / 2, 1.0])).tolist()
        scale = unit / fh
        width, height = fw * scale, fh * scale
        inside = (
            0.4 * width < u < scene.WIDTH - 0.4 * width and 0.4 * height < v < scene.HEIGHT - 0.4 * height
        )
        return (u - width / 2, v - height / 2, width, height) if inside else None

    def _light_up(
        self, colour: npt.NDArray[Any], place: tuple[float, float], unit: float, *, first: float, seen: float
    ) -> None:
        """Light a figure row by row: `first` is how far its top is below the face's middle, in pixels."""
        x, z = place
        rows = (np.arange(len(colour), dtype=np.float32) + np.float32(first)) / np.float32(unit / _FACE_M)
        lit = np.full_like(rows, self._light.ambient)
        for lx, ly, lz, power in self._light.lamps:
            square = (x - lx) ** 2 + (rows - _CARRIED - ly) ** 2 + (z - lz) ** 2
            facing = np.clip(0.2 + 0.8 * (z - lz) / np.sqrt(square), 0.05, 1)
            lit += np.float32(power) * facing.astype(np.float32) / (square + np.float32(0.6))
        lit *= np.float32(np.exp(-scene.EXTINCTION * z) * seen)
        colour *= lit[:, None, None] * self._tunnel.tint

    def _add_bloom(self, picture: Picture, figure: Figure, turn: npt.NDArray[np.float64], z: float) -> None:
        u, v = (turn @ np.array([*figure.lamp, 1.0])).tolist()
        side = max(8, round(150 / z))
        bloom = cv2.resize(self._bloom, (side, side), interpolation=cv2.INTER_AREA)
        left, top = round(u - side / 2), round(v - side / 2)
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(scene.WIDTH, left + side), min(scene.HEIGHT, top + side)
        if x0 < x1 and y0 < y1:
            picture[y0:y1, x0:x1] += bloom[y0 - top : y1 - top, x0 - left : x1 - left, None]


def _placing(
    figure: Figure, unit: float, centre: tuple[float, float], *, degrees: float
) -> npt.NDArray[np.float64]:
    """Return the (2, 3) map from a figure's pixels (larger size) to the picture's."""
    fx, fy, fw, fh = figure.face
    scale = unit / fh
    turn = np.asarray(cv2.getRotationMatrix2D((fx + fw / 2, fy + fh * 2), degrees, scale), np.float64)
    at = turn @ np.array([fx + fw / 2, fy + fh / 2, 1.0])
    turn[:, 2] += np.array(centre) - at
    return turn


def _patch(figure: Figure, unit: float, turn: npt.NDArray[np.float64]) -> tuple[Picture, int, int] | None:
    """Return a figure as it stands in the picture, (h, w, 4), its left and its top, None outside."""
    large = figure.layers[0]
    use = 1 if unit < 0.55 * figure.face[3] else 0
    layer = figure.layers[use]
    shrink = layer.shape[0] / large.shape[0]
    corners = np.array([[0, 0, 1], [large.shape[1], 0, 1], [0, large.shape[0], 1], [*large.shape[1::-1], 1]])
    spots = corners @ turn.T
    left, top = (int(max(0, value)) for value in np.floor(spots.min(0)))
    right, bottom = np.minimum(np.ceil(spots.max(0)), (scene.WIDTH, scene.HEIGHT)).astype(int).tolist()
    if right <= left or bottom <= top:
        return None
    move = turn.copy()
    move[:, :2] /= shrink
    move[:, 2] -= (left, top)
    warped = cv2.warpAffine(layer, move, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.float32), left, top


def _cover(drawn: _Drawn, alpha: Picture, left: int, top: int) -> None:
    """Note how much of an earlier face a nearer figure covers."""
    if drawn.box is None:
        return
    x, y, w, h = drawn.box
    rows = slice(max(0, int(y - top)), max(0, int(y + h - top)))
    columns = slice(max(0, int(x - left)), max(0, int(x + w - left)))
    part = alpha[rows, columns]
    if part.size:
        drawn.hidden = min(1.0, drawn.hidden + float(part.sum()) / (w * h))


def _bloom() -> Picture:
    """Return the glow of a lamp that looks into the lens, (150, 150)."""
    rows, columns = np.mgrid[:150, :150].astype(np.float32) - np.float32(74.5)
    distance = np.hypot(rows, columns)
    glow = np.exp(-((distance / 7) ** 2)) * _HELMET_BLOOM + 0.35 * np.exp(-distance / 13)
    edge = np.clip((75 - distance) / 20, 0, 1)
    return np.asarray(glow * edge, np.float32)


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file's object."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
