"""The tracks that are in the cameras' pictures now: what was last said about each, and who is visible."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from edge_app.presence.count import Visible
from edge_app.presence.place import Place
from edge_app.records import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_app.presence.place import TrackKey
    from edge_app.presence.portals import Crossing
    from edge_app.records import Identity, Rejection

#: A face that was in the picture so lately still is, from this many views on: a flicker is nobody.
VISIBLE_NS: Final = 1_500_000_000
_VISIBLE_VIEWS: Final = 5
#: Of somebody unknown who came through no portal the detector was sure so often, or always.
_SURE_VIEWS: Final = 3


@dataclass(frozen=True, slots=True)
class Said:
    """What was last said about a track, and what was `told` to the mine.

    They differ for a patch of light, and for somebody of whom an operator says that they are elsewhere:
    there `decision` and `person_ref` count.
    """

    decision: Decision
    person_ref: str | None
    told: tuple[Decision, str | None] = field(default=(Decision.UNDECIDED, None), compare=False)

    @property
    def decided(self) -> bool:
        """Whether somebody is named, or known to be unknown."""
        return self.decision is not Decision.UNDECIDED


@dataclass(slots=True)
class Sight:
    """A track in the picture: when, how often; the portal it last went through, and where it was before any.

    `pictures` are those of the last moments that it is in. `sure` is in how many views the detector was sure
    of a face; `held` says "unknown" of a patch of light. `began` (None: outside) says nothing without a
    `portal`.
    """

    first_ns: int
    last_ns: int
    pictures: deque[int] = field(default_factory=deque)
    views: int = 0
    sure: int = 0
    held: Identity | None = None
    portal: str | None = None
    began: str | None = None

    def went_through(self, crossings: Sequence[Crossing]) -> None:
        """Note where the track has gone."""
        if crossings and self.portal is None:
            self.began = crossings[0].before
        if crossings:
            self.portal = crossings[-1].portal


class Sights:
    """All tracks that have not ended, by camera and name.

    Args:
        zone_of: where a track is.
    """

    def __init__(self, *, zone_of: Callable[[TrackKey], str | None]) -> None:
        self._zone_of = zone_of
        self._said: dict[TrackKey, Said] = {}
        self._reasons: dict[TrackKey, Rejection | None] = {}
        self._sights: dict[TrackKey, Sight] = {}
        self.now_ns = 0

    def see(self, key: TrackKey, mono_ns: int, *, sure: bool) -> Sight:
        """Note that `key` is in a picture taken at `mono_ns`; `sure`: the detector is sure of its face."""
        sight = self._sights.setdefault(key, Sight(mono_ns, mono_ns))
        sight.last_ns = max(sight.last_ns, mono_ns)
        sight.pictures.append(mono_ns)
        while sight.last_ns - sight.pictures[0] > VISIBLE_NS:
            sight.pictures.popleft()
        sight.views, sight.sure = sight.views + 1, sight.sure + sure
        return sight

    def say(self, identity: Identity) -> tuple[Said | None, Said]:
        """Note what is said about a track; return what was said before, and what is now.

        That a patch of light is nobody who is known says nothing: it is undecided, until it is more
        (`released`).
        """
        key, decision = (identity.camera, identity.track), identity.decision
        held = decision is Decision.UNKNOWN and not self.is_somebody(key)
        if held:
            decision = Decision.UNDECIDED
        if key in self._sights:
            self._sights[key].held = identity if held else None
        before, now = (
            self._said.get(key),
            Said(decision, identity.person_ref, (identity.decision, identity.person_ref)),
        )
        self._said[key] = now
        self._reasons[key] = identity.reason
        return before, now

    def said(self, key: TrackKey) -> Said | None:
        """Return what was last said about a track."""
        return self._said.get(key)

    def bears(self, key: TrackKey, person_ref: str) -> bool:
        """Return whether a track that has not ended is this person."""
        said = self._said.get(key)
        return said is not None and said.decided and said.person_ref == person_ref

    def bearers(self, person_ref: str) -> list[TrackKey]:
        """Return the tracks that have not ended and are this person."""
        return [key for key in self._said if self.bears(key, person_ref)]

    def disown(self, key: TrackKey) -> None:
        """Hold a track for somebody unknown, until something else is said about it."""
        self._said[key] = replace(self._said[key], decision=Decision.UNKNOWN, person_ref=None)

    def portal_of(self, key: TrackKey) -> str | None:
        """Return the portal that the track went through, None for who is where they were before."""
        sight = self._sights.get(key)
        return None if sight is None or sight.began == self._zone_of(key) else sight.portal

    def began_in(self, key: TrackKey) -> str | None:
        """Return the zone in which the track was first, None for outside."""
        sight = self._sights.get(key)
        return self._zone_of(key) if sight is None or sight.portal is None else sight.began

    def is_somebody(self, key: TrackKey) -> bool:
        """Return whether the track is more than a patch of light that was once or twice taken for a face."""
        return self.portal_of(key) is not None or self.is_surely_somebody(key)

    def is_surely_somebody(self, key: TrackKey) -> bool:
        """Return whether the detector was sure of the track's face in several views, or in all."""
        sight = self._sights.get(key)
        return sight is None or sight.sure >= min(_SURE_VIEWS, sight.views)

    def released(self, key: TrackKey) -> Identity | None:
        """Return, once, what was said of a track while it was a patch of light, when it is more."""
        sight = self._sights.get(key)
        if sight is None or sight.held is None or not self.is_somebody(key):
            return None
        held, sight.held = sight.held, None
        return held

    def end(self, key: TrackKey) -> None:
        """Forget a track."""
        for known in (self._said, self._reasons, self._sights):
            known.pop(key, None)

    def of_camera(self, camera: str) -> list[TrackKey]:
        """Return the tracks of one camera."""
        return [key for key in {*self._said, *self._sights} if key[0] == camera]

    def is_visible(self, key: TrackKey) -> bool:
        """Return whether the track is in the picture now."""
        sight = self._sights.get(key)
        return sight is not None and self.now_ns - sight.last_ns <= VISIBLE_NS

    def visible(self) -> Iterator[Visible]:
        """Yield the tracks that are in the picture now, without those that only flickered."""
        for key, sight in self._sights.items():
            said = self._said.get(key)
            undecided = said is None or not said.decided
            if self.is_visible(key) and not (undecided and sight.views < _VISIBLE_VIEWS):
                place = Place(self._zone_of(key), *key, sight.first_ns, sight.last_ns, None)
                pictures = frozenset(at for at in sight.pictures if self.now_ns - at <= VISIBLE_NS)
                yield Visible(key, place, undecided, None if said is None else said.person_ref, pictures)
