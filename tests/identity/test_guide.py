"""Guided registration: a head that turns before a camera, seen by a detector that knows where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge_app.identity.enrol import PHOTO_LIMITS
from edge_app.identity.guide import ASK, HOLD, Guide, take_views
from edge_app.identity.views import View
from edge_app.records import Box, Face
from tests.faces.test_pose import HEAD

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

#: Yaw and pitch of each view, as a person shows them.
SHOWN = {
    View.FRONT: (0, 0), View.LEFT: (20, 0), View.FAR_LEFT: (40, 0), View.RIGHT: (-20, 0),
    View.FAR_RIGHT: (-40, 0), View.UP: (0, -15), View.DOWN: (0, 15),
}  # fmt: skip


def head(yaw: float, pitch: float, *, x: float = 320.0, size: float = 60.0) -> Face:
    """Return the face of a head that is turned and nods, in the middle of a 640x480 picture."""
    y, p = np.radians([yaw, pitch])
    points = HEAD - (0, 0.574, 0)
    points = points @ np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    points = points @ np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    marks = (points[:, :2] * size + (x, 240)).astype(np.float32)
    box = Box(x - 1.2 * size, 240 - 1.5 * size, 2.4 * size, 3 * size)
    return Face(box=box, landmarks=marks, score=0.9)


class Stage:
    """A detector that finds the faces that the test has put before the camera, in the order of frames."""

    backend = "test"

    def __init__(self) -> None:
        self.faces: list[Face] = []

    def detect(self, _pixels: Pixels) -> list[Face]:
        """Return who stands there."""
        return self.faces

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def stage() -> Stage:
    """Return an empty stage."""
    return Stage()


@pytest.fixture
def guide(stage: Stage) -> Guide:
    """Return a guide for somebody who is not registered yet."""
    return Guide(detector=stage, limits=PHOTO_LIMITS, name="portal")


def picture(number: int, *, brightness: float = 110.0) -> Pixels:
    """Return a sharp picture that is none of the others."""
    blocks = np.random.default_rng(number).normal(brightness, 50, (80, 107, 3)).clip(0, 255).astype(np.uint8)
    return cv2.resize(blocks, (640, 480), interpolation=cv2.INTER_CUBIC)


def show(guide: Guide, stage: Stage, *faces: Face, frames: int = HOLD, first: int = 0) -> list[str]:
    """Let somebody stand before the camera for some frames; return what was told."""
    stage.faces = list(faces)
    return [guide.look(picture(first + number)) for number in range(frames)]


def test_seven_views_are_asked_for_and_taken_in_order(guide: Guide, stage: Stage) -> None:
    """Each is asked for until it was held; in the end seven photos of the right sides, all different."""
    for number, view in enumerate(View):
        told = show(guide, stage, head(*SHOWN[view]), first=10 * number)
        assert [ASK[view]] * (HOLD - 1) == told[:-1]
    assert "done" == told[-1]
    assert list(View) == list(guide.photos)
    assert 7 == len({photo.sha256 for photo in guide.photos.values()})
    assert "portal-far-left.png" == guide.photos[View.FAR_LEFT].path.name
    assert "done" == guide.look(picture(99))


def test_view_that_comes_before_it_is_asked_for_is_taken(guide: Guide, stage: Stage) -> None:
    """After the front any order will do."""
    show(guide, stage, head(0, 0))
    show(guide, stage, head(0, 15), first=10)
    assert (View.LEFT, View.FAR_LEFT, View.RIGHT, View.FAR_RIGHT, View.UP) == guide.missing


def test_view_is_not_taken_twice(guide: Guide, stage: Stage) -> None:
    """The second front is no view: the next one is asked for."""
    show(guide, stage, head(0, 0))
    assert [ASK[View.LEFT]] * 9 == show(guide, stage, head(0, 1), frames=9, first=10)
    assert [View.FRONT] == list(guide.photos)


def test_view_must_be_held(guide: Guide, stage: Stage) -> None:
    """Swaying between two sides takes neither."""
    show(guide, stage, head(0, 0))
    for number in range(6):
        show(guide, stage, head(20 if number % 2 else -20, 0), frames=HOLD - 1, first=10 * number)
    assert [View.FRONT] == list(guide.photos)


def test_little_turns_are_no_views(guide: Guide, stage: Stage) -> None:
    """Half way is not registered as a side."""
    show(guide, stage, head(0, 0))
    show(guide, stage, head(12, 0), frames=5, first=10)
    show(guide, stage, head(0, 4), frames=5, first=20)
    assert [View.FRONT] == list(guide.photos)


def test_what_is_wrong_is_said(guide: Guide, stage: Stage) -> None:
    """Nobody, two people, too far away, in the dark: and none of it is taken."""
    assert ["no face"] == show(guide, stage, frames=1)
    pair = (head(0, 0, x=150), head(0, 0, x=450))
    assert ["only one person before the camera, please"] == show(guide, stage, *pair, frames=1)
    assert ["come nearer"] == show(guide, stage, head(0, 0, size=10), frames=1)
    stage.faces = [head(0, 0)]
    assert "more light on the face" == guide.look(np.full((480, 640, 3), 5, np.uint8))
    assert {} == guide.photos


def test_registered_views_are_not_asked_for_again(stage: Stage) -> None:
    """Somebody comes back for the sides that were missing; nods are measured against their front photo."""
    turned = (View.LEFT, View.FAR_LEFT, View.RIGHT, View.FAR_RIGHT)
    guide = Guide(detector=stage, limits=PHOTO_LIMITS, have=(View.FRONT, *turned), front_pitch=0.0)
    assert [ASK[View.UP]] == show(guide, stage, head(0, 0), frames=1)
    show(guide, stage, head(0, -15), first=10)
    assert (View.DOWN,) == guide.missing


def test_taking_ends_with_the_frames_and_tells_each_thing_once(guide: Guide, stage: Stage) -> None:
    """The recording is over: what was taken is returned."""
    stage.faces = [head(0, 0)]
    told: list[str] = []
    photos = take_views(guide, map(picture, range(12)), tell=told.append)
    assert ["portal-front.png"] == [photo.path.name for photo in photos]
    assert [ASK[View.FRONT], "front: taken", ASK[View.LEFT]] == told


def test_taking_ends_when_the_time_is_over(guide: Guide, stage: Stage) -> None:
    """Nobody comes: an operator must not wait for ever."""
    told: list[str] = []
    assert () == take_views(guide, map(picture, range(99)), tell=told.append, over=lambda: True)
    assert ["no face"] == told
