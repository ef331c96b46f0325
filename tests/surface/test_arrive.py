"""What may come in, and what is refused before anything is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_app.delivery.event import KINDS
from surface.arrive import Refused, event_of, muster_of, said_at, state_of

MUSTER = {
    "v": 1,
    "site": "north",
    "node": "box-07",
    "boot": KINDS["test"].example["boot"],
    "mono_ns": 5,
    "wall_ms": None,
    "wall_quality": "none",
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"node": "box-08"}, "another site, box or kind"),
        ({"kind": "alarm"}, "another site, box or kind"),
        ({"id": "x"}, "event.id must match"),
        ({"seq": "1"}, "event.seq must be integer"),
        ({"seq": True}, "event.seq must be integer"),
        ({"seq": 1.0}, "seq is no number"),
        ({"seq": 0}, "at least 1"),
        ({"boot": None}, "event.boot must be string"),
        ({"zone": "a/b"}, "event.zone must match"),
        ({"v": 2}, "event.v must be 1"),
        ({"wall_ms": 10**30}, "wall_ms is no number of this world"),
        ({"from_seq": -(10**30)}, "from_seq is no number of this world"),
    ],
)
def test_what_is_no_event_of_its_topic_is_refused(change: dict[str, Any], complaint: str) -> None:
    """Wrong envelope, another box's name, numbers that no column holds: no row, no receipt."""
    body = json.dumps({**KINDS["test"].example, **change}).encode()
    with pytest.raises(Refused, match=complaint):
        event_of(body, site="north", node="box-07", kind="test")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"\xff", b"\xef\xbb\xbf{}", b"[" * 100_000, b"x" * 600_000, b"1", b'{"a": NaN}']
)
def test_rubbish_is_refused(body: bytes) -> None:
    """Not JSON, in another encoding, too deep, too large, no object; as an event, a state, a muster."""
    with pytest.raises(Refused):
        event_of(body, site="north", node="box-07", kind="test")
    with pytest.raises(Refused):
        state_of(body, site="north", node="box-07")
    with pytest.raises(Refused):
        muster_of(body, site="north", node="box-07")


def test_kind_of_a_newer_box_is_stored_like_any_other() -> None:
    """A consumer must not lose what it does not understand."""
    body = json.dumps({**KINDS["test"].example, "kind": "methane", "ppm": 5}).encode()
    assert 5 == event_of(body, site="north", node="box-07", kind="methane")["ppm"]


def test_states_and_musters_speak_of_their_own_box() -> None:
    """Whoever may publish for one box cannot speak for another."""
    state = {"site": "north", "node": "box-07", "online": True}
    assert state == state_of(json.dumps(state).encode(), site="north", node="box-07")
    assert MUSTER == muster_of(json.dumps(MUSTER).encode(), site="north", node="box-07")
    for change in ({"node": "box-08"}, {"online": 1}, {"online": None}):
        with pytest.raises(Refused):
            state_of(json.dumps({**state, **change}).encode(), site="north", node="box-07")
    for change in ({"node": "box-08"}, {"boot": 7}, {"mono_ns": 1 << 63}, {"wall_ms": "x"}):
        with pytest.raises(Refused):
            muster_of(json.dumps({**MUSTER, **change}).encode(), site="north", node="box-07")
    for site in ("a b", "ä", "x" * 33, ""):
        with pytest.raises(Refused):
            state_of(json.dumps({**state, "site": site}).encode(), site=site, node="box-07")


@pytest.mark.parametrize(
    ("wall_ms", "quality", "at_ms"),
    [
        (400, "sync", 400),
        (400, "holdover", 900),
        (None, "none", 900),
        (2000, "sync", 900),
        ("4", "sync", 900),
    ],
)
def test_what_a_broker_has_kept_is_as_old_as_a_disciplined_clock_says(
    wall_ms: Any, quality: str, at_ms: int
) -> None:
    """Never younger than its arrival; without such a clock nobody knows better than the arrival."""
    assert at_ms == said_at({"wall_ms": wall_ms, "wall_quality": quality}, 900)
