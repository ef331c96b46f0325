"""The values that go from stage to stage; each checks itself when it is made.

::

    capture -> faces -> embedding -> identity -> presence -> delivery
    Frame      Face     Embedding    Identity    Event       (row, message)

All are frozen and slotted. Arrays inside them are not copied: whoever makes a record gives the
array away. Coordinates are pixels of the frame, x to the right, y down; times are nanoseconds of
the injected monotonic clock (`edge_app.clock`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

PERSON_REF: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


def _require(condition: bool, message: str) -> None:  # noqa: FBT001 - reads as a sentence at every call
    if not condition:
        raise ValueError(message)


class Rejection(str, Enum):
    """Why a face, or a moment without one, gives no identity. The value is what events carry."""

    NO_FACE = "no_face"
    TOO_SMALL = "too_small"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    LOW_CONTRAST = "low_contrast"
    TURNED_AWAY = "turned_away"
    IMPLAUSIBLE_LANDMARKS = "implausible_landmarks"
    AT_THE_EDGE = "at_the_edge"
    BELOW_THRESHOLD = "below_threshold"
    AMBIGUOUS = "ambiguous"
    LOOK_ALIKE = "look_alike"
    TOO_FEW_VIEWS = "too_few_views"
    EMPTY_GALLERY = "empty_gallery"


class Decision(str, Enum):
    """What the box says about a track."""

    NAMED = "named"
    UNKNOWN = "unknown"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one camera: `pixels` is (H, W, 3) uint8 BGR.

    `dropped` counts the frames of this camera that were discarded since the previous Frame, because
    a newer one was there; `index` counts all of them, so gaps show.
    """

    camera: str
    index: int
    mono_ns: int
    pixels: npt.NDArray[np.uint8]
    dropped: int = 0

    def __post_init__(self) -> None:
        """Refuse anything that is not a BGR picture."""
        shape = self.pixels.shape
        _require(
            self.pixels.dtype == np.uint8 and len(shape) == 3 and shape[2] == 3 and min(shape) > 0,  # noqa: PLR2004
            f"frame must be (H, W, 3) uint8 BGR; received {shape} {self.pixels.dtype}",
        )

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        """Refuse empty and non-finite rectangles."""
        values = (self.x, self.y, self.width, self.height)
        _require(
            bool(np.isfinite(values).all()) and self.width > 0 and self.height > 0, f"not a box: {values}"
        )

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return self.width * self.height

    def iou(self, other: Box) -> float:
        """Return intersection over union, 0..1."""
        w = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        h = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if w <= 0 or h <= 0:
            return 0.0
        return w * h / (self.area + other.area - w * h)


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face, its score 0..1, and five landmarks, (5, 2) float32.

    Landmarks are the eyes, the nose tip and the mouth corners, left to right in the picture.
    """

    box: Box
    landmarks: npt.NDArray[np.float32]
    score: float

    def __post_init__(self) -> None:
        """Refuse landmarks of another shape and scores outside 0..1."""
        _require(self.landmarks.shape == (5, 2), f"landmarks must be (5, 2); received {self.landmarks.shape}")
        _require(bool(np.isfinite(self.landmarks).all()), "landmarks must be finite")
        _require(0.0 <= self.score <= 1.0, f"score must be in 0..1; received {self.score}")


@dataclass(frozen=True, slots=True)
class Quality:
    """How usable a face is. `rejection` names the first reason why it is not, None when it is.

    `face_px` is the box's shorter side in pixels, `sharpness` the fine detail of the aligned crop along
    the worse of its two axes (variance of the second derivative per variance of the luma, in
    thousandths), `brightness` and `contrast` mean and standard deviation of its luma (0..255), `yaw`,
    `pitch` and `roll` estimates in degrees, `score` 0..1 the weight of its vote.
    """

    face_px: float
    sharpness: float
    brightness: float
    contrast: float
    yaw: float
    pitch: float
    roll: float
    score: float
    rejection: Rejection | None = None

    def __post_init__(self) -> None:
        """Refuse scores outside 0..1."""
        _require(0.0 <= self.score <= 1.0, f"quality must be in 0..1; received {self.score}")


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """A face in one frame that belongs to `track`, with its quality.

    `crop` is the aligned (224, 224, 3) uint8 RGB picture, None when the quality rejects the face.
    `ended` tracks are told apart in `FrameFaces`.
    """

    track: str
    face: Face
    quality: Quality
    crop: npt.NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class FrameFaces:
    """All that the faces stage says about one frame: its faces, and the tracks that ended with it.

    `crossed` names tracks whose faces covered each other, or just stopped to: they may be swapped.
    """

    frame: Frame
    faces: tuple[TrackedFace, ...]
    ended: tuple[str, ...] = ()
    crossed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Embedding:
    """An L2-normalised vector, (D,) float32, and what made it."""

    vector: npt.NDArray[np.float32]
    model_sha256: str
    preprocess_sha256: str

    def __post_init__(self) -> None:
        """Refuse vectors that are not of unit length."""
        _require(self.vector.ndim == 1, f"embedding must be (D,); received {self.vector.shape}")
        norm = float(np.linalg.norm(self.vector))
        _require(abs(norm - 1.0) < 1e-3, f"embedding must have length 1; received {norm:.4f}")  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Match:
    """The gallery's answer for one embedding: the nearest person, and the nearest other person.

    Scores are cosine similarities, -1..1; `person_ref` is None when the gallery is empty, `second_ref`
    when it has fewer than two people.
    """

    person_ref: str | None
    score: float
    second_ref: str | None
    second_score: float
    threshold: float
    gallery_version: int


@dataclass(frozen=True, slots=True)
class Identity:
    """What the box says about one track now; made when it says so first and whenever it changes.

    `reason` says why nobody is named (None when somebody is). `score` is the similarity of
    the track's pooled views to `person_ref` (or to the nearest person, who is then not named). `votes` is
    the number of embeddings behind the decision, `revised` the number of times that it changed.
    `final` is True when the track has ended. `template` is the mean embedding of the track's views, (D,)
    float32 of unit length, None without any: it tells strangers apart, and never leaves the box.
    """

    camera: str
    track: str
    decision: Decision
    person_ref: str | None
    reason: Rejection | None
    score: float | None
    threshold: float
    margin: float | None
    quality: float
    votes: int
    face_px: float
    frame_index: int
    first_seen_ns: int
    mono_ns: int
    gallery_version: int
    revised: int = 0
    final: bool = False
    template: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """A name goes with `named`, a reason with everything else."""
        named = self.decision is Decision.NAMED
        _require(named == (self.person_ref is not None), "person_ref is given exactly when somebody is named")
        _require(named == (self.reason is None), "reason is given exactly when nobody is named")


@dataclass(frozen=True, slots=True)
class CameraState:
    """Whether a camera sees. `blind_since_ns` is None while it does; `reason` names why it does not.

    `impaired` names what is wrong with a camera that sees all the same (``lamp_out``, ``moved``, ``glare``).
    """

    camera: str
    zone: str
    blind_since_ns: int | None = None
    reason: str | None = None
    impaired: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell the mine. `data` holds the kind's own fields, JSON values only.

    The envelope (id, sequence, boot, wall time) is added when the event is committed to the outbox:
    see `edge_app/delivery/event.py` and `event.v1.schema.json`.
    """

    kind: str
    mono_ns: int
    camera: str | None = None
    zone: str | None = None
    data: Mapping[str, object] = field(default_factory=dict)
    test: bool = False


