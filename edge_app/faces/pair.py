"""Two detectors as one: the dust detector adds the faces that the first does not find, or is not sure of.

CenterFace loses faces under heavy ash; the dust detector finds many of them for a fifth of the time, but its
boxes and landmarks are coarser and it sees a face where there is none more often. So the first one's box and
landmarks stand wherever it has any, and the second raises its score or adds what lies apart from all of them.
The second's scores are put on the first's scale: what begins a track there begins one here, and what only
continues one only continues one (docs/sight.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_app.faces.detect import FOLLOW_SCORE, SCORE_THRESHOLD
from edge_app.faces.network import NMS_IOU

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from edge_app.faces.detect import Detector
    from edge_app.records import Face


class Scale(NamedTuple):
    """A detector's scores: from `begins` on a face begins a track, from `follows` on it continues one."""

    begins: float
    follows: float


CENTERFACE_SCALE: Final = Scale(begins=SCORE_THRESHOLD, follows=FOLLOW_SCORE)
#: The dust detector's scores beside CenterFace: chosen on development people (docs/sight.md).
DUST_SCALE: Final = Scale(begins=0.7, follows=0.25)


def combine(
    first: Sequence[Face], second: Sequence[Face], *, scale: Scale, second_scale: Scale
) -> tuple[Face, ...]:
    """Return the faces of both, best score first, the scores of all on the `scale` of the first.

    Faces overlap when their intersection over union is `NMS_IOU` or more.
    """
    faces = list(first)
    own = len(faces)
    for face in second:
        score = rescored(face.score, second_scale, scale)
        overlaps = [face.box.iou(other.box) for other in faces[:own]]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best < 0 or overlaps[best] < NMS_IOU:
            faces.append(replace(face, score=score))
        elif score > faces[best].score:
            faces[best] = replace(faces[best], score=score)
    return tuple(sorted(faces, key=lambda face: -face.score))


def rescored(score: float, of: Scale, to: Scale) -> float:
    """Return where a `score` on one scale stands on another: 0, both limits and 1 meet, straight between."""
    return float(np.interp(score, (0.0, of.follows, of.begins, 1.0), (0.0, to.follows, to.begins, 1.0)))


class PairDetector:
    """`first` with what `second` adds, each opened down to its weakest score. Owns both.

    Args:
        first: the detector whose boxes, landmarks and scores count.
        second: the one that adds.
        scale, second_scale: their scores.
    """

    def __init__(self, first: Detector, second: Detector, *, scale: Scale, second_scale: Scale) -> None:
        self._first, self._second = first, second
        self._scale, self._second_scale = scale, second_scale

    @property
    def backend(self) -> str:
        """Both backends, the first one's first."""
        names = (self._first.backend, self._second.backend)
        return " + ".join(dict.fromkeys(names))

    def detect(self, pixels: npt.NDArray[np.uint8]) -> tuple[Face, ...]:
        """Return the faces in `pixels`, (H, W, 3) uint8 BGR of any size, best score first."""
        found, more = self._first.detect(pixels), self._second.detect(pixels)
        return combine(found, more, scale=self._scale, second_scale=self._second_scale)

    def close(self) -> None:
        """Free what both hold. Safe to call twice."""
        self._first.close()
        self._second.close()
