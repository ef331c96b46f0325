"""Lines and areas, and who goes through them."""

from __future__ import annotations

import pytest

from edge_app.presence.portals import Crossing, Doorkeeper, Portal, doorkeepers

#: A gate in the middle of the picture, from .2 to .8 of its height; the right side is the zone.
GATE = Portal(name="gate", zone="drift", beyond=None, line=((0.5, 0.2), (0.5, 0.8)), inside=(0.9, 0.5))
ROOM = Portal(name="room", zone="room", beyond="drift", area=((0.6, 0.6), (0.9, 0.6), (0.9, 0.9), (0.6, 0.9)))


def walk(
    keeper: Doorkeeper, *points: tuple[float, float], track: str = "t1", size: float = 0.05
) -> list[Crossing]:
    """Let a face go from point to point, a nanosecond each; return what was crossed."""
    return [
        crossing
        for at, point in enumerate(points)
        for crossing in keeper.see(track, point, size=size, mono_ns=at)
    ]


def test_crossing_to_the_inside_enters_and_back_leaves() -> None:
    """With the portal, both zones and the moment."""
    keeper = Doorkeeper(zone="drift", portals=[GATE])
    crossings = walk(keeper, (0.3, 0.5), (0.45, 0.5), (0.55, 0.5), (0.7, 0.5), (0.4, 0.5))
    assert [Crossing("gate", None, "drift", 2), Crossing("gate", "drift", None, 4)] == crossings
    assert keeper.zone_of("t1") is None


def test_where_a_track_begins_is_where_it_is() -> None:
    """Beyond the line: outside; behind it: in the zone; a track never seen: in the camera's."""
    keeper = Doorkeeper(zone="drift", portals=[GATE])
    walk(keeper, (0.1, 0.5), track="out")
    walk(keeper, (0.9, 0.5), track="in")
    assert (None, "drift", "drift") == (keeper.zone_of("out"), keeper.zone_of("in"), keeper.zone_of("?"))


def test_who_sways_on_the_line_has_not_crossed_it() -> None:
    """A quarter of a face to either side is not surely there."""
    keeper = Doorkeeper(zone="drift", portals=[GATE])
    assert [] == walk(keeper, (0.3, 0.5), *[(0.49, 0.5), (0.51, 0.5)] * 50, size=0.08)
    assert keeper.zone_of("t1") is None


def test_slow_walk_over_the_line_crosses_once() -> None:
    """In steps much smaller than the band in which nothing is sure."""
    keeper = Doorkeeper(zone="drift", portals=[GATE])
    assert 1 == len(walk(keeper, *[(0.3 + step / 1000, 0.5) for step in range(400)], size=0.1))


def test_the_way_around_the_end_of_a_line_is_no_crossing() -> None:
    """Over the top of the gate: it is a wall there, and the face is somebody else's reflection."""
    keeper = Doorkeeper(zone="drift", portals=[GATE])
    assert [] == walk(keeper, (0.3, 0.5), (0.4, 0.05), (0.6, 0.05))
    assert keeper.zone_of("t1") is None


def test_lost_between_two_sights_still_crosses() -> None:
    """Dropped frames: from far on one side to far on the other, straight through the gate."""
    assert 1 == len(walk(Doorkeeper(zone="drift", portals=[GATE]), (0.05, 0.5), (0.95, 0.5)))


def test_face_of_which_the_detector_is_never_sure_crosses_nothing() -> None:
    """A patch of light that was once taken for a face, to the right of the line, and wanders."""
    keeper = Doorkeeper(zone="drift", portals=[GATE])
    ways = [keeper.see("t1", (x, 0.5), size=0.05, mono_ns=1, sure=x == 0.8) for x in (0.8, 0.2, 0.8, 0.1)]
    assert ([[]] * 4, "drift") == (ways, keeper.zone_of("t1"))


def test_an_area_is_a_zone_of_its_own() -> None:
    """In from the drift, and out to it again."""
    keeper = Doorkeeper(zone="drift", portals=[ROOM])
    crossings = walk(keeper, (0.2, 0.75), (0.75, 0.75), (0.75, 0.2))
    assert [("drift", "room"), ("room", "drift")] == [(c.before, c.after) for c in crossings]


def test_an_area_and_a_line_in_one_picture() -> None:
    """From outside through the gate into the room: drift first, then the room."""
    keeper = Doorkeeper(zone="drift", portals=[GATE, ROOM])
    crossings = walk(keeper, (0.2, 0.7), (0.55, 0.7), (0.75, 0.75))
    assert [(None, "drift"), ("drift", "room")] == [(c.before, c.after) for c in crossings]


