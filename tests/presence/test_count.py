"""The headcount and its bounds."""

from __future__ import annotations

import pytest

from edge_app.presence.count import Visible, at_once, count
from edge_app.presence.ledger import Ledger
from edge_app.presence.place import Place
from edge_app.records import HeadCount


def place(track: str, zone: str | None = "z", camera: str = "cam") -> Place:
    """Return a place."""
    return Place(zone=zone, camera=camera, track=track, first_seen_ns=1, last_seen_ns=9, score=None)


def visible(track: str, *, undecided: bool, camera: str = "cam") -> Visible:
    """Return a face in the picture."""
    return Visible((camera, track), place(track, camera=camera), undecided)


@pytest.fixture
def two() -> Ledger:
    """Return a ledger with two named people."""
    ledger = Ledger()
    ledger.claim("a", place("t1"))
    ledger.claim("b", place("t2"))
    return ledger


def test_named_people_alone_are_certain(two: Ledger) -> None:
    """Best, low and high agree; a zone with nobody counts nobody."""
    counted = count(two, (), zones=["z", "empty"])
    assert {"empty": HeadCount(0, 0, 0), "z": HeadCount(2, 2, 2)} == counted.zones
    assert HeadCount(2, 2, 2) == counted.total


def test_who_has_left_is_not_counted(two: Ledger) -> None:
    """Their place is outside."""
    two.claim("b", place("t3", zone=None))
    assert HeadCount(1, 1, 1) == count(two, ()).total


def test_undecided_face_may_be_one_of_the_counted(two: Ledger) -> None:
    """Or one more: the upper bound."""
    assert HeadCount(2, 2, 3) == count(two, [visible("t9", undecided=True)]).total


def test_more_faces_at_once_than_people_are_more_people(two: Ledger) -> None:
    """Three in one picture cannot be two; in two cameras they can."""
    faces = [visible(track, undecided=True) for track in ("t7", "t8", "t9")]
    counted = count(two, faces)
    assert (HeadCount(3, 3, 5), ["t7"]) == (counted.total, [one.key[1] for one in counted.surplus])
    apart = [visible("t7", undecided=True), visible("t8", undecided=True, camera="other")]
    assert HeadCount(2, 2, 4) == count(two, apart).total


def test_who_has_perhaps_left_is_in_the_upper_bound_alone(two: Ledger) -> None:
    """Until they are seen again; their name stays in the ledger."""
    two.mark_left("b", 20)
    assert HeadCount(1, 1, 2) == count(two, ()).total
    two.claim("b", place("t3"))
    assert HeadCount(2, 2, 2) == count(two, ()).total


def test_doubtful_stranger_widens_the_bounds(two: Ledger) -> None:
    """They may be somebody counted already."""
    two.strangers.take(("cam", "t9"), place("t9"), template=None, same_from=0.5, visible=lambda _: False)
    assert HeadCount(3, 2, 3) == count(two, ()).total


def in_pictures(track: str, *pictures: int, who: str | None = None) -> Visible:
    """Return a face that is in these pictures of its camera."""
    return Visible(("cam", track), place(track), who is None, who, frozenset(pictures))


def test_track_that_broke_and_goes_on_is_one_face() -> None:
    """Named or not, the two were in no picture together: the lower bound is never more than there are."""
    ledger = Ledger()
    ledger.claim("a", place("t1"))
    broken = [in_pictures("t1", 1, 2, 3, who="a"), in_pictures("t2", 4, 5)]
    assert HeadCount(1, 1, 2) == count(ledger, broken).total
    assert HeadCount(2, 2, 2) == count(ledger, [broken[0], in_pictures("t2", 3, 4, 5)]).total
    assert HeadCount(1, 1, 2) == count(Ledger(), [in_pictures("t1", 1, 2), in_pictures("t2", 3)]).total


def test_two_tracks_of_one_name_are_one_person_in_a_picture() -> None:
    """For a moment, until the box has decided which it is."""
    both = [in_pictures("t1", 1, who="a"), in_pictures("t2", 1, who="a"), in_pictures("t3", 1, who="b")]
    assert {("z", "cam"): 2} == at_once(both)
