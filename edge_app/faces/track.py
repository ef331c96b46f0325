"""Which face is whose from one frame to the next.

Each track predicts where its face will be, by a constant velocity that is smoothed over the frames,
and the detections are given to the tracks as a whole: the assignment with the least total cost
(Kuhn 1955, Munkres 1957), so that two people who cross do not take each other's name because one of
them was asked first. The cost of a pair is one minus the overlap of prediction and detection plus
their distance in face sizes; pairs that are too far apart, or of too different size, are not allowed
at all.

A track that is not seen coasts on its velocity for a while and ends after a time, not after a
number of frames: a camera that drops frames must not end people. Good detections are given out first;
what is left of the tracks is then looked for among the weak ones (Zhang et al. 2022, *ByteTrack*), of
which many are no faces: they continue a track where it was expected, and never begin one.

Where one face covers another, nobody can be sure whose is whose afterwards: both tracks are named
when they begin to touch and when they come apart, so that they are looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.faces.assign import FORBIDDEN, assign

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from edge_app.records import Box, Face

_NS_PER_S: Final = 1_000_000_000
#: Smoothing of position and velocity: the share that the newest measurement has.
_TRUST_SIZE: Final = 0.5
_TRUST_VELOCITY: Final = 0.4
#: Frames that come closer together than this (s) were taken further apart: a network camera delivers in
#: bursts, a recording that is read frame by frame as fast as it can. Their speed would be absurd.
_SHORTEST_S: Final = 0.04
#: While coasting, the velocity fades with this time constant (s): nobody walks on for ever.
_FADE_S: Final = 0.5
#: Two faces touch when they share so much of the smaller one, and are apart again below half of that.
_TOUCH_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackLimits:
    """How tracks begin, go on and end.

    `max_silence_s`: a track that was not seen for longer than this has ended. `max_distance`: how far
    from its prediction a face may be, in face sizes. `max_ratio`: how much larger or smaller; at 2, one
    face in six was given to the track of somebody behind or before (docs/field-test.md).
    `min_score_new`: a detection below it is weak: it begins no track, and continues one only within
    `weak_distance` of where it should be.
    """

    max_silence_s: float = 1.0
    max_distance: float = 1.2
    max_ratio: float = 1.4
    min_score_new: float = 0.5
    weak_distance: float = 0.6


@dataclass(frozen=True, slots=True)
class Tracked:
    """What the tracker says about one frame: the track of each face, None for one that has none.

    `crossed` are the tracks whose faces began to touch another's with this frame, or came apart.
    """

    ids: tuple[str | None, ...]
    ended: tuple[str, ...]
    crossed: tuple[str, ...] = ()


class Tracker:
    """Follows the faces of one camera. Track names (``t000001``) are not reused while it lives."""

    def __init__(self, *, limits: TrackLimits | None = None) -> None:
        self._limits = limits or TrackLimits()
        self._tracks: list[_Track] = []
        self._touching: set[tuple[str, str]] = set()
        self._made = 0

    @property
    def active(self) -> tuple[str, ...]:
        """The tracks that have not ended."""
        return tuple(track.name for track in self._tracks)

    def update(self, faces: Sequence[Face], mono_ns: int) -> Tracked:
        """Give the faces of one frame to tracks.

        Args:
            faces: what was detected.
            mono_ns: the frame's monotonic time; a frame that is older than the last one is as new as it.

        Returns:
            The name of each face's track in the order of `faces`, the tracks that ended by now, and those
            that met another one or came apart from it.
        """
        ended = self._end_silent(mono_ns)
        ids: list[str | None] = [None] * len(faces)
        cost = self._costs(faces, mono_ns)
        good = [column for column, face in enumerate(faces) if face.score >= self._limits.min_score_new]
        weak = [column for column in range(len(faces)) if column not in good]
        rows = list(range(len(self._tracks)))
        for columns in (good, weak):
            pairs = assign(cost[np.ix_(rows, columns)]) if rows and columns else []
            for row, column in [(rows[row], columns[column]) for row, column in pairs]:
                self._tracks[row].follow(faces[column].box, mono_ns)
                ids[column] = self._tracks[row].name
                rows.remove(row)
        for column in good:
            if ids[column] is None:
                ids[column] = self._begin(faces[column].box, mono_ns)
        return Tracked(ids=tuple(ids), ended=ended, crossed=self._crossed(mono_ns))

    def finish(self) -> tuple[str, ...]:
        """End all tracks and return their names: the camera has ended."""
        ended, self._tracks = self.active, []
        return ended

    def _crossed(self, mono_ns: int) -> tuple[str, ...]:
        """Return the tracks that began or ceased to touch another; a hidden one is where it should be."""
        boxes = {track.name: track.predict(mono_ns) for track in self._tracks}
        names = sorted(boxes)
        touching = set()
        for number, one in enumerate(names):
            for other in names[number + 1 :]:
                bar = _TOUCH_SHARE / 2 if (one, other) in self._touching else _TOUCH_SHARE
                if _shared(boxes[one], boxes[other]) > bar:
                    touching.add((one, other))
        changed, self._touching = touching ^ self._touching, touching
        return tuple(sorted({name for pair in changed for name in pair if name in boxes}))

    def _begin(self, box: Box, mono_ns: int) -> str:
        self._made += 1
        track = _Track(f"t{self._made:06d}", box, mono_ns)
        self._tracks.append(track)
        return track.name

    def _end_silent(self, mono_ns: int) -> tuple[str, ...]:
        limit = self._limits.max_silence_s * _NS_PER_S
        ended = tuple(track.name for track in self._tracks if mono_ns - track.seen_ns > limit)
        self._tracks = [track for track in self._tracks if track.name not in ended]
        return ended

    def _costs(self, faces: Sequence[Face], mono_ns: int) -> npt.NDArray[np.float64]:
        cost = np.full((len(self._tracks), len(faces)), FORBIDDEN)
        for row, track in enumerate(self._tracks):
            predicted = track.predict(mono_ns)
            for column, face in enumerate(faces):
                weak = face.score < self._limits.min_score_new
                reach = self._limits.weak_distance if weak else self._limits.max_distance
                seen = _centre_and_size(face.box)
                cost[row, column] = _cost(predicted, seen, reach=reach, max_ratio=self._limits.max_ratio)
        return cost


class _Track:
    """One person's face over time: centre (x, y), size (w, h), velocity of the centre in pixels a second."""

    def __init__(self, name: str, box: Box, mono_ns: int) -> None:
        self.name = name
        self.seen_ns = mono_ns
        self._state = _centre_and_size(box)
        self._velocity = np.zeros(2)
        self._measured = False

    def predict(self, mono_ns: int) -> npt.NDArray[np.float64]:
        """Return where it should be now: centre x, y, width, height."""
        elapsed = max(mono_ns - self.seen_ns, 0) / _NS_PER_S
        reach = _FADE_S * (1.0 - np.exp(-elapsed / _FADE_S))
        predicted = self._state.copy()
        predicted[:2] += self._velocity * reach
        return predicted

    def follow(self, box: Box, mono_ns: int) -> None:
        """Take `box` as what was seen."""
        seen = _centre_and_size(box)
        elapsed = (mono_ns - self.seen_ns) / _NS_PER_S
        if elapsed > 0:
            velocity = (seen[:2] - self._state[:2]) / max(elapsed, _SHORTEST_S)
            trust = _TRUST_VELOCITY if self._measured else 1.0
            self._velocity += trust * (velocity - self._velocity)
            self._measured = True
            self.seen_ns = mono_ns
        self._state[:2] = seen[:2]
        self._state[2:] += _TRUST_SIZE * (seen[2:] - self._state[2:])


