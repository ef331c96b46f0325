"""Points, lines and areas in a camera's picture, in shares of its width and height (0..1, y down).

Shares and not pixels, so that a portal stays where it is when the camera's resolution changes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

Point = tuple[float, float]

#: Smaller than this share of the picture is no area, and shorter no line: a slip of the hand.
TINY: Final = 1e-3


def cross(a: Point, b: Point, p: Point) -> float:
    """Return twice the signed area of the triangle a, b, p: its sign says on which side of a-b `p` lies."""
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def length(a: Point, b: Point) -> float:
    """Return the distance from `a` to `b`."""
    return float(((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2) ** 0.5)


def distance_to_line(a: Point, b: Point, p: Point) -> float:
    """Return how far `p` is from the endless line through `a` and `b`, signed as `cross`."""
    return cross(a, b, p) / length(a, b)


def segments_cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Return whether a-b and c-d have a point in common; touching counts."""
    d1, d2 = cross(c, d, a), cross(c, d, b)
    d3, d4 = cross(a, b, c), cross(a, b, d)
    if d1 * d2 < 0 and d3 * d4 < 0:
        return True
    touching = ((d1, c, d, a), (d2, c, d, b), (d3, a, b, c), (d4, a, b, d))
    return any(side == 0 and _between(start, end, point) for side, start, end, point in touching)


def properly_cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Return whether a-b and c-d cross; touching does not count."""
    return cross(c, d, a) * cross(c, d, b) < 0 and cross(a, b, c) * cross(a, b, d) < 0


def meeting(a: Point, b: Point, c: Point, d: Point) -> Point | None:
    """Return the point in which a-b goes through c-d; None if it does not, or along it."""
    before, after = cross(c, d, a), cross(c, d, b)
    if before == after or not segments_cross(a, b, c, d):
        return None
    share = before / (before - after)
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])


def run_along(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Return whether a-b and c-d are the same line for a part of their length."""
    if max(abs(distance_to_line(a, b, p)) for p in (c, d)) > TINY:
        return False
    far = length(a, b)
    start, end = sorted(((p[0] - a[0]) * (b[0] - a[0]) + (p[1] - a[1]) * (b[1] - a[1])) / far for p in (c, d))
    return min(far, end) - max(0.0, start) > TINY


def line_enters(a: Point, b: Point, corners: Sequence[Point]) -> bool:
    """Return whether a part of the line a-b lies within the polygon; along its edge is not within."""
    cuts = [at for c, d in _sides(corners) if (at := meeting(a, b, c, d)) is not None]
    points = sorted((a, *cuts, b), key=lambda p: length(a, p))
    middles = [((p[0] + q[0]) / 2, (p[1] + q[1]) / 2) for p, q in pairwise(points) if length(p, q) > TINY]
    return any(contains(corners, p) and distance_to_edge(corners, p) > TINY / 10 for p in middles)


def area_of(corners: Sequence[Point]) -> float:
    """Return the area of a polygon, a share of the picture; wrong if its sides cross."""
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in _sides(corners))) / 2


def sides_cross(corners: Sequence[Point]) -> bool:
    """Return whether two sides of the polygon that are not neighbours have a point in common."""
    sides = _sides(corners)
    return any(
        segments_cross(*sides[i], *sides[j])
        for i in range(len(sides))
        for j in range(i + 2, len(sides))
        if (i, j) != (0, len(sides) - 1)
    )


def contains(corners: Sequence[Point], p: Point) -> bool:
    """Return whether `p` lies in the polygon (even-odd rule)."""
    inside = False
    for a, b in _sides(corners):
        if (a[1] > p[1]) != (b[1] > p[1]) and p[0] < (b[0] - a[0]) * (p[1] - a[1]) / (b[1] - a[1]) + a[0]:
            inside = not inside
    return inside


def distance_to_edge(corners: Sequence[Point], p: Point) -> float:
    """Return how far `p` is from the nearest side of the polygon."""
    return min(_distance_to_segment(a, b, p) for a, b in _sides(corners))


def areas_overlap(one: Sequence[Point], other: Sequence[Point]) -> bool:
    """Return whether two polygons share more than sides and corners."""
    eps = TINY / 10
    if any(contains(other, p) and distance_to_edge(other, p) > eps for p in one):
        return True
    if any(contains(one, p) and distance_to_edge(one, p) > eps for p in other):
        return True
    if any(properly_cross(*s, *t) for s in _sides(one) for t in _sides(other)):
        return True
    middle = _inner_point(one)  # the same area twice: no corner is inside, no side crosses properly
    return contains(other, middle) and distance_to_edge(other, middle) > eps


def _inner_point(corners: Sequence[Point]) -> Point:
    """Return a point inside: between two neighbouring crossings of a level that goes through no corner."""
    ys = sorted({y for _, y in corners})
    low, high = max(pairwise(ys), key=lambda pair: pair[1] - pair[0])
    y = (low + high) / 2
    xs = sorted(
        (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0]
        for a, b in _sides(corners)
        if (a[1] > y) != (b[1] > y)
    )
    return (xs[0] + xs[1]) / 2, y


def _sides(corners: Sequence[Point]) -> list[tuple[Point, Point]]:
    return list(pairwise((*corners, corners[0])))


def _between(a: Point, b: Point, p: Point) -> bool:
    return min(a[0], b[0]) <= p[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= p[1] <= max(a[1], b[1])


def _distance_to_segment(a: Point, b: Point, p: Point) -> float:
    along = length(a, b) ** 2
    share = 0.0 if along == 0 else ((p[0] - a[0]) * (b[0] - a[0]) + (p[1] - a[1]) * (b[1] - a[1])) / along
    share = min(max(share, 0.0), 1.0)
    return length((a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])), p)
