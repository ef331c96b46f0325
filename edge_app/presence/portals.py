"""Where in a camera's picture one goes in and out, and who has just done so.

A **line** divides the picture: on the side of the point `inside` lies `zone`, on the other `beyond`.
An **area** is a zone of its own within the picture. A track's zone is found once, where it begins: in an
area, beyond the nearest of the lines that it is beyond of, or else on this side of the nearest portal.
After that only crossings change it, in the order in which the way leads through them, so that a face that
is lost behind a pillar does not walk through a gate. A crossing counts when the face is surely on the other
side, by a share of its own size: who stands on the line and sways has not crossed it. What went around the
end of a line has not, either. Nor has what the detector was never sure of on one of the sides: a weak
detection keeps a track going (`faces.track`), and some patch of light that was once taken for a face takes
nobody through a gate.

Only faces are seen: who walks away from the camera shows none. A portal needs a camera that faces
those who come in and one that faces those who leave; whoever is seen outside again has left, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from edge_app.config import plane

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_app.config.plane import Point

#: How far beyond a line a face must be to have crossed it: this share of its size, at least and at most.
_SURE_FACES: Final = 0.25
_SURE_LEAST: Final = 0.01
_SURE_MOST: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Portal:
    """A way between `zone` and `beyond` (None: out of all zones); either `line` and `inside`, or `area`."""

    name: str
    zone: str
    beyond: str | None
    line: tuple[Point, Point] | None = None
    inside: Point | None = None
    area: tuple[Point, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse a portal that is neither or both."""
        if (self.line is None) == (self.area is None) or (self.line is None) != (self.inside is None):
            msg = f"portal {self.name}: give a line with a point inside, or an area"
            raise ValueError(msg)

    @property
    def sides(self) -> tuple[str, str | None]:
        """The zones on either side; None is outside."""
        return self.zone, self.beyond

    def zone_at(self, point: Point) -> str | None:
        """Return in which of the two zones `point` lies."""
        return self.zone if self.is_inside(point) else self.beyond

    def is_inside(self, point: Point) -> bool:
        """Return whether `point` lies in the area, or on the inner side of the line."""
        return self._depth(point) >= 0

    def sure_side(self, point: Point, sure: float) -> bool | None:
        """Return True surely inside, False surely not, None when `point` is nearer than `sure`."""
        depth = self._depth(point)
        return None if abs(depth) < sure else depth > 0

    def way_crosses(self, before: Point, now: Point) -> bool:
        """Return whether the way from `before` to `now` leads through the portal, and not around its end."""
        return self.line is None or plane.segments_cross(before, now, *self.line)

    def distance(self, point: Point) -> float:
        """Return how far `point` is from the line, or from the area's edge, as a share of the picture."""
        return plane.distance_to_edge(self.line or self.area or (), point)

    def left_over(self, before: Point, now: Point) -> float:
        """Return how far the way from `before` to `now` still leads after it went through the portal."""
        edge = self.line or self.area or ()
        sides = pairwise(edge if self.line is not None else (*edge, edge[0]))
        return max(
            (plane.length(at, now) for a, b in sides if (at := plane.meeting(before, now, a, b))), default=0.0
        )

    def _depth(self, point: Point) -> float:
        """Return how far inside `point` lies; negative is outside."""
        if self.area is not None:
            distance = plane.distance_to_edge(self.area, point)
            return distance if plane.contains(self.area, point) else -distance
        if self.line is None or self.inside is None:  # not so: see __post_init__
            return 0.0
        depth = plane.distance_to_line(*self.line, point)
        return depth if plane.cross(*self.line, self.inside) > 0 else -depth


@dataclass(frozen=True, slots=True)
class Crossing:
    """A track went through `portal` from zone `before` to zone `after` at `mono_ns`; None is outside."""

    portal: str
    before: str | None
    after: str | None
    mono_ns: int


@dataclass(slots=True)
class _Walk:
    """Where a track is, and by portal where it surely was last: side and point."""

    zone: str | None
    sure: dict[str, tuple[bool, Point]]


class Doorkeeper:
    """Follows the tracks of one camera through its portals.

    Args:
        zone: the camera's zone: where everybody is who is on no portal's other side.
        portals: the camera's portals.
    """

    def __init__(self, *, zone: str, portals: Sequence[Portal] = ()) -> None:
        self._zone = zone
        self._portals = tuple(portals)
        self._walks: dict[str, _Walk] = {}

    def zone_of(self, track: str) -> str | None:
        """Return the zone in which `track` is; the camera's for a track that was never seen."""
        walk = self._walks.get(track)
        return self._zone if walk is None else walk.zone

    def see(
        self, track: str, point: Point, *, size: float, mono_ns: int, sure: bool = True
    ) -> list[Crossing]:
        """Take in where the face of `track` is; return its crossings.

        Args:
            track: its name.
            point: the middle of the face, as shares of the picture.
            size: its width as a share of the picture's.
            mono_ns: when.
            sure: the detector is sure that it is a face.
        """
        walk = self._walks.get(track)
        if walk is None:
            walk = self._walks[track] = _Walk(zone=self._zone_at(point), sure={})
        if not sure:
            return []
        margin = min(max(_SURE_FACES * size, _SURE_LEAST), _SURE_MOST)
        through: list[tuple[float, Portal, bool]] = []
        for portal in self._portals:
            inside = portal.sure_side(point, margin)
            if inside is None:
                continue
            before = walk.sure.get(portal.name)
            walk.sure[portal.name] = (inside, point)
            if before is None or before[0] == inside or not portal.way_crosses(before[1], point):
                continue
            through.append((portal.left_over(before[1], point), portal, inside))
        crossings = []
        for _, portal, inside in sorted(through, key=lambda one: one[0], reverse=True):
            after = portal.zone if inside else portal.beyond
            if after != walk.zone:
                crossings.append(Crossing(portal.name, walk.zone, after, mono_ns))
                walk.zone = after
        return crossings

    def end(self, track: str) -> None:
        """Forget a track."""
        self._walks.pop(track, None)

    def picture_changed(self) -> None:
        """Forget where tracks surely were: the picture has another shape, and points do not compare."""
        for walk in self._walks.values():
            walk.sure.clear()

    def _zone_at(self, point: Point) -> str | None:
        near = sorted(self._portals, key=lambda portal: portal.distance(point))
        for portal in near:
            if portal.area is not None and plane.contains(portal.area, point):
                return portal.zone
        for portal in near:
            if portal.line is not None and not portal.is_inside(point):
                return portal.beyond
        return near[0].zone_at(point) if near else self._zone


def doorkeepers(
    zones: Mapping[str, str], portals: Mapping[str, Sequence[Portal]] | None = None
) -> dict[str, Doorkeeper]:
    """Return one doorkeeper a camera, from the cameras' zones and portals."""
    by_camera = portals or {}
    if strange := set(by_camera) - set(zones):
        msg = f"portals of cameras that have no zone: {sorted(strange)}"
        raise ValueError(msg)
    return {
        camera: Doorkeeper(zone=zone, portals=by_camera.get(camera, ())) for camera, zone in zones.items()
    }


def watched_zones(
    zones: Mapping[str, str], portals: Mapping[str, Sequence[Portal]] | None = None
) -> dict[str, frozenset[str]]:
    """Return the zones that each camera sees: its own, and those on either side of its portals."""
    ways = portals or {}
    return {
        camera: frozenset({zone, *(z for p in ways.get(camera, ()) for z in (p.zone, p.beyond) if z)})
        for camera, zone in zones.items()
    }
