"""The tunnel clip: twenty seconds in which one registered person, a stranger and nobody come by.

Everything follows from the seed, so the clip is the same on every machine that has the same photos.
The people are real photos (`field_test.cutout`) that walk towards the camera through a simulated
tunnel (`field_test.scene`); beside the clip stands its ground truth: who was where in which frame,
and in which frames there was nobody at all.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from edge_app.records import Box
from field_test import cutout, light, scene, weather

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    Picture = npt.NDArray[np.float32]

#: Left, top, width, height in pixels.
Face = tuple[float, float, float, float]

FPS: Final = 12.5
#: A face box is this high in life, in metres (CenterFace: from the brow to the chin).
_FACE_M: Final = 0.21
#: How far above the camera's axis a face is carried.
_CARRIED: Final = 0.06
_LIGHT: Final = light.LAYOUTS["demo"]


@dataclass(frozen=True, slots=True)
class Walker:
    """Somebody who comes to the camera, stands before it as at a portal, and leaves sideways.

    `face` is the face's box in the photo, in pixels; `start` and `end` are seconds, of which the last
    `stands` and `leaves` are spent standing and leaving. `far` and `near` are metres along the tunnel,
    `side` and `middle` metres from its axis at either end (negative: left), `out` the side of the exit.
    """

    who: str
    photo: str
    face: Box
    start: float
    end: float
    far: float = 5.0
    near: float = 1.3
    side: float = 0.3
    middle: float = -0.05
    stands: float = 1.8
    leaves: float = 1.2
    out: int = -1

    def place(self, now: float) -> tuple[float, float]:
        """Return where the walker is, metres from the axis and along the tunnel."""
        coming = self.end - self.start - self.stands - self.leaves
        share = min(1.0, (now - self.start) / coming)
        x = self.side + (self.middle - self.side) * share
        gone = max(0.0, (now - self.end + self.leaves) / self.leaves)
        width = scene.WIDTH / scene.FOCAL * self.near
        return x + self.out * width * gone**2, self.far + (self.near - self.far) * share


@dataclass(frozen=True, slots=True)
class Passage:
    """Ground truth of one walker: the frames from `first` to `last`, and the face's box in each."""

    who: str
    photo: str
    first: int
    last: int
    faces: dict[int, Face] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Truth:
    """What is in the clip. `empty` are the stretches of frames, first and last, without anybody."""

    fps: float
    size: tuple[int, int]
    frames: int
    passages: tuple[Passage, ...]
    empty: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Script:
    """All that decides a clip beside the photos: who comes by, the seed of rock, dust and noise, how long."""

    walkers: tuple[Walker, ...]
    seed: int = 20
    seconds: float = 20.0


#: The demo's clip. The boxes were measured once; the photos are pinned by their hash.
DEMO: Final = Script(
    (
        Walker("obama", "obama3.jpg", Box(640, 261, 286, 367), start=1.2, end=9.0),
        Walker("biden", "biden.jpg", Box(430, 161, 286, 409), start=11.4, end=19.2, side=-0.3, out=1),
    )
)


