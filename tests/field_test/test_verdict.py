"""The verdict: what the box said about a clip, held against what is true."""

from __future__ import annotations

from typing import Any, Final

import pytest

from field_test.tunnel import Passage, Truth
from field_test.verdict import Check, judge, tracks_of

#: Ten frames a second: ann (registered) from 2 to 5 s, bob (a stranger) from 10 to 13 s, nobody else.
TRUTH: Final = Truth(
    fps=10.0,
    size=(640, 360),
    frames=200,
    passages=(Passage("ann", "a.jpg", 20, 50), Passage("bob", "b.jpg", 100, 130)),
    empty=((0, 19), (51, 99), (131, 199)),
)
REFS: Final = {"ann": "C-1"}
START: Final = 7_000_000_000


def sighting(
    seq: int, track: str, first: float, at: float, *, ref: str | None = None, decision: str = ""
) -> dict[str, Any]:
    """Return a sighting at `at` seconds of a track that began at `first`."""
    body: dict[str, Any] = {
        "kind": "sighting",
        "seq": seq,
        "track": track,
        "first_seen_ns": START + round(first * 1e9),
        "mono_ns": START + round(at * 1e9),
        "decision": decision or ("named" if ref else "unknown"),
        "score": 0.4,
    }
    return {**body, "person_ref": ref} if ref else body


def run(*sightings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a run with these sightings."""
    return [{"kind": "box_start", "seq": 1, "mono_ns": START}, *sightings]


def answers(checks: list[Check]) -> list[bool]:
    """Return the answers: ann named, bob unknown, nobody in the empty tunnel."""
    return [check.passed for check in checks]


GOOD: Final = (sighting(2, "t1", 2.1, 3.0, ref="C-1"), sighting(3, "t2", 10.2, 11.0))


def test_a_right_run_passes() -> None:
    """The registered person named and the stranger unknown is what is asked for."""
    assert [True, True, True] == answers(judge(run(*GOOD), TRUTH, REFS))


def test_nothing_seen_fails_both_people() -> None:
    """A box that says nothing has named nobody and called nobody unknown."""
    assert [False, False, True] == answers(judge(run(), TRUTH, REFS))


def test_the_wrong_name_fails() -> None:
    """Somebody else's name for the registered person is wrong."""
    wrong = sighting(2, "t1", 2.1, 3.0, ref="C-2")

    assert [False, True, True] == answers(judge(run(wrong, GOOD[1]), TRUTH, REFS))


def test_a_second_name_for_the_registered_person_fails() -> None:
    """The right name beside a wrong one is not right."""
    second = sighting(4, "t3", 4.0, 4.5, ref="C-2")

    assert [False, True, True] == answers(judge(run(*GOOD, second), TRUTH, REFS))


def test_a_name_that_was_taken_back_fails() -> None:
    """A decision revised from named to unknown ends without a name."""
    back = sighting(4, "t1", 2.1, 4.0)

    assert [False, True, True] == answers(judge(run(*GOOD, back), TRUTH, REFS))


def test_the_events_order_is_their_sequence() -> None:
    """A delivery out of order changes nothing."""
    undecided = sighting(2, "t1", 2.1, 2.5, decision="undecided")
    named = sighting(3, "t1", 2.1, 3.0, ref="C-1")
    unknown = sighting(4, "t2", 10.2, 11.0)

    assert [True, True, True] == answers(judge(run(unknown, named, undecided), TRUTH, REFS))


def test_a_stranger_with_a_name_fails() -> None:
    """A name for the stranger is wrong even when it is taken back."""
    named = sighting(3, "t2", 10.2, 11.0, ref="C-1")
    back = sighting(4, "t2", 10.2, 11.5)

    assert [True, False, True] == answers(judge(run(GOOD[0], named, back), TRUTH, REFS))


def test_an_undecided_stranger_fails() -> None:
    """Unknown is a decision: undecided is none."""
    undecided = sighting(3, "t2", 10.2, 11.0, decision="undecided")

    assert [True, False, True] == answers(judge(run(GOOD[0], undecided), TRUTH, REFS))


@pytest.mark.parametrize(("first", "at"), [(0.2, 0.8), (7.0, 8.0), (16.0, 17.0)])
def test_a_name_in_the_empty_tunnel_fails(first: float, at: float) -> None:
    """A track that shares no time with a passage must not be named, before, between or after."""
    ghost = sighting(5, "t9", first, at, ref="C-1")

    assert [True, True, False] == answers(judge(run(*GOOD, ghost), TRUTH, REFS))


def test_an_unknown_in_the_empty_tunnel_is_no_name() -> None:
    """Nobody is named by a track that is called unknown."""
    ghost = sighting(5, "t9", 7.0, 8.0)

    assert [True, True, True] == answers(judge(run(*GOOD, ghost), TRUTH, REFS))


def test_a_track_may_outlast_its_passage_a_little() -> None:
    """The last word about a track comes when it has ended."""
    late = sighting(4, "t1", 2.1, 5.6, ref="C-1")

    assert [True, True, True] == answers(judge(run(*GOOD, late), TRUTH, REFS))


def test_without_a_beginning_the_run_cannot_be_judged() -> None:
    """Times count from box_start; a subscriber that missed it knows none."""
    with pytest.raises(ValueError, match="no box_start"):
        tracks_of(GOOD)
