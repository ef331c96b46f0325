"""How many people are in each zone, and how sure that is.

The best count is the named people and the strangers; a face that could not be decided (dust, turned
away) is somebody of these as long as no more faces are in one picture than people are counted, and
one more person beyond that. The lower bound leaves out strangers who may be another one again, or
somebody who came in through a portal, but never goes below the faces that are seen at once. The upper
bound adds every undecided face, and two for one wherever two tracks were taken for one stranger on
doubtful likeness. Somebody who has perhaps left (`departures`), and the second of two who bear one name
at once (`twice`), are in the upper bound alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_app.records import HeadCount

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from edge_app.presence.ledger import Ledger
    from edge_app.presence.place import Place, TrackKey


@dataclass(frozen=True, slots=True)
class Visible:
    """A track whose face is in the picture now: where, whether it is nobody's yet, and whose it is.

    `pictures` are the times (monotonic ns) of its camera's last pictures that it is in.
    """

    key: TrackKey
    place: Place
    undecided: bool
    person_ref: str | None = None
    pictures: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True)
class Counted:
    """The counts by zone, and the undecided tracks that count as one more person each."""

    zones: dict[str, HeadCount]
    surplus: tuple[Visible, ...]

    @property
    def total(self) -> HeadCount:
        """The sum over all zones."""
        counts = self.zones.values()
        return HeadCount(
            best=sum(count.best for count in counts),
            low=sum(count.low for count in counts),
            high=sum(count.high for count in counts),
        )


def count(
    ledger: Ledger,
    visible: Iterable[Visible],
    *,
    zones: Iterable[str] = (),
    gated: Collection[str] = (),
    others: Iterable[Visible] = (),
) -> Counted:
    """Return the counts of every zone in which somebody is, and of `zones`.

    In zones that are `gated` by portals a stranger who came through none may be somebody counted there.
    Of the faces `others` bear the name of somebody who is seen elsewhere meanwhile.
    """
    sure, doubtful, joins, perhaps = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for _, place in ledger.whereabouts():
        if place.zone is not None:
            (sure if place.perhaps_left_ns is None else perhaps)[place.zone] += 1
    for stranger in ledger.strangers:
        zone = stranger.place.zone
        if zone is not None:
            may_be_another = stranger.doubtful or (zone in gated and not stranger.place.through)
            (doubtful if may_be_another else sure)[zone] += 1
            joins[zone] += stranger.doubtful_joins
    for one in others:
        if one.place.zone is not None:
            perhaps[one.place.zone] += 1
    faces, undecided = _faces(tuple(visible))
    counts: dict[str, HeadCount] = {}
    surplus: list[Visible] = []
    for zone in {*zones, *sure, *doubtful, *perhaps, *faces}:
        known = sure[zone] + doubtful[zone]
        more = undecided[zone][: max(0, faces[zone] - known)]
        surplus += more
        best = known + len(more)
        counts[zone] = HeadCount(
            best=best,
            low=min(best, max(sure[zone], faces[zone])),
            high=max(best, known + len(undecided[zone])) + joins[zone] + perhaps[zone],
        )
    return Counted(zones=dict(sorted(counts.items())), surplus=tuple(surplus))


def at_once(visible: Iterable[Visible]) -> dict[tuple[str, str], int]:
    """Return, by zone and camera, how many people were in one picture at once.

    Two tracks that follow each other are one face whose track broke, and two of one name are one person.
    """
    pictures: defaultdict[tuple[str, str], defaultdict[int, set[object]]]
    pictures = defaultdict(lambda: defaultdict(set))
    for one in visible:
        if one.place.zone is not None:
            for picture in one.pictures:
                pictures[one.place.zone, one.key[0]][picture].add(one.person_ref or one.key)
    return {where: max(map(len, seen.values())) for where, seen in pictures.items()}


def _faces(visible: Collection[Visible]) -> tuple[Counter[str], defaultdict[str, list[Visible]]]:
    """Return by zone how many faces were in one picture, and the undecided ones, oldest first."""
    faces, undecided = Counter[str](), defaultdict[str, list[Visible]](list)
    for (zone, _), number in at_once(visible).items():
        faces[zone] = max(faces[zone], number)
    for one in sorted(visible, key=lambda seen: (seen.place.first_seen_ns, seen.key)):
        if one.undecided and one.place.zone is not None:
            undecided[one.place.zone].append(one)
    return faces, undecided
