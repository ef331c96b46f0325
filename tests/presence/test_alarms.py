"""Alarms that do not flicker."""

from __future__ import annotations

import pytest

from edge_app.presence.alarms import Alarms, Change, ZoneRules, check_rules

S = 1_000_000_000


def test_raised_after_the_delay_with_the_moment_it_began() -> None:
    """Once."""
    alarms = Alarms()
    said = [alarms.update("x", holds=True, delay_s=10, now_ns=at * S) for at in range(5, 30)]
    assert {10: Change("x", active=True, since_ns=5 * S)} == {i: c for i, c in enumerate(said) if c}
    assert ["x"] == alarms.active("x")


def test_flicker_raises_nothing() -> None:
    """Nine seconds on, one off, for an hour."""
    alarms = Alarms()
    said = [alarms.update("x", holds=at % 10 != 0, delay_s=10, now_ns=at * S) for at in range(3600)]
    assert [] == [change for change in said if change]


def test_cleared_after_the_delay_with_the_moment_it_was_raised() -> None:
    """And may be raised again."""
    alarms = Alarms()
    alarms.update("x", holds=True, delay_s=0, now_ns=5 * S)
    said = [alarms.update("x", holds=False, delay_s=10, now_ns=at * S) for at in range(20, 40)]
    assert {10: Change("x", active=False, since_ns=5 * S)} == {i: c for i, c in enumerate(said) if c}
    assert alarms.update("x", holds=True, delay_s=0, now_ns=50 * S) is not None


def test_alarm_of_an_earlier_run_stands_until_it_is_over() -> None:
    """It is not raised a second time."""
    alarms = Alarms(standing=["x"])
    assert alarms.update("x", holds=True, delay_s=0, now_ns=5 * S) is None
    cleared = alarms.update("x", holds=False, delay_s=0, now_ns=6 * S)
    assert {"id": "x", "state": "cleared", "since_ns": 6 * S} == cleared.fields() if cleared else None


def test_senseless_rules_are_refused() -> None:
    """Negative limits and delays, stays of no length."""
    for rules in (ZoneRules(limit=-1), ZoneRules(delay_s=-1), ZoneRules(max_stay_s=-1.0)):
        with pytest.raises(ValueError, match="zone z"):
            check_rules({"z": rules})
