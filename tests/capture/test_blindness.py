from __future__ import annotations

import random

import pytest

from edge_app.capture.blindness import Backoff, Blindness
from edge_app.records import CameraState

S = 1_000_000_000


@pytest.fixture
def blindness() -> Blindness:
    """Return the watch over a camera that began at second 100 and may be silent for ten."""
    return Blindness(camera="cam1", zone="drift", after_s=10.0, now_ns=100 * S)


def test_blind_after_ten_seconds_since_the_last_picture(blindness: Blindness) -> None:
    """It is told once, and dates from the last picture, not from when that was noticed."""
    blindness.saw(105 * S)
    assert blindness.check(114 * S) is None
    expected = CameraState(camera="cam1", zone="drift", blind_since_ns=105 * S, reason="no_frames")
    assert expected == blindness.check(115 * S)
    assert blindness.check(200 * S) is None
    assert blindness.blind


def test_camera_that_never_gave_a_picture_is_blind(blindness: Blindness) -> None:
    """The ten seconds begin when the box begins to look."""
    assert blindness.check(109 * S) is None
    state = blindness.check(110 * S)
    assert state is not None
    assert 100 * S == state.blind_since_ns


def test_sees_again_with_the_first_picture(blindness: Blindness) -> None:
    """One picture is enough, it is told once, and the next silence counts from it."""
    blindness.check(120 * S)
    blindness.saw(121 * S)
    assert CameraState(camera="cam1", zone="drift") == blindness.check(121 * S)
    assert blindness.check(122 * S) is None
    state = blindness.check(131 * S)
    assert state is not None
    assert 121 * S == state.blind_since_ns


def test_impairment_is_told_when_it_lasts_and_when_it_is_over(blindness: Blindness) -> None:
    """Once each, after six seconds; a shorter one is not worth a word."""

    def watch(impaired: str | None, seconds: range) -> list[str | None]:
        told = []
        for second in seconds:
            blindness.saw(second * S)
            blindness.noticed(impaired, second * S)
            state = blindness.check(second * S)
            told += [] if state is None else [state.impaired]
        return told

    assert [] == watch(None, range(100, 110)) + watch("moved", range(110, 115)) + watch(None, range(115, 120))
    assert ["moved"] == watch("moved", range(120, 140))
    assert [None] == watch(None, range(140, 160))


def test_darkness_is_blindness_with_its_name(blindness: Blindness) -> None:
    """Pictures in which there is nothing to see do not count, and the reason is theirs."""
    blindness.saw(101 * S)
    blindness.saw_nothing("dark")
    state = blindness.check(111 * S)
    assert state is not None
    assert (101 * S, "dark") == (state.blind_since_ns, state.reason)


def test_picture_that_was_useless_before_that_was_known_counts_from_then(blindness: Blindness) -> None:
    """A frozen picture is known to be one after ten seconds, and has been of no use for ten seconds then."""
    for second in range(100, 115):
        blindness.saw(second * S)
    blindness.saw_nothing("frozen", since_ns=105 * S)
    state = blindness.check(115 * S)
    assert state is not None
    assert (105 * S, "frozen") == (state.blind_since_ns, state.reason)


def test_waits_double_up_to_the_cap() -> None:
    """The bound of the waits is base, twice, four times it, ... and the cap for ever."""
    bounds: list[tuple[float, float]] = []

    def highest(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    backoff = Backoff(base_s=0.5, cap_s=10, uniform=highest)
    assert [0.5, 1, 2, 4, 8, 10, 10] == [backoff.next_s() for _ in range(7)]
    assert {0.0} == {low for low, _ in bounds}
    for _ in range(5000):
        backoff.next_s()  # and never overflows
    backoff.reset()
    assert 0.5 == backoff.next_s()


def test_waits_are_spread() -> None:
    """Ten boxes that lose the same camera do not come back in the same moment."""
    waits = [[Backoff(uniform=random.Random(box).uniform, base_s=8).next_s()] for box in range(10)]
    assert 10 == len({wait for (wait,) in waits})
    assert all(0 <= wait <= 8 for (wait,) in waits)


@pytest.mark.parametrize("blind", [True, False])
def test_what_an_earlier_run_knew_is_told_at_once_and_ends_by_a_picture(blind: bool) -> None:
    """However short ago that was: without it the first picture would be an all-clear."""
    blindness = Blindness(camera="cam1", zone="drift", after_s=10, now_ns=5 * S)
    blindness.known("dirty" if blind else "moved", 4 * S, blind=blind)
    told = blindness.check(5 * S)
    assert told is not None
    assert (4 * S, "dirty", None) if blind else (None, None, "moved") == (
        told.blind_since_ns, told.reason, told.impaired,
    )  # fmt: skip
    assert blindness.check(6 * S) is None
    blindness.saw(7 * S)
    blindness.noticed(None, 7 * S)
    assert CameraState(camera="cam1", zone="drift") == blindness.check((7 if blind else 13) * S)
