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


class Likeness(Enum):
    """What a view is to its track so far."""

    SAME = "same"
    STRANGE = "strange"
    OTHER = "other"


@dataclass(slots=True)
class _Track:
    """What one track of the tracker has given since its last cut."""

    name: str
    total: npt.NDArray[np.float32] | None = None
    views: int = 0
    strange: list[tuple[npt.NDArray[np.float32], float]] = field(default_factory=list)
    cuts: int = 0


class Handovers:
    """Watches all tracks of all cameras; one thread calls it.

    Args:
        strange: cosine below which a view is nothing like its track, -1..1.
        views: how many of them in a row are somebody else.
        least: views that a track must have given before.
    """

    def __init__(self, *, strange: float = STRANGE, views: int = VIEWS, least: int = LEAST) -> None:
        self._strange, self._views, self._least = strange, views, least
        self._tracks: dict[tuple[str, str], _Track] = {}
        self._origin: dict[tuple[str, str], str] = {}

    def renamed(self, faces: FrameFaces) -> FrameFaces:
        """Return `faces` by the names that their tracks have now, and forget the tracks that ended."""
        camera = faces.frame.camera
        now = {name: track.name for (where, name), track in self._tracks.items() if where == camera}
        ended = tuple(self._end(camera, name) for name in faces.ended)
        if all(name == current for name, current in now.items()):
            return faces
        return replace(
            faces,
            faces=tuple(replace(one, track=now.get(one.track, one.track)) for one in faces.faces),
            ended=ended,
            crossed=tuple(now.get(name, name) for name in faces.crossed),
        )

    def doubts(self, camera: str, track: str) -> bool:
        """Return whether the last view of `track` was strange, so that the next one is wanted at once."""
        state = self._tracks.get((camera, self._origin.get((camera, track), track)))
        return state is not None and bool(state.strange)

    def view(self, camera: str, track: str, embedding: Embedding, weight: float) -> tuple[Likeness, str]:
        """Take in a view, and return what it is to its track and whose it is from now on.

        Args:
            camera: which camera.
            track: by the name that it has now.
            embedding: of the view.
            weight: its quality, 0..1.
        """
        key = (camera, self._origin.get((camera, track), track))
        state = self._tracks.setdefault(key, _Track(name=track))
        vector = embedding.vector
        if not self._is_strange(state, vector):
            state.strange.clear()
            _add(state, vector, weight)
            return Likeness.SAME, track
        state.strange.append((vector, weight))
        if len(state.strange) < self._views:
            return Likeness.STRANGE, track
        self._origin.pop((camera, state.name), None)
        state.cuts += 1
        state.name = f"{key[1]}.{state.cuts + 1}"
        self._origin[camera, state.name] = key[1]
        state.total, state.views = None, 0
        for seen, heavy in state.strange:
            _add(state, seen, heavy)
        state.strange.clear()
        return Likeness.OTHER, state.name

    def end_camera(self, camera: str) -> None:
        """Forget all tracks of a camera that was lost."""
        for where, name in list(self._tracks):
            if where == camera:
                self._end(camera, name)

    def _end(self, camera: str, name: str) -> str:
        """Forget a track of the tracker and return the name that it had last."""
        state = self._tracks.pop((camera, name), None)
        if state is None:
            return name
        self._origin.pop((camera, state.name), None)
        return state.name

    def _is_strange(self, state: _Track, vector: npt.NDArray[np.float32]) -> bool:
        if state.total is None or state.views < self._least:
            return False
        length = float(np.linalg.norm(state.total))
        return float(state.total @ vector) < self._strange * length


def _add(state: _Track, vector: npt.NDArray[np.float32], weight: float) -> None:
    heavy = np.asarray(vector * np.float32(max(weight, 1e-3)), np.float32)
    state.total = heavy if state.total is None else state.total + heavy
    state.views += 1
