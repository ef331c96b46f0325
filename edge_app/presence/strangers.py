"""People whom nobody knows, told from each other: one stranger is one, however often the track breaks.

A new track of a stranger is compared with the strangers seen in the last minutes, by the mean of its
embeddings. It is the same person if they are as alike as the box needs to name somebody, unless both
tracks are in one camera's picture at the same time. Near that bar nobody can be sure; then the count
says so: `doubtful` strangers may be another one again, `doubtful_joins` may be two people.

The embeddings stay in memory, only as long as a stranger is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.presence.place import latest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from edge_app.presence.place import Place, TrackKey

    #: What somebody looks like: the mean embedding of a track, (D,) float32 of unit length.
    Look = npt.NDArray[np.float32]

#: Around the bar, this share of what lies between it and 1 is doubtful.
DOUBT_SHARE: Final = 0.15


@dataclass(slots=True)
class Stranger:
    """Somebody unknown: the tracks that are them, the sum of their embeddings, and how sure that is."""

    name: str
    places: dict[TrackKey, Place] = field(default_factory=dict)
    templates: dict[TrackKey, Look] = field(default_factory=dict)
    doubtful: bool = False
    doubtful_joins: int = 0

    @property
    def place(self) -> Place:
        """Where they were seen last."""
        found = latest(self.places.values())
        if found is None:  # kept out by `Strangers`
            msg = f"stranger {self.name} was never anywhere"
            raise LookupError(msg)
        return found

    @property
    def first_seen_ns(self) -> int:
        """When they were seen first."""
        return min(place.first_seen_ns for place in self.places.values())

    def place_before(self, key: TrackKey) -> Place | None:
        """Return where they were seen last but as the track `key`; None if they were never anything else."""
        return latest(place for track, place in self.places.items() if track != key)

    def is_gone(self) -> None:
        """Be nowhere: not counted any more."""
        self.places = {key: replace(place, zone=None) for key, place in self.places.items()}

    @property
    def look(self) -> Look | None:
        """What they look like: the mean of their tracks, (D,) of unit length; None without any view."""
        mean = np.sum(list(self.templates.values()), axis=0)
        norm = float(np.linalg.norm(mean))
        return np.asarray(mean / norm, np.float32) if norm > 0 else None


class Strangers:
    """All strangers who are remembered."""

    def __init__(self) -> None:
        self._all: dict[str, Stranger] = {}
        self._made = 0

    def __iter__(self) -> Iterator[Stranger]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def take(
        self,
        key: TrackKey,
        place: Place,
        *,
        template: Look | None,
        same_from: float,
        visible: Callable[[TrackKey], bool],
        maybe_registered: bool = False,
    ) -> tuple[Stranger, Place | None]:
        """Note that the track `key` is a stranger; return who, and where they were before (None: new).

        Args:
            key: camera and track.
            place: where the track is.
            template: mean embedding of the track, of unit length; None without a usable view.
            same_from: similarity from which two faces are one person.
            visible: whether a track is in the picture now.
            maybe_registered: nearly as similar to somebody registered as a name needs.
        """
        doubt = DOUBT_SHARE * (1.0 - same_from)
        score, nearest = self._nearest(key, template, visible)
        if nearest is not None and score >= same_from:
            before = nearest.place
            nearest.places[key] = place.after(before)
            nearest.doubtful_joins += score < same_from + doubt
            if template is not None:
                nearest.templates[key] = template
            return nearest, before
        self._made += 1
        unsure = template is None or maybe_registered
        unsure = unsure or any(not other.templates for other in self._all.values())
        new = Stranger(name=f"s{self._made:06d}", doubtful=unsure or score >= same_from - doubt)
        new.places[key] = place
        if template is not None:
            new.templates[key] = template
        self._all[new.name] = new
        return new, None

    def restore(self, place: Place) -> None:
        """Take over a stranger from an earlier run: where they were; what they look like is not kept."""
        self._made += 1
        name = f"s{self._made:06d}"
        self._all[name] = Stranger(name=name, places={("", name): place}, doubtful=True)

    def withdraw(self, key: TrackKey) -> None:
        """Take back that the track is a stranger; who was only this track has never been."""
        for name, stranger in list(self._all.items()):
            stranger.places.pop(key, None)
            stranger.templates.pop(key, None)
            if not stranger.places:
                del self._all[name]

    def of(self, key: TrackKey) -> Stranger | None:
        """Return whose track it is."""
        return next((stranger for stranger in self._all.values() if key in stranger.places), None)

    def look_of(self, key: TrackKey) -> Look | None:
        """Return the mean embedding of a stranger's track; None without a usable view."""
        stranger = self.of(key)
        return None if stranger is None else stranger.templates.get(key)

    def gone(self, before_ns: int) -> None:
        """Count nobody any more whom no camera has seen since `before_ns`, but remember them.

        Who came into their zone through a portal is in it until they go out, or are forgotten (`rounds`).
        """
        for stranger in self._all.values():
            if stranger.place.last_seen_ns < before_ns and not stranger.place.through:
                stranger.is_gone()

    def drop(self, stranger: Stranger) -> None:
        """Forget one."""
        self._all.pop(stranger.name, None)

    def put_back(self, stranger: Stranger) -> None:
        """Count one again who was dropped."""
        self._all[stranger.name] = stranger

    def forget(self, before_ns: int) -> None:
        """Forget whom nobody has seen since `before_ns`, but for who came in through a portal and counts."""
        for name, stranger in list(self._all.items()):
            place = stranger.place
            if place.last_seen_ns < before_ns and not (place.through and place.zone is not None):
                del self._all[name]

    def _nearest(
        self, key: TrackKey, template: Look | None, visible: Callable[[TrackKey], bool]
    ) -> tuple[float, Stranger | None]:
        """Return the most similar stranger who can be this track at all."""
        best: tuple[float, Stranger | None] = (-1.0, None)
        for stranger in self._all.values():
            beside = any(other[0] == key[0] and other != key and visible(other) for other in stranger.places)
            look = stranger.look
            if template is None or beside or look is None:
                continue
            score = float(look @ template)
            if score > best[0]:
                best = (score, stranger)
        return best
