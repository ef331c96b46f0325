"""What stands retained: newest wins, everything again on a new connection."""

from __future__ import annotations

from edge_app.delivery.retained import Retained


def drained(retained: Retained) -> list[tuple[str, bytes]]:
    """Return what would be published now."""
    out = []
    while (waiting := retained.next()) is not None:
        out.append(waiting)
        retained.sent(waiting[0])
    return out


def test_newest_payload_of_a_topic_wins() -> None:
    """One message a topic, however often it changed."""
    retained = Retained()
    for payload in (b"1", b"2", b"3"):
        retained.put("a", payload)
    retained.put("b", b"x")
    assert [("a", b"3"), ("b", b"x")] == drained(retained)
    assert ([], True) == (drained(retained), retained.idle)


def test_new_connection_gets_everything_again_the_named_one_first() -> None:
    """Also what was published long ago."""
    retained = Retained()
    for topic in ("muster", "state"):
        retained.put(topic, b"x")
    drained(retained)
    retained.all_again("state")
    assert ["state", "muster"] == [topic for topic, _ in drained(retained)]


def test_empty_payload_removes_once_and_is_not_repeated() -> None:
    """The broker forgets; so do we."""
    retained = Retained()
    retained.put("a", b"x")
    retained.put("a", b"")
    assert [("a", b"")] == drained(retained)
    retained.put("state", b"s")
    retained.all_again("state")
    assert ["state"] == [topic for topic, _ in drained(retained)]