@dataclass(frozen=True, slots=True)
class CardReading:
    """A positioning card was read in `zone` at `mono_ns`, or is `gone` from it.

    `owner` is whom it is issued to, as registered; `reader` is None where the system does not tell.
    """

    card: str
    owner: str
    zone: str
    mono_ns: int
    reader: str | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class PersonSeen:
    """Where and when somebody was last seen; `person_ref` is None for somebody whom nobody knows.

    `since_ns` is when they came into the zone. `perhaps_left_ns` is when somebody went out of it whom nobody
    recognised and who may have been this person: they are in the muster and not in the best count. Times
    are negative if that was before this run of the monotonic clock began.
    """

    person_ref: str | None
    track: str
    zone: str
    camera: str
    first_seen_ns: int
    last_seen_ns: int
    score: float | None
    since_ns: int | None = None
    perhaps_left_ns: int | None = None


@dataclass(frozen=True, slots=True)
class HeadCount:
    """How many people there are, and between which bounds that is certain."""

    best: int
    low: int
    high: int

    def __post_init__(self) -> None:
        """Refuse bounds on the wrong side."""
        _require(
            0 <= self.low <= self.best <= self.high, f"not a count: {self.low} <= {self.best} <= {self.high}"
        )


@dataclass(frozen=True, slots=True)
class PresenceSnapshot:
    """Who was last seen where, as of `mono_ns`; `unknown` are people that are not registered.

    `count` and `zones` (by zone) say how certain the headcount is; None where nobody has worked it out.
    """

    mono_ns: int
    people: tuple[PersonSeen, ...]
    unknown: tuple[PersonSeen, ...]
    cameras: tuple[CameraState, ...]
    count: HeadCount | None = None
    zones: Mapping[str, HeadCount] = field(default_factory=dict)

    @property
    def headcount(self) -> int:
        """How many people the box counts: the named and the unknown, without those who have perhaps left."""
        return sum(one.perhaps_left_ns is None for one in (*self.people, *self.unknown))