def line(name: str, x: float, inside: float, zone: str, beyond: str | None) -> Portal:
    """Return an upright line at `x`."""
    return Portal(name=name, zone=zone, beyond=beyond, line=((x, 0.0), (x, 1.0)), inside=(inside, 0.5))


def test_track_begins_in_the_zone_of_the_lines_side() -> None:
    """A line between two zones neither of which is the camera's: one side has one zone, then and later."""
    keeper = Doorkeeper(zone="drift", portals=[line("p", 0.5, 0.9, "x", "y")])
    crossings = walk(keeper, (0.8, 0.5), (0.3, 0.5), (0.8, 0.5))
    assert [("x", "y"), ("y", "x")] == [(c.before, c.after) for c in crossings]
    around = Portal(name="p", zone="drift", beyond="x", area=ROOM.area)
    keeper = Doorkeeper(zone="drift", portals=[around])
    assert [("x", "drift")] == [(c.before, c.after) for c in walk(keeper, (0.2, 0.2), (0.75, 0.75))]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("x", "zone"), [(0.1, None), (0.5, "drift"), (0.9, "deep")])
def test_of_lines_one_behind_the_other_the_nearest_decides(x: float, zone: str | None, order: int) -> None:
    """Outside, in the drift, deep in it: whatever line stands first in the configuration."""
    lines = [line("gate", 0.3, 0.9, "drift", None), line("door", 0.7, 0.9, "deep", "drift")][::order]
    keeper = Doorkeeper(zone="drift", portals=lines)
    walk(keeper, (x, 0.5))
    assert zone == keeper.zone_of("t1")


@pytest.mark.parametrize("order", [1, -1])
def test_two_portals_between_two_sights_are_gone_through_in_the_order_of_the_way(order: int) -> None:
    """From outside through the gate and the room in one step, and back: whatever stands first."""
    room = Portal(
        name="room", zone="room", beyond="drift", area=((0.6, 0.1), (0.9, 0.1), (0.9, 0.9), (0.6, 0.9))
    )
    keeper = Doorkeeper(zone="drift", portals=[GATE, room][::order])
    there, back = walk(keeper, (0.2, 0.5), (0.75, 0.5)), walk(keeper, (0.2, 0.5))
    assert [("gate", None, "drift"), ("room", "drift", "room")] == [
        (c.portal, c.before, c.after) for c in there
    ]
    assert [("room", "room", "drift"), ("gate", "drift", None)] == [
        (c.portal, c.before, c.after) for c in back
    ]


def test_tracks_do_not_disturb_each_other() -> None:
    """Two faces, one left and one right of the line, seen in turn."""
    keeper = Doorkeeper(zone="drift", portals=[GATE])
    for _ in range(5):
        assert [] == walk(keeper, (0.3, 0.5), track="a") + walk(keeper, (0.7, 0.5), track="b")


def test_picture_of_another_shape_crosses_nobody() -> None:
    """Where a face was in the old picture says nothing about the new one."""
    keeper = Doorkeeper(zone="drift", portals=[GATE])
    walk(keeper, (0.3, 0.5))
    keeper.picture_changed()
    assert [] == walk(keeper, (0.7, 0.5))
    assert 1 == len(walk(keeper, (0.3, 0.5)) + walk(keeper, (0.7, 0.5)))


def test_ended_track_is_forgotten() -> None:
    """Its name may be used again for somebody else."""
    keeper = Doorkeeper(zone="drift", portals=[GATE])
    walk(keeper, (0.3, 0.5))
    keeper.end("t1")
    assert [] == walk(keeper, (0.7, 0.5))


def test_portal_is_a_line_or_an_area() -> None:
    """Neither, both, and a line without its inside are refused."""
    for shape in ({}, {"line": GATE.line}, {"area": ROOM.area, "inside": (0.5, 0.5)}):
        with pytest.raises(ValueError, match="line with a point inside, or an area"):
            Portal(name="p", zone="z", beyond=None, **shape)  # type: ignore[arg-type]


def test_portals_of_an_unknown_camera_are_refused() -> None:
    """A mistake in the wiring."""
    with pytest.raises(ValueError, match="no zone"):
        doorkeepers({"cam": "drift"}, {"other": [GATE]})
