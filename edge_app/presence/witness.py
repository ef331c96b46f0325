"""What the cameras saw of people, zone by zone, as far as cards are compared with it.

Three things are noted: since when a named person is in a zone (by face, not by hand), which tracks stayed
without a name and why, and how many faces were in one picture at once. A track that is named later was never
unnamed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_app.presence.count import at_once
from edge_app.records import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_app.presence.count import Visible
    from edge_app.presence.ledger import Ledger
    from edge_app.presence.place import Place, TrackKey
    from edge_app.records import Identity


@dataclass(slots=True)
class FaceVisit:
    """A named person in a zone, by face; `met` notes that their card was read there."""

    person_ref: str
    zone: str
    since_ns: int
    last_ns: int
    met: bool = False


@dataclass(slots=True)
class Group:
    """Faces that were in one picture at once: how many at most, who was named, which cards were read."""

    zone: str
    since_ns: int
    last_ns: int
    faces: int
    named: set[str] = field(default_factory=set)
    cards: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Unnamed:
    zone: str
    last_ns: int
    reason: str


class Witness:
    """Notes what cameras see.

    Args:
        ledger: who is where.
        apart_ns: sights this far apart belong together.
        keep_ns: how long what was seen is remembered.
    """

    def __init__(self, *, ledger: Ledger, apart_ns: int, keep_ns: int) -> None:
        self._ledger = ledger
        self._apart_ns, self._keep_ns = apart_ns, keep_ns
        self._faces: dict[str, FaceVisit] = {}
        self._unnamed: dict[TrackKey, _Unnamed] = {}
        self._groups: dict[str, Group] = {}

    def said(self, identity: Identity, zone: str | None) -> None:
        """Note what is said about a track in `zone`."""
        key = (identity.camera, identity.track)
        if identity.decision is Decision.NAMED or zone is None:
            self._unnamed.pop(key, None)
            return
        reason = "unknown" if identity.reason is None else identity.reason.value
        self._unnamed[key] = _Unnamed(zone, identity.mono_ns, reason)

    def look(self, now_ns: int, visible: Iterable[Visible]) -> None:
        """Note who is where now; about once a second."""
        places = {ref: place for ref, place in self._ledger.whereabouts() if not place.by_hand}
        self._follow_faces(places)
        self._count_faces(now_ns, list(visible), places)
        old = now_ns - self._keep_ns
        self._unnamed = {key: one for key, one in self._unnamed.items() if one.last_ns >= old}
        self._groups = {zone: group for zone, group in self._groups.items() if group.last_ns >= old}

    def faces(self) -> Iterator[FaceVisit]:
        """Yield the named people who are in a zone, by reference."""
        return iter(self._faces.values())

    def face_of(self, person_ref: str) -> FaceVisit | None:
        """Return where this person is by face."""
        return self._faces.get(person_ref)

    def groups(self) -> Iterator[Group]:
        """Yield the groups that are remembered, one a zone."""
        return iter(self._groups.values())

    def unnamed(self, zone: str, since_ns: int) -> str | None:
        """Return why a face in `zone` got no name at or after `since_ns`; None if none was there."""
        reasons = Counter(
            one.reason for one in self._unnamed.values() if one.zone == zone and one.last_ns >= since_ns
        )
        return reasons.most_common(1)[0][0] if reasons else None

    def _follow_faces(self, places: dict[str, Place]) -> None:
        for ref in set(self._faces) - {ref for ref, place in places.items() if place.zone is not None}:
            del self._faces[ref]
        for ref, place in places.items():
            if place.zone is None:
                continue
            known = self._faces.get(ref)
            again = known is None or known.zone != place.zone
            if known is None or again or place.first_seen_ns - known.last_ns > self._keep_ns:
                self._faces[ref] = FaceVisit(ref, place.zone, place.first_seen_ns, place.last_seen_ns)
            else:
                known.last_ns = place.last_seen_ns

    def _count_faces(self, now_ns: int, visible: list[Visible], places: dict[str, Place]) -> None:
        for (zone, _), faces in at_once(visible).items():
            group = self._groups.get(zone)
            if group is None or now_ns - group.last_ns > self._apart_ns:
                group = self._groups[zone] = Group(zone, now_ns, now_ns, 0)
            group.last_ns, group.faces = now_ns, max(group.faces, faces)
            group.named |= {
                ref
                for ref, place in places.items()
                if place.zone == zone and place.last_seen_ns >= group.since_ns - self._apart_ns
            }