def _centre_and_size(box: Box) -> npt.NDArray[np.float64]:
    return np.array([box.x + box.width / 2, box.y + box.height / 2, box.width, box.height])


def _shared(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Return how much of the smaller of two faces (centre x, y, width, height) the other covers, 0..1."""
    low = np.maximum(one[:2] - one[2:] / 2, other[:2] - other[2:] / 2)
    high = np.minimum(one[:2] + one[2:] / 2, other[:2] + other[2:] / 2)
    return float(np.prod(np.clip(high - low, 0.0, None)) / min(np.prod(one[2:]), np.prod(other[2:])))


def _cost(
    predicted: npt.NDArray[np.float64], seen: npt.NDArray[np.float64], *, reach: float, max_ratio: float
) -> float:
    """Return 1 - overlap + distance in face sizes, or `FORBIDDEN` beyond `reach` or `max_ratio`."""
    size = float(np.sqrt(predicted[2] * predicted[3]))
    ratio = float(np.sqrt(seen[2] * seen[3])) / size
    distance = float(np.linalg.norm(seen[:2] - predicted[:2])) / (size * max(ratio, 1.0))
    if distance > reach or not 1 / max_ratio <= ratio <= max_ratio:
        return FORBIDDEN
    low = np.maximum(predicted[:2] - predicted[2:] / 2, seen[:2] - seen[2:] / 2)
    high = np.minimum(predicted[:2] + predicted[2:] / 2, seen[:2] + seen[2:] / 2)
    inter = float(np.prod(np.clip(high - low, 0.0, None)))
    union = float(np.prod(predicted[2:]) + np.prod(seen[2:])) - inter
    return 1.0 - inter / union + distance