def make_clip(
    photos: Mapping[str, Path],
    folder: Path,
    *,
    script: Script = DEMO,
    progress: Callable[[float], None] | None = None,
) -> tuple[Path, Path]:
    """Return the clip's path and its ground truth's, made now or found in `folder`.

    Args:
        photos: path by file name, for every walker's photo.
        folder: the cache; a clip is kept under a name that depends on all that made it.
        script: what happens.
        progress: called with the share that is done, 0..1.

    Raises:
        OSError: the clip cannot be written.
        ValueError: a photo cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clip = folder / f"tunnel-{_fingerprint(photos, script)}.mp4"
    truth_path = clip.with_suffix(".json")
    if clip.is_file() and truth_path.is_file():
        return clip, truth_path
    scratch = folder / f".{os.getpid()}-{clip.name}"
    try:
        truth = _render(scratch, photos, script, progress)
        truth_path.write_text(json.dumps(asdict(truth), indent=1), encoding="utf-8")
        scratch.replace(clip)
    finally:
        scratch.unlink(missing_ok=True)
    return clip, truth_path


def read_truth(path: Path) -> Truth:
    """Return the ground truth beside a clip."""
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    passages = tuple(
        Passage(**{**one, "faces": {int(frame): tuple(box) for frame, box in one["faces"].items()}})
        for one in raw["passages"]
    )
    empty = tuple((first, last) for first, last in raw["empty"])
    return Truth(raw["fps"], tuple(raw["size"]), raw["frames"], passages, empty)


def _fingerprint(photos: Mapping[str, Path], script: Script) -> str:
    digest = hashlib.sha256(repr((script, FPS)).encode())
    for source in (
        Path(__file__),
        Path(cutout.__file__),
        Path(scene.__file__),
        Path(weather.__file__),
        Path(light.__file__),
    ):
        digest.update(source.read_bytes())
    for walker in script.walkers:
        digest.update(photos[walker.photo].read_bytes())
    return digest.hexdigest()[:12]


def _render(
    path: Path, photos: Mapping[str, Path], script: Script, progress: Callable[[float], None] | None
) -> Truth:
    walkers = script.walkers
    size = (scene.WIDTH, scene.HEIGHT)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, size)
    if not writer.isOpened():
        msg = f"OpenCV cannot write {path}; is the disk full, or the folder read-only?"
        raise OSError(msg)
    tunnel = scene.make_scene(script.seed)
    air = weather.Weather(tunnel, seed=script.seed)
    people = [cutout.cut_out(photos[walker.photo], walker.face) for walker in walkers]
    faces: list[dict[int, Face]] = [{} for _ in walkers]
    present: list[list[int]] = [[] for _ in walkers]
    count = round(script.seconds * FPS)
    for index in range(count):
        now = index / FPS
        picture = tunnel.rock.copy()
        air.add_far_air(picture, now)
        for number, (walker, person) in enumerate(zip(walkers, people, strict=True)):
            if walker.start <= now <= walker.end:
                present[number].append(index)
                if box := _walk(picture, walker, person, now):
                    faces[number][index] = box
        air.add_near_air(picture, now)
        writer.write(air.expose(picture, now))
        if progress:
            progress((index + 1) / count)
    writer.release()
    passages = tuple(
        Passage(walker.who, walker.photo, frames[0], frames[-1], boxes)
        for walker, frames, boxes in zip(walkers, present, faces, strict=True)
        if frames
    )
    return Truth(FPS, size, count, passages, _gaps({frame for frames in present for frame in frames}, count))


def _gaps(taken: set[int], count: int) -> tuple[tuple[int, int], ...]:
    gaps: list[tuple[int, int]] = []
    for frame in range(count):
        if frame in taken:
            continue
        if gaps and gaps[-1][1] == frame - 1:
            gaps[-1] = (gaps[-1][0], frame)
        else:
            gaps.append((frame, frame))
    return tuple(gaps)


def _walk(picture: Picture, walker: Walker, person: cutout.CutOut, now: float) -> Face | None:
    """Draw the walker into `picture` and return the face's box, None while the face is outside it."""
    x, z = walker.place(now)
    step = 2 * np.pi * 1.8 * now
    x += 0.018 * np.sin(step / 2)
    y = -_CARRIED + 0.014 * np.cos(step)
    scale = scene.FOCAL * _FACE_M / z / cutout.FACE_PX
    fx, fy, fw, fh = (value * scale for value in person.face)
    turn = np.asarray(
        cv2.getRotationMatrix2D((fx + fw / 2, fy + fh * 2), 1.2 * np.sin(step / 2), 1.0), np.float64
    )
    turn[0, 2] += scene.WIDTH / 2 + scene.FOCAL * x / z - (fx + fw / 2)
    turn[1, 2] += scene.HORIZON + scene.FOCAL * y / z - (fy + fh / 2)
    appears = min(1.0, (now - walker.start) / 0.4)
    mask = _placed(person.alpha, scale, turn)[:, :, None] * np.float32(appears)
    lit = _lit(person, x, z)
    picture *= 1 - mask
    picture += _placed(lit, scale, turn) * mask
    u, v = (turn @ np.array([fx + fw / 2, fy + fh / 2, 1.0])).tolist()
    inside = fw / 2 < u < scene.WIDTH - fw / 2 and fh / 2 < v < scene.HEIGHT - fh / 2
    return (u - fw / 2, v - fh / 2, fw, fh) if inside else None


def _placed(layer: Picture, scale: float, turn: npt.NDArray[np.float64]) -> Picture:
    """Scale a layer of the cut-out, without the shimmer of skipped pixels, and move it to its place."""
    small = cv2.resize(layer, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.warpAffine(small, turn, (scene.WIDTH, scene.HEIGHT)), dtype=np.float32)


def _lit(person: cutout.CutOut, x: float, z: float) -> Picture:
    """Return the person's colours in linear light, lit by the lamps at (x, z), through the dust."""
    metres = np.arange(len(person.alpha), dtype=np.float32) - np.float32(person.face[1])
    metres *= np.float32(_FACE_M / cutout.FACE_PX)
    at_x, at_z = np.full_like(metres, x), np.full_like(metres, z)
    lit = np.zeros_like(metres)
    for lamp in _LIGHT.lamps:
        lit += scene.light_at(at_x, metres - np.float32(0.2), at_z, lamp)
    # The lamps are above: the head has most of it, and the legs are left in the dark.
    lit *= np.exp(-np.maximum(metres, 0) / np.float32(0.8))
    through_dust = 0.75 * np.exp(-scene.EXTINCTION * z)
    linear = person.colour ** np.float32(2.2)
    return np.asarray(
        linear * lit[:, None, None] * np.float32(through_dust) * np.array(_LIGHT.tint), dtype=np.float32
    )
