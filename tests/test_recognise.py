"""Every event carries how late it is and what the camera dropped."""

from __future__ import annotations

import pytest

from edge_app.recognise import DropMeter


def test_dropped_share_is_over_what_the_camera_gave() -> None:
    """Three dropped and one seen are three quarters; a camera that gave nothing dropped nothing."""
    meter = DropMeter()
    assert meter.share("a") == 0
    meter.saw("a", 3)
    assert meter.share("a") == pytest.approx(0.75)


def test_dropped_share_forgets_what_is_long_past() -> None:
    """A slow start does not stand in the figures for ever."""
    meter = DropMeter()
    meter.saw("a", 100)
    for _ in range(100):
        meter.saw("a", 0)
    assert meter.share("a") == 0
