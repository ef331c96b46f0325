"""What stands retained: newest wins, everything again on a new connection."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.rig import Watcher, wait_until
from edge_app.clock import WallQuality, WallTime
from edge_app.delivery.event import EnvelopeContext
from edge_app.delivery.retained import Retained, muster_document
from edge_app.records import CameraState, PersonSeen, PresenceSnapshot
from tests.clocks import NOW_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.rig import Mosquitto
    from edge_app.delivery.service import Delivery

_SCADA = Path(__file__).resolve().parents[2] / "docs" / "scada.md"


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


def muster(people: int) -> PresenceSnapshot:
    """Return a snapshot of so many registered people before one camera."""
    now = 5_000_000_000_000
    seen = tuple(
        PersonSeen(
            person_ref=str(40000 + number),
            track=f"t{number}",
            zone="main-portal",
            camera="portal-in",
            first_seen_ns=now - 10**9 * number,
            last_seen_ns=now - 10**8 * number,
            score=0.71,
            since_ns=now - 10**9 * number,
        )
        for number in range(people)
    )
    return PresenceSnapshot(now, seen, (), (CameraState(camera="portal-in", zone="main-portal"),))


def test_a_muster_is_as_large_as_the_documentation_says() -> None:
    """Sent every second, it is what a thin link has to carry."""
    context = EnvelopeContext(site="mine-1", node="box-01", boot="0b7c2f9a-1111-4222-8333-444455556666")
    wall = WallTime(ms=NOW_MS, quality=WallQuality.SYNC)
    size = len(muster_document(context=context, snapshot=muster(100), wall=wall))
    (said,) = re.findall(r"with 100 people the muster has ([\d,]+) bytes", _SCADA.read_text("utf-8"))
    assert f"{size:,}" == said


@pytest.mark.mosquitto
def test_a_muster_is_told_at_most_once_a_second(
    mosquitto: Callable[..., Mosquitto], deliver: Callable[..., Delivery]
) -> None:
    """However often the count is made; of those in between the newest counts."""
    broker = mosquitto()
    watcher = Watcher(broker.port, topic="mine/+/v1/+/muster")
    delivery = deliver(broker.port)
    wait_until(lambda: delivery.status().connected, what="the connection")
    began = time.monotonic()
    for number in range(40):
        delivery.publish_muster(muster(number))
        time.sleep(0.06)
    wait_until(
        lambda: bool(watcher.arrivals) and watcher.arrivals[-1].event["headcount"] == 39, what="the last"
    )
    assert 2 <= len(watcher.arrivals) <= 2 + (time.monotonic() - began)
    watcher.close()
