"""A track that went over to somebody else is cut in two, so that no name walks on with another face.

A tracker goes by place and size. Where somebody passes close behind another, or leaves just where the next
one appears, it may give the second face to the first one's track, and the track's name would be the wrong
person's until its votes turn. So every new embedding is held against all that this track gave before: two
views in a row that are nothing like it are somebody else. The track ends there with its last word, and what
follows is a new track: ``t000012`` becomes ``t000012.2``.

The first of the two is kept out of the votes, whoever it is. The bar is a similarity far below what a name
needs: a face under ash is less like itself than a clean one, and a cut without need costs a few views.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_app.records import Embedding, FrameFaces

#: Below this cosine to all views before a view is strange. Chosen on development people (docs/field-test.md).
STRANGE: Final = 0.25
#: Strange views in a row that are somebody else.
VIEWS: Final = 2
#: Views that a track must have given before any can be strange to it.
LEAST: Final = 3
#: Between the tracker's name and the number of the piece.
_CUT: Final = "."
_LEAST_WEIGHT: Final = 1e-3


class Likeness(Enum):
    """What a view is to its track so far."""

    SAME = "same"
    STRANGE = "strange"
    OTHER = "other"


@dataclass(slots=True)
class Views:
    """The views of one person: the sum of their unit embeddings by quality, (D,), and how many there are."""

    total: npt.NDArray[np.float32] | None = None
    number: int = 0

    def add(self, vector: npt.NDArray[np.float32], weight: float) -> None:
        """Take in a view of quality `weight`, 0..1."""
        heavy = np.asarray(vector * np.float32(max(weight, _LEAST_WEIGHT)), np.float32)
        self.total = heavy if self.total is None else self.total + heavy
        self.number += 1

    def likeness(self, vector: npt.NDArray[np.float32]) -> float:
        """Return the cosine of a unit vector to the views so far, -1..1; 1 without any."""
        if self.total is None:
            return 1.0
        return float(self.total @ vector) / max(float(np.linalg.norm(self.total)), 1e-9)


@dataclass(slots=True)
class _Track:
    """What one track of the tracker has given since its last cut."""

    views: Views = field(default_factory=Views)
    strange: list[tuple[npt.NDArray[np.float32], float]] = field(default_factory=list)
    cuts: int = 0

    def name(self, tracker: str) -> str:
        """Return the present name of the track that the tracker calls `tracker`."""
        return f"{tracker}{_CUT}{self.cuts + 1}" if self.cuts else tracker


class Handovers:
    """Watches all tracks of all cameras; one thread calls it.

    Args:
        strange: cosine below which a view is nothing like its track, -1..1.
        views: how many of them in a row are somebody else.
        least: views that a track must have given before.
    """

    def __init__(self, *, strange: float = STRANGE, views: int = VIEWS, least: int = LEAST) -> None:
        self._strange, self._views, self._least = strange, views, least
        #: By camera and the tracker's name.
        self._tracks: dict[tuple[str, str], _Track] = {}

    def renamed(self, faces: FrameFaces) -> FrameFaces:
        """Return `faces` by the names that their tracks have now, and forget the tracks that ended."""
        camera = faces.frame.camera
        found = faces
        if any(track.cuts for (where, _), track in self._tracks.items() if where == camera):
            found = replace(
                faces,
                faces=tuple(replace(one, track=self._name(camera, one.track)) for one in faces.faces),
                ended=tuple(self._name(camera, name) for name in faces.ended),
                crossed=tuple(self._name(camera, name) for name in faces.crossed),
            )
        for name in faces.ended:
            self._tracks.pop((camera, name), None)
        return found

    def doubts(self, camera: str, track: str) -> bool:
        """Return whether the last view of `track` was strange, so that the next one is wanted at once."""
        state = self._tracks.get((camera, _by_tracker(track)))
        return state is not None and bool(state.strange)

    def view(self, camera: str, track: str, embedding: Embedding, weight: float) -> tuple[Likeness, str]:
        """Take in a view, and return what it is to its track and whose it is from now on.

        Args:
            camera: which camera.
            track: by the name that it has now.
            embedding: of the view.
            weight: its quality, 0..1.
        """
        tracker, vector = _by_tracker(track), embedding.vector
        state = self._tracks.setdefault((camera, tracker), _Track())
        known = state.views.number >= self._least
        if not known or state.views.likeness(vector) >= self._strange:
            state.strange.clear()
            state.views.add(vector, weight)
            return Likeness.SAME, track
        state.strange.append((vector, weight))
        if len(state.strange) < self._views:
            return Likeness.STRANGE, track
        state.cuts += 1
        state.views = Views()
        for view in state.strange:
            state.views.add(*view)
        state.strange.clear()
        return Likeness.OTHER, state.name(tracker)

    def end_camera(self, camera: str) -> None:
        """Forget all tracks of a camera that was lost."""
        self._tracks = {key: track for key, track in self._tracks.items() if key[0] != camera}

    def _name(self, camera: str, tracker: str) -> str:
        state = self._tracks.get((camera, tracker))
        return tracker if state is None else state.name(tracker)


def _by_tracker(track: str) -> str:
    """Return what the tracker calls a track, whose names have no `_CUT`."""
    return track.partition(_CUT)[0]
