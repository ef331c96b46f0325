"""The fault harness itself: what it counts, what its proxy does, and that its processes die when killed."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from benchmarks.chaos.table import Row, counted, not_done, print_table
from benchmarks.processes.nursery import Nursery
from benchmarks.proxy import FaultProxy
from benchmarks.rig import Watcher, order_violations, violations, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.rig import Mosquitto
    from edge_app.delivery.service import Delivery
    from edge_app.records import Event


def came(
    seq: int, *, priority: int = 2, kind: str = "sighting", node: str = "box-1", **more: Any
) -> dict[str, Any]:
    """Return an event as it arrives."""
    return {"id": f"{node}-{seq}", "seq": seq, "priority": priority, "kind": kind, "node": node, **more}


def test_only_a_late_first_arrival_breaks_the_order() -> None:
    """Copies do not, nor another priority or box."""
    assert 0 == order_violations([came(1), came(2), came(1), came(3)])
    assert 0 == order_violations([came(2), came(1, priority=0), came(1, node="box-2")])
    assert [("box-1", 2, 2, 3)] == violations([came(1), came(3), came(2), came(4)])


def test_row_counts_what_is_missing_and_not_reported() -> None:
    """Three committed events did not come; a gap tells of two of them."""
    ids = [f"box-1-{n}" for n in range(1, 7)]
    gap = came(7, priority=0, kind="gap", from_seq=4, to_seq=6, lost=2)
    row = counted("x", times=1, committed=ids, events=[came(1), came(2), came(3), came(3), gap, gap])
    assert (6, 4, 2, 1, 0) == (row.committed, row.received, row.copies, row.lost, row.order)
    assert not row.holds
    assert "2 reported lost" in row.note


def test_gap_of_an_unknown_number_explains_every_missing_event() -> None:
    """A file of which nothing could be read: nobody can say how many."""
    gap = came(7, priority=0, kind="gap", from_seq=1, to_seq=6, lost=None)
    row = counted("x", times=1, committed=["box-1-1"], events=[gap])
    assert (0, True) == (row.lost, row.holds)
    assert "unknown number" in row.note


@pytest.mark.parametrize(
    ("row", "status", "said"),
    [
        (Row(fault="x", committed=5, received=5), 0, "ok"),
        (Row(fault="x", committed=5, lost=1), 1, "BROKEN"),
        (Row(fault="x", order=1), 1, "BROKEN"),
        (Row(fault="x", failed=True), 1, "BROKEN"),
        (not_done("x", "needs root"), 0, "not done: needs root"),
    ],
)
def test_table_says_what_held(row: Row, status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is that of the worst row; what could not be tried is said, not counted."""
    assert status == print_table([row])
    assert said in capsys.readouterr().out


@pytest.fixture
def echo() -> Iterator[int]:
    """Return the port of a server that sends back two PUBACKs and then what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        near, _ = server.accept()
        with near:
            near.sendall(b"\x40\x02\x00\x01\x40\x02\x00\x02")
            near.sendall(near.recv(100))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.close()
    thread.join(2)


def test_proxy_refuses_every_second_puback_and_nothing_else(echo: int) -> None:
    """The second becomes "quota exceeded" (0x97) with its packet id; other bytes pass as they are."""
    proxy = FaultProxy(echo)
    proxy.say_later = 2
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        got = b""
        while len(got) < 9:
            got += client.recv(100)
        client.sendall(b"\x40\x02hello")
        rest = client.recv(100)
    proxy.close()
    assert b"\x40\x02\x00\x01\x40\x03\x00\x02\x97" == got
    assert (b"\x40\x02hello", 1) == (rest, proxy.refusals)


@pytest.mark.mosquitto
def test_broker_that_says_quota_exceeded_gets_everything_later(
    mosquitto: Callable[..., Mosquitto], deliver: Callable[..., Delivery], event: Callable[..., Event]
) -> None:
    """Refused for now: sent again after a pause, from there on; nothing is parked, nothing is lost."""
    broker = mosquitto()
    watcher = Watcher(broker.port)
    proxy = FaultProxy(broker.port)
    proxy.say_later = 7
    delivery = deliver(proxy.port)
    ids = [str(delivery.submit(event("sighting"))) for _ in range(10)]
    wait_until(lambda: set(ids) <= {one["id"] for one in watcher.events()}, timeout=30, what="arrival")
    wait_until(lambda: proxy.refusals >= 1, timeout=30, what="a refusal")
    wait_until(lambda: not any(delivery.contains(UUID(one)) for one in ids), timeout=30, what="deletion")
    assert (0, 0) == (delivery.status().parked, order_violations(watcher.events()))
    proxy.close()
    watcher.close()


def test_forked_process_prints_where_it_was_told_and_dies_when_killed(tmp_path: Path) -> None:
    """A box that can reach no broker runs until it is killed, and leaves no zombie, or the nursery ends."""
    nursery, boxes = Nursery(), []
    for name in ("a", "b"):
        output = tmp_path / name
        words = ["--outbox", f"{output}.db", "--port", "1", "--ledger", f"{output}.ledger"]
        boxes.append(nursery.fork("box", words, output=output))
        wait_until(lambda to=output: to.exists() and to.read_bytes() == b"ready\n", timeout=30, what="start")
    assert boxes[0].is_alive()
    boxes[0].kill()
    boxes[0].wait(10)
    assert boxes[1].is_alive()
    nursery.close()
    left = Path(f"/proc/{boxes[1].pid}/stat")
    wait_until(lambda: not left.exists() or ") Z " in left.read_text(encoding="ascii"), what="the end of all")
