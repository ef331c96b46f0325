"""`dsr-train detect`: which faces does a detector find, and how well, in what a tunnel makes of a picture?

The photos are the unaligned sets (miner faces, other people). Each is laid into a frame of 640 x 360 at
several face sizes, or taken as it stands, and then made worse: *simulated* ash of two kinds and three
thicknesses, dark and dusty air, few pixels. What is to be found is known from the clean picture: the
manifest says which face, two detectors' boxes and landmarks there, averaged, say where.

A face is found when a detection overlaps it by half (IoU .5), as in WIDER FACE; `half` is the share at
.3, from which on the box follows it and cuts its crop. Landmark errors are the mean distance of the
five points over the distance of the eyes, of found faces. A detection that overlaps no known face at .3
is counted as false.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from calibration.conditions import Severity, degrade
from dsr_inception.crops import own_ash
from dsr_inception.metrics import Share, by_people
from edge_app.records import Box, Face

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from dsr_inception.crops import Ash
    from dsr_inception.datasets import FreePhoto, PhotoSet
    from edge_app.faces.detect import Detector

    Image = npt.NDArray[np.uint8]
    Condition = Callable[[Image, tuple[float, float, float, float], str], Image]

FOUND: Final = 0.5
FOLLOWED: Final = 0.3
FRAME: Final = (640, 360)
#: Face heights in the frame, pixels, drawn in turn.
HEIGHTS: Final = (44.0, 64.0, 96.0, 140.0)
FAR: Final = 26.0
#: `dark_dust` of `calibration.conditions` without what is measured in shares of a face's own picture (blur
#: and lost pixels), which would be absurd on a whole frame.
DARK: Final = Severity(
    light_ash=0.5, heavy_ash=0.2,
    effects={"led_cone": 0.5, "backscatter": 0.6, "darkness": 0.8, "noise": 0.1, "compression": 0.4},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """A picture, (H, W, 3) uint8 BGR, whose `faces` are known; the first is the manifest's person."""

    person: str
    key: str
    pixels: Image
    faces: tuple[Face, ...]


def conditions(yardstick: Ash) -> dict[str, Condition]:
    """Return what is done to a picture, by name; `yardstick` is the frozen ash that comparisons share."""
    return {
        "clean": lambda image, _box, _key: image,
        "light, yardstick": lambda image, box, key: yardstick(image, box, 1, key),
        "heavy, yardstick": lambda image, box, key: yardstick(image, box, 2, key),
        "heavy, ours": lambda image, box, key: own_ash(image, box, 2, key),
        "thick, ours": lambda image, box, key: own_ash(image, box, 3, key),
        "thick, yardstick": lambda image, box, key: yardstick(
            yardstick(image, box, 2, key), box, 2, key + "b"
        ),
        "dark and dusty": dark_dust,
    }


def dark_dust(image: Image, box: tuple[float, float, float, float], key: str) -> Image:
    """Return `image` in simulated darkness and dust, seeded by `key`; ash lies on the face in `box`."""
    seed = np.frombuffer(key.encode().ljust(4, b" "), np.uint8)
    return degrade(image, DARK, np.random.default_rng(seed.tolist()), face=box)


def known_faces(detectors: Sequence[Detector], image: Image, box: Box) -> tuple[Face, ...]:
    """Return the faces of a clean picture that any of `detectors` finds, the one in `box` first.

    A face that several find is averaged. Nothing is returned where nobody finds the one in `box`.
    """
    groups: list[list[Face]] = []
    for detector in detectors:
        for face in detector.detect(image):
            near = [group for group in groups if group[0].box.iou(face.box) >= FOLLOWED]
            near[0].append(face) if near else groups.append([face])
    faces = sorted((_averaged(group) for group in groups), key=lambda face: -face.box.iou(box))
    return tuple(faces) if faces and faces[0].box.iou(box) >= FOLLOWED else ()


def _averaged(group: Sequence[Face]) -> Face:
    boxes = np.mean([(f.box.x, f.box.y, f.box.width, f.box.height) for f in group], axis=0)
    marks = np.mean([f.landmarks for f in group], axis=0)
    return Face(box=Box(*map(float, boxes)), landmarks=marks.astype(np.float32), score=group[0].score)


def framed(case: Case, height: float) -> Case:
    """Return `case` in a dark frame of 640 x 360 with its face `height` pixels high, where that fits."""
    face = case.faces[0].box
    scale = min(height / face.height, 4.0)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(case.pixels, None, fx=scale, fy=scale, interpolation=how)
    seed = np.frombuffer(case.key.encode().ljust(4, b" "), np.uint8)
    rng = np.random.default_rng(seed.tolist())
    frame = np.full((FRAME[1], FRAME[0], 3), 12, np.uint8)
    # The photo's place: its face lies wholly in the frame.
    fx, fy, fw, fh = face.x * scale, face.y * scale, face.width * scale, face.height * scale
    left = int(rng.uniform(8, max(9.0, FRAME[0] - fw - 8)) - fx)
    top = int(rng.uniform(8, max(9.0, FRAME[1] - fh - 8)) - fy)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + small.shape[1], FRAME[0]), min(top + small.shape[0], FRAME[1])
    frame[y0:y1, x0:x1] = small[y0 - top : y1 - top, x0 - left : x1 - left]
    faces = tuple(_moved(one, scale, left, top) for one in case.faces)
    return Case(case.person, case.key, frame, tuple(f for f in faces if _inside(f.box)) or faces[:1])


