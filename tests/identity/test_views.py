"""Which side a photo shows, and from which sides somebody is registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_app.identity.guide import BEFORE_CAMERA
from edge_app.identity.views import Coverage, View, front_pitch, view_of, views_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.records import Quality


@pytest.mark.parametrize(
    ("expected", "yaw", "pitch"),
    [
        (View.FRONT, 0, 0), (View.FRONT, -9, 3), (View.LEFT, 11, 0), (View.FAR_RIGHT, -45, 20),
        (View.RIGHT, -27, 0), (View.FAR_LEFT, 28, 0),
        (View.DOWN, 3, 9), (View.UP, -3, -9),
    ],
)  # fmt: skip
def test_side_is_the_persons_own(expected: View, yaw: float, pitch: float) -> None:
    """Who looks to the right of the picture has turned to their left; a turn counts before a nod."""
    assert expected is view_of(yaw, pitch)


def test_nod_is_measured_against_the_persons_front_photo() -> None:
    """A long nose reads as looking down; for this person it is straight ahead."""
    assert View.DOWN is view_of(0, 6)
    assert View.FRONT is view_of(0, 6, front_pitch=5)
    assert View.UP is view_of(0, 0, front_pitch=5)


def test_clear_turn_can_be_asked_for() -> None:
    """Then a little turn is neither front nor side, and what lies between two sides is neither."""
    assert None is view_of(12, 0, angles=BEFORE_CAMERA)
    assert View.LEFT is view_of(20, 0, angles=BEFORE_CAMERA)
    assert None is view_of(-28, 0, angles=BEFORE_CAMERA)
    assert View.FAR_RIGHT is view_of(-30, 0, angles=BEFORE_CAMERA)


@pytest.mark.parametrize(
    ("expected", "pitches"), [(0.0, []), (7.0, [7]), (2.0, [9, 2]), (-1.0, [-1, -9]), (3.0, [12, 3, -8])]
)
def test_front_photo_is_the_middle_one(
    quality: Callable[..., Quality], expected: float, pitches: list[float]
) -> None:
    """Of those without a turn: the middle of up, front and down."""
    turned = quality(yaw=40.0, pitch=33.0)
    assert expected == front_pitch([turned, *(quality(yaw=1.0, pitch=float(pitch)) for pitch in pitches)])


def test_coverage_names_what_is_there_and_what_is_missing(quality: Callable[..., Quality]) -> None:
    """In the order in which they are asked for; a side twice is one side."""
    photos = [quality(yaw=yaw, pitch=0.0) for yaw in (20.0, 0.0, 25.0)]
    assert [View.LEFT, View.FRONT, View.LEFT] == views_of(photos)
    assert "views: front, left; missing: far left, right, far right, up, down" == str(Coverage.of(photos))
    assert "views: none; missing: front, left, far left, right, far right, up, down" == str(Coverage.of([]))
    assert () == Coverage(tuple(View)).missing
    assert "views: front, left, far left, right, far right, up, down" == str(Coverage(tuple(View)))
