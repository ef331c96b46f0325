"""Blind cameras over a restart: nothing gives an all-clear but a camera that sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_app.presence.muster import Muster
from edge_app.records import CameraState
from tests.presence.test_muster import NO_WALL, ZONES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_app.records import Event

S = 1_000_000_000
SEES = CameraState("cam1", "drift")


def blind(since: int, reason: str = "dark") -> CameraState:
    """Return the state of a camera that is blind since `since` (s)."""
    return CameraState("cam1", "drift", blind_since_ns=since * S, reason=reason)


def restarted(*, standing: Iterable[str] = ("camera_blind.cam1",)) -> Muster:
    """Return the muster of a run after one in which a camera went blind at 20 s."""
    before = Muster(zones=ZONES)
    before.camera(blind(20), now_ns=30 * S)
    return Muster(zones=ZONES, kept=before.kept(), standing_alarms=standing, blind_after_s={"cam1": 4.0})


def since(muster: Muster, at: int) -> list[int | None]:
    """Return since when cameras are blind (s)."""
    states = muster.snapshot(at * S).cameras
    return [None if one.blind_since_ns is None else one.blind_since_ns // S for one in states]


def ticks(muster: Muster, seconds: range) -> list[Event]:
    """Let time pass."""
    return [event for at in seconds for event in muster.tick(at * S, NO_WALL)]


def test_first_picture_after_a_restart_is_no_all_clear() -> None:
    """It is black, and found to be so four seconds later: no event, blind since it went blind, not anew."""
    muster = restarted()
    assert [20] == since(muster, 39)
    assert () == muster.camera(SEES, now_ns=40 * S)
    assert [] == ticks(muster, range(41, 46))
    assert () == muster.camera(blind(40), now_ns=46 * S)
    assert () == muster.camera(blind(40, "covered"), now_ns=47 * S)
    assert [] == ticks(muster, range(47, 99))
    assert [20] == since(muster, 99)
    (sees,) = muster.camera(SEES, now_ns=100 * S)
    assert ("camera_sees", 80_000) == (sees.kind, sees.data["blind_ms"])
    assert [None] == since(muster, 100)


def test_that_a_camera_went_blind_is_written_at_once() -> None:
    """A kill a second later forgets it not."""
    muster = Muster(zones=ZONES)
    before = muster.changes
    muster.camera(SEES, now_ns=10 * S)
    assert before == muster.changes
    muster.camera(blind(20), now_ns=30 * S)
    assert before < muster.changes


def test_camera_that_sees_after_a_restart_is_believed_after_its_time() -> None:
    """Blind after four seconds, and five to be sure; what it said meanwhile counts, its last word."""
    muster = restarted()
    muster.camera(SEES, now_ns=40 * S)
    assert [] == ticks(muster, range(40, 45))
    muster.camera(CameraState("cam1", "drift", impaired="moved"), now_ns=45 * S)
    assert ["alarm", "camera_sees"] == [event.kind for event in ticks(muster, range(45, 50))]
    assert [None] == since(muster, 50)
    *_, raised = muster.camera(blind(51), now_ns=61 * S)
    assert ("camera_blind", [51]) == (raised.kind, since(muster, 61))


@pytest.mark.parametrize("standing", [(), ("camera_moved.cam1",), ("camera_blind.cam2",)])
def test_blindness_that_no_alarm_tells_is_told_anew(standing: tuple[str, ...]) -> None:
    """The alarm was lost, or never committed: as in a first run."""
    muster = restarted(standing=standing)
    assert [] == since(muster, 39)
    muster.camera(SEES, now_ns=40 * S)
    assert ["camera_blind"] == [event.kind for event in muster.camera(blind(40), now_ns=46 * S)]


def test_camera_that_is_in_another_zone_now_is_another() -> None:
    """Or in none: the configuration was changed."""
    before = Muster(zones=ZONES)
    before.camera(blind(20), now_ns=30 * S)
    for zones in ({"cam1": "hall"}, {"cam9": "drift"}):
        muster = Muster(zones=zones, kept=before.kept(), standing_alarms=("camera_blind.cam1",))
        assert [] == since(muster, 39)
