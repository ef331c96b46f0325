"""Points, lines and areas; and the configuration that refuses what is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_app.config import plane
from edge_app.config.schema import CameraConfig, Config, PortalConfig

SQUARE = ((0.2, 0.2), (0.6, 0.2), (0.6, 0.6), (0.2, 0.6))
LINE = {"line": ((0.5, 0.0), (0.5, 1.0)), "inside": (0.9, 0.5)}
#: Finer than an 8K pixel, and exact in a float: whether lines touch is then no matter of rounding.
SHARE = st.integers(0, 8192).map(lambda step: step / 8192)
POINT = st.tuples(SHARE, SHARE)


def test_area_and_inside_of_a_square() -> None:
    """Worked out by hand."""
    assert pytest.approx(0.16) == plane.area_of(SQUARE)
    assert (True, False) == (plane.contains(SQUARE, (0.3, 0.3)), plane.contains(SQUARE, (0.7, 0.3)))
    assert pytest.approx(0.1) == plane.distance_to_edge(SQUARE, (0.3, 0.4))


def test_inside_of_a_shape_with_a_notch() -> None:
    """A U: its notch is outside."""
    shape = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.6, 1.0), (0.6, 0.4), (0.4, 0.4), (0.4, 1.0), (0.0, 1.0))
    assert [True, False, True] == [plane.contains(shape, (x, 0.8)) for x in (0.2, 0.5, 0.8)]
    assert not plane.sides_cross(shape)


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        (SQUARE, True),
        (((0.3, 0.3), (0.4, 0.3), (0.4, 0.4)), True),
        (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)), True),
        (((0.0, 0.3), (1.0, 0.3), (1.0, 0.4), (0.0, 0.4)), True),
        (((0.6, 0.2), (0.9, 0.2), (0.9, 0.6), (0.6, 0.6)), False),
        (((0.7, 0.7), (0.9, 0.7), (0.9, 0.9)), False),
    ],
    ids=["same", "within", "around", "a cross", "side by side", "apart"],
)
def test_areas_that_overlap(other: Any, *, overlap: bool) -> None:
    """A common side is none."""
    assert overlap == plane.areas_overlap(SQUARE, other) == plane.areas_overlap(other, SQUARE)


@given(POINT, POINT, POINT, POINT)
def test_crossing_is_the_same_from_every_end(a: Any, b: Any, c: Any, d: Any) -> None:
    """Whichever segment is named first, whichever end."""
    assert (
        plane.segments_cross(a, b, c, d)
        == plane.segments_cross(c, d, a, b)
        == plane.segments_cross(b, a, d, c)
    )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "line or an area"),
        ({**LINE, "area": SQUARE}, "not both"),
        ({"line": LINE["line"]}, "inside"),
        ({"line": ((0.5, 0.5), (0.5, 0.5)), "inside": (0.1, 0.1)}, "no length"),
        ({"line": LINE["line"], "inside": (0.5, 0.7)}, "lies on the line"),
        ({"line": ((0.5, 0.0), (0.5, 1.2)), "inside": (0.9, 0.5)}, "less than or equal to 1"),
        ({"line": ((-0.1, 0.0), (0.5, 1.0)), "inside": (0.9, 0.5)}, "greater than or equal to 0"),
        ({"area": SQUARE[:2]}, "at least 3"),
        ({"area": ((0.1, 0.1), (0.5, 0.5), (0.9, 0.9))}, "empty|cross"),
        ({"area": ((0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9))}, "cross"),
        ({"area": SQUARE, "inside": (0.3, 0.3)}, "its own inside"),
        ({"area": ((float("nan"), 0.1), (0.9, 0.9), (0.9, 0.1))}, "area"),
    ],
)
def test_portal_that_is_none_is_refused(fields: dict[str, Any], complaint: str) -> None:
    """Empty, crossing, outside the picture, half: each with its reason."""
    with pytest.raises(ValidationError, match=complaint):
        PortalConfig.model_validate({"name": "p", **fields})


def camera(*portals: dict[str, Any], zone: str = "z1") -> dict[str, Any]:
    """Return a camera's configuration."""
    return {"name": "cam", "zone": zone, "source": {"kind": "v4l2"}, "portals": list(portals)}


def test_areas_of_one_camera_must_not_overlap() -> None:
    """Nobody can be in two zones."""
    one = {"name": "a", "area": SQUARE, "zone": "x"}
    other = {"name": "b", "area": tuple((x + 0.1, y + 0.1) for x, y in SQUARE), "zone": "y"}
    with pytest.raises(ValidationError, match=r"a and b of camera cam overlap"):
        CameraConfig.model_validate(camera(one, other))
    with pytest.raises(ValidationError, match="more than once"):
        CameraConfig.model_validate(
            camera(one, {**other, "name": "a", "area": ((0.7, 0.7), (0.9, 0.7), (0.9, 0.9))})
        )