def _moved(face: Face, scale: float, left: int, top: int) -> Face:
    box = face.box
    return Face(
        box=Box(box.x * scale + left, box.y * scale + top, box.width * scale, box.height * scale),
        landmarks=(face.landmarks * np.float32(scale) + np.array([left, top], np.float32)).astype(np.float32),
        score=face.score,
    )


def _inside(box: Box) -> bool:
    x, y = box.x + box.width / 2, box.y + box.height / 2
    return 0 <= x < FRAME[0] and 0 <= y < FRAME[1]


@dataclass(slots=True)
class Figures:
    """What one detector did under one condition; a list entry a case."""

    found: list[bool] = field(default_factory=list)
    followed: list[bool] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    false: list[int] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    @property
    def recall(self) -> Share:
        """Share of the manifest's faces that are found, with an interval over people."""
        return by_people(np.array(self.found), np.array(self.people))

    def numbers(self) -> dict[str, float]:
        """Return what is reported: shares in 0..1, landmark errors in eye distances, milliseconds."""
        share = self.recall
        found = self.errors or [float("nan")]
        return {
            "recall": share.value,
            "low": share.low,
            "high": share.high,
            "followed": float(np.mean(self.followed)),
            "landmarks_median": float(np.median(found)),
            "landmarks_p90": float(np.quantile(found, 0.9)),
            "false_a_picture": float(np.mean(self.false)),
            "ms": float(np.median(self.ms)),
            "cases": float(len(self.found)),
        }

    def add(self, case: Case, faces: Sequence[Face], ms: float) -> None:
        """Enter what was found in `case` in `ms` milliseconds."""
        wanted = case.faces[0]
        overlap = [face.box.iou(wanted.box) for face in faces]
        best = int(np.argmax(overlap)) if overlap else -1
        self.found.append(bool(overlap) and overlap[best] >= FOUND)
        self.followed.append(bool(overlap) and overlap[best] >= FOLLOWED)
        self.people.append(case.person)
        self.ms.append(ms)
        if self.found[-1]:
            self.errors.append(landmark_error(faces[best], wanted))
        self.false.append(sum(1 for face in faces if max(face.box.iou(k.box) for k in case.faces) < FOLLOWED))


def landmark_error(face: Face, wanted: Face) -> float:
    """Return the mean distance of the five landmarks over the distance of the wanted eyes."""
    eyes = float(np.linalg.norm(wanted.landmarks[1] - wanted.landmarks[0]))
    away = np.linalg.norm(face.landmarks - wanted.landmarks, axis=1)
    return float(away.mean()) / max(eyes, 1.0)


def cases_of(photos: PhotoSet, chosen: Iterable[FreePhoto], reference: Sequence[Detector]) -> Iterator[Case]:
    """Yield the clean photos whose face is found by any of `reference`."""
    for photo in chosen:
        image = photos.read(photo.file)
        faces = known_faces(reference, image, Box(*photo.box))
        if faces:
            yield Case(photo.person, photo.file, image, faces)


def measure(
    detectors: Mapping[str, Detector],
    cases: Sequence[Case],
    yardstick: Ash,
    *,
    names: Sequence[str] | None = None,
) -> dict[str, dict[str, Figures]]:
    """Return each detector's figures by condition; a case goes through all detectors as the same pixels."""
    result: dict[str, dict[str, Figures]] = defaultdict(lambda: defaultdict(Figures))
    for number, case in enumerate(cases):
        near = framed(case, HEIGHTS[number % len(HEIGHTS)])
        for name, condition in conditions(yardstick).items():
            if names is None or name in names:
                _enter(result, detectors, f"{name}", near, condition)
        if names is None or "far" in names:
            _enter(result, detectors, "far", framed(case, FAR), conditions(yardstick)["clean"])
    return {name: dict(by) for name, by in result.items()}


def _enter(
    result: dict[str, dict[str, Figures]],
    detectors: Mapping[str, Detector],
    name: str,
    case: Case,
    condition: Condition,
) -> None:
    box = case.faces[0].box
    seen = condition(case.pixels, (box.x, box.y, box.width, box.height), case.key)
    for who, detector in detectors.items():
        began = time.thread_time_ns()
        faces = detector.detect(seen)
        result[name][who].add(case, faces, (time.thread_time_ns() - began) / 1e6)


def as_json(result: Mapping[str, Mapping[str, Figures]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the figures as plain numbers, by condition and detector."""
    return {name: {who: one.numbers() for who, one in by.items()} for name, by in result.items()}


def table(result: Mapping[str, Mapping[str, Figures]]) -> str:
    """Return a Markdown table: a row a condition and detector."""
    lines = [
        "| condition | detector | found, IoU .5 | IoU .3 | landmarks, median / p90 | false a picture | ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, by in result.items():
        for who, one in by.items():
            n = one.numbers()
            marks = f"{100 * n['landmarks_median']:.1f} / {100 * n['landmarks_p90']:.1f} %"
            rest = f"{100 * n['followed']:.1f} % | {marks} | {n['false_a_picture']:.2f} | {n['ms']:.1f}"
            lines.append(f"| {name} | {who} | {one.recall} | {rest} |")
    return "\n".join(lines)
