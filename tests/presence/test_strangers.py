"""Telling strangers apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_app.presence.place import Place, TrackKey
from edge_app.presence.strangers import Strangers

BAR = 0.5


def face(*weights: float) -> npt.NDArray[np.float32]:
    """Return a unit vector with these first coordinates."""
    vector = np.zeros(8, np.float32)
    vector[: len(weights)] = weights
    vector[-1] = np.sqrt(1 - float((vector**2).sum()))
    return vector


def take(
    strangers: Strangers,
    track: str,
    template: npt.NDArray[np.float32] | None,
    *,
    at: int = 10,
    visible: frozenset[TrackKey] = frozenset(),
    camera: str = "cam",
    registered: bool = False,
) -> tuple[str, bool]:
    """Show a track; return whose it is, and whether they were known."""
    stranger, before = strangers.take(
        (camera, track),
        Place("z", camera, track, at, at, None),
        template=template,
        same_from=BAR,
        visible=lambda key: key in visible,
        maybe_registered=registered,
    )
    return stranger.name, before is not None


def test_broken_track_is_the_same_stranger() -> None:
    """Two tracks, much alike: one person, who was there before."""
    strangers = Strangers()
    first = take(strangers, "t1", face(0.9))
    assert (first[0], True) == take(strangers, "t2", face(0.95))
    assert 1 == len(strangers)
    assert [0] == [stranger.doubtful_joins for stranger in strangers]


def test_two_people_are_two() -> None:
    """Unlike each other, and surely so."""
    strangers = Strangers()
    take(strangers, "t1", face(1.0))
    take(strangers, "t2", face(0.0, 1.0))
    assert [False, False] == [stranger.doubtful for stranger in strangers]


def test_two_faces_in_one_picture_are_two_people_however_alike() -> None:
    """Twins side by side."""
    strangers = Strangers()
    take(strangers, "t1", face(1.0))
    take(strangers, "t2", face(1.0), visible=frozenset({("cam", "t1")}))
    assert 2 == len(strangers)


def test_one_person_may_be_seen_by_two_cameras_at_once() -> None:
    """Another camera's track does not make them two."""
    strangers = Strangers()
    take(strangers, "t1", face(1.0), camera="cam1")
    take(strangers, "t1", face(0.95), camera="cam2", visible=frozenset({("cam1", "t1")}))
    assert 1 == len(strangers)


def test_near_the_bar_the_doubt_is_kept() -> None:
    """Just below it: perhaps one again. Just above: perhaps two."""
    strangers = Strangers()
    take(strangers, "t1", face(1.0))
    take(strangers, "t2", face(BAR - 0.05, 0.8))
    assert [False, True] == [stranger.doubtful for stranger in strangers]
    strangers = Strangers()
    take(strangers, "t1", face(1.0))
    take(strangers, "t2", face(BAR + 0.05, 0.8))
    assert [1] == [stranger.doubtful_joins for stranger in strangers]


def test_without_a_usable_view_nobody_is_recognised() -> None:
    """Counted, and doubtful: they may be anybody."""
    strangers = Strangers()
    take(strangers, "t1", None)
    take(strangers, "t2", None)
    assert [True, True] == [stranger.doubtful for stranger in strangers]


def test_stranger_who_looks_nearly_registered_is_doubtful() -> None:
    """They may be somebody who is counted by name already."""
    strangers = Strangers()
    take(strangers, "t1", face(1.0), registered=True)
    assert [True] == [stranger.doubtful for stranger in strangers]


def test_withdrawn_track_was_never_there() -> None:
    """The stranger stays only while another track is theirs."""
    strangers = Strangers()
    take(strangers, "t1", face(1.0))
    take(strangers, "t2", face(0.95))
    strangers.withdraw(("cam", "t1"))
    assert 1 == len(strangers)
    strangers.withdraw(("cam", "t2"))
    strangers.withdraw(("cam", "t2"))
    assert 0 == len(strangers)


def test_who_has_gone_is_not_counted_and_still_remembered() -> None:
    """So that coming back is no newcomer; and forgotten in the end."""
    strangers = Strangers()
    name, _ = take(strangers, "t1", face(1.0), at=10)
    strangers.gone(20)
    assert [None] == [stranger.place.zone for stranger in strangers]
    assert (name, True) == take(strangers, "t2", face(0.95), at=30)
    strangers.forget(31)
    assert 0 == len(strangers)