def test_lines_of_one_camera_must_not_cross() -> None:
    """Where they did nobody could say where one is; lines that meet at an end make a corner."""
    one = {"name": "a", "line": ((0.2, 0.2), (0.8, 0.8)), "inside": (0.9, 0.1), "zone": "x"}
    other = {"name": "b", "line": ((0.2, 0.8), (0.8, 0.2)), "inside": (0.1, 0.1), "zone": "y"}
    with pytest.raises(ValidationError, match=r"lines a and b of camera cam cross"):
        CameraConfig.model_validate(camera(one, other))
    corner = {**other, "line": ((0.8, 0.8), (0.8, 0.2)), "inside": (0.1, 0.5)}
    assert 2 == len(CameraConfig.model_validate(camera(one, corner)).portals)


@pytest.mark.parametrize(
    ("line", "refused"),
    [(((0.2, 0.2), (0.8, 0.8)), True), (((0.8, 0.8), (0.2, 0.2)), True), (((0.5, 0.5), (0.9, 0.9)), True),
     (((0.8, 0.8), (0.9, 0.9)), False), (((0.2, 0.21), (0.8, 0.81)), False)],
)  # fmt: skip
def test_lines_of_one_camera_must_not_be_one(line: Any, *, refused: bool) -> None:
    """The same line twice, turned round, a part of it; end to end, and beside it, are two."""
    one = {"name": "a", "line": ((0.2, 0.2), (0.8, 0.8)), "inside": (0.9, 0.1), "zone": "x"}
    both = camera(one, {"name": "b", "line": line, "inside": (0.1, 0.9), "zone": "y"})
    if not refused:
        assert 2 == len(CameraConfig.model_validate(both).portals)
        return
    with pytest.raises(ValidationError, match=r"lines a and b of camera cam are one line"):
        CameraConfig.model_validate(both)


@pytest.mark.parametrize(
    ("line", "refused"),
    [(((0.5, 0.0), (0.5, 1.0)), True), (((0.5, 0.0), (0.5, 0.5)), True), (((0.4, 0.4), (0.6, 0.6)), True),
     (((0.5, 0.0), (0.5, 0.3)), False), (((0.3, 0.0), (0.3, 1.0)), False), (((0.1, 0.0), (0.1, 1.0)), False),
     (((0.0, 0.0), (1.0, 1.0)), True)],
)  # fmt: skip
def test_line_must_not_go_through_an_area(line: Any, *, refused: bool) -> None:
    """Through it, into it, within it, from corner to corner; up to it and along it are well."""
    way = {"name": "a", "line": line, "inside": (0.9, 0.5)}
    room = {"name": "b", "area": ((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7)), "zone": "room"}
    for both in (camera(way, room), camera(room, way)):
        if not refused:
            assert 2 == len(CameraConfig.model_validate(both).portals)
            continue
        with pytest.raises(ValidationError, match=r"a line goes through an area, (a and b|b and a) of"):
            CameraConfig.model_validate(both)


def test_area_that_is_the_zone_around_it_is_refused() -> None:
    """Nobody would ever go anywhere by it; with another zone around it is one."""
    area = {"name": "p", "area": SQUARE}
    for zone in ({}, {"zone": "z1"}):
        with pytest.raises(ValidationError, match="the camera's own zone, z1, and so is what lies around it"):
            CameraConfig.model_validate(camera({**area, **zone}))
    assert CameraConfig.model_validate(camera({**area, "beyond": "z2"})).portals


def test_portal_from_a_zone_to_itself_is_refused() -> None:
    """Nobody would ever go anywhere by it."""
    with pytest.raises(ValidationError, match="leads from z1 to z1"):
        CameraConfig.model_validate(camera({"name": "p", **LINE, "beyond": "z1"}))


@pytest.mark.parametrize("where", ["camera", "zone", "beyond"])
def test_zone_that_is_not_listed_is_refused(where: str) -> None:
    """Where zones are listed, a slip of the pen is found at the start."""
    portal = {"name": "p", **LINE, **({} if where == "camera" else {where: "z9"})}
    fields = {
        "box": {"site": "s", "node": "n"},
        "cameras": [camera(portal, zone="z9" if where == "camera" else "z1")],
        "zones": [{"name": "z1", "limit": 3}],
        "delivery": {"brokers": [{"host": "h"}]},
    }
    with pytest.raises(ValidationError, match="zone z9 that is not among zones"):
        Config.model_validate(fields)
    Config.model_validate({**fields, "zones": []})


@pytest.mark.parametrize(
    ("zones", "listed", "refused"),
    [((), "z9", True), ((), "z1", False), ((), "z2", False), (("z1", "z2", "z3"), "z3", False),
     (("z1", "z2"), "z3", True)],
)  # fmt: skip
def test_card_zone_that_there_is_not_is_refused(
    zones: tuple[str, ...], listed: str, *, refused: bool
) -> None:
    """A slip of the pen would switch the comparison off: zones are those listed, or those of the cameras."""
    fields = {
        "box": {"site": "s", "node": "n"},
        "cameras": [camera({"name": "p", **LINE, "beyond": "z2"}, zone="z1")],
        "zones": [{"name": zone} for zone in zones],
        "cards": {"listen": True, "zones": [listed]},
        "delivery": {"brokers": [{"host": "h"}]},
    }
    if not refused:
        assert Config.model_validate(fields).cards.listen
        return
    with pytest.raises(ValidationError, match=rf"cards.zones names {listed}, which is not among zones"):
        Config.model_validate(fields)
