"""Topics hold nothing that MQTT forbids."""

from __future__ import annotations

import pytest

from edge_app.delivery.topics import Topics

BAD = ["", "a/b", "+", "#", "a#", "\0", "\ud800", "ä", "x" * 65, "a b", "$SYS", "a\n"]


def test_topics_are_those_of_the_documented_scheme() -> None:
    """The scheme that SCADA engineers subscribe to."""
    topics = Topics(site="north", node="box-1")
    assert "mine/north/v1/box-1/evt/sighting" == topics.event("sighting")
    assert "mine/north/v1/box-1/alarms/camera_blind.cam1" == topics.alarm("camera_blind.cam1")
    assert ["mine/north/v1/box-1/state", "mine/north/v1/box-1/muster", "mine/north/v1/box-1/rcpt"] == [
        topics.state,
        topics.muster,
        topics.receipts,
    ]


@pytest.mark.parametrize("name", BAD)
def test_bad_names_are_refused_everywhere(name: str) -> None:
    """Site, node, kind and alarm id alike."""
    for make in (
        lambda: Topics(site=name, node="n"),
        lambda: Topics(site="s", node=name),
        lambda: Topics(site="s", node="n").event(name),
        lambda: Topics(site="s", node="n").alarm(name),
    ):
        with pytest.raises(ValueError, match="must match"):
            make()
