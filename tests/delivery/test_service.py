"""Delivery against a real mosquitto: what arrives, what stands, what is refused."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.rig import Watcher, free_port, order_violations, wait_until
from edge_app.clock import WallQuality, WallTime
from edge_app.delivery.event import EventError
from edge_app.delivery.options import BrokerOptions, ConsumerOptions
from edge_app.delivery.receipts import make_receipt
from edge_app.delivery.spool import put
from edge_app.delivery.uuid7 import Uuid7Maker
from edge_app.errors import OutboxError, OutboxLocked
from edge_app.records import CameraState, PersonSeen, PresenceSnapshot
from tests.delivery.consumer import Consumer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.rig import Mosquitto
    from edge_app.delivery.service import Delivery
    from edge_app.records import Event

    Broker = Callable[..., Mosquitto]
    Deliver = Callable[..., Delivery]
    Events = Callable[..., Event]

pytestmark = pytest.mark.mosquitto
BASE = "mine/north/v1/box-1"


def kinds(watcher: Watcher) -> list[str]:
    """Return the kinds that arrived, in order, without the clock's."""
    return [event["kind"] for event in watcher.events() if event["kind"] != "time_fix"]


def test_committed_events_arrive_in_order_and_leave_the_outbox(
    mosquitto: Broker, deliver: Deliver, event: Events
) -> None:
    """500 events, link up: every one once, in order, within a second; the outbox is empty after it."""
    broker = mosquitto()
    watcher = Watcher(broker.port)
    delivery = deliver(broker.port)
    wait_until(lambda: delivery.status().connected, what="connection")
    ids = [str(delivery.submit(event("sighting"))) for _ in range(500)]
    assert delivery.flush()
    taken = wait_until(lambda: kinds(watcher).count("sighting") == 500, what="arrival of 500 events")
    assert ids == [e["id"] for e in watcher.events() if e["kind"] == "sighting"]
    wait_until(lambda: delivery.status().waiting == 0, what="deletion")
    assert (0, 0) == (order_violations(watcher.events()), delivery.status().lost)
    assert taken < 5
    watcher.close()


def test_unreachable_broker_at_start_is_no_error_and_alarms_go_first_when_it_comes(
    mosquitto: Broker, deliver: Deliver, event: Events
) -> None:
    """Recorded meanwhile; then alarms, presence, sightings, health; marked as replay."""
    port = free_port()
    delivery = deliver(port)
    for kind in ("test", "sighting", "presence", "alarm", "sighting", "alarm"):
        delivery.submit(event(kind))
    assert delivery.flush()
    wait_until(lambda: delivery.status().last_error is not None, what="an error in the status")
    assert "refused" in str(delivery.status().last_error).lower()
    assert not delivery.status().connected
    delivery.stop()
    broker = mosquitto(port=port)
    watcher = Watcher(broker.port)
    deliver(port)
    wait_until(lambda: len(kinds(watcher)) == 6, what="arrival")
    assert ["alarm", "alarm", "presence", "sighting", "sighting", "test"] == kinds(watcher)
    assert {True} == {a.replay for a in watcher.arrivals if "/evt/" in a.topic}
    watcher.close()


def test_second_delivery_on_one_outbox_is_refused(mosquitto: Broker, deliver: Deliver) -> None:
    """Two daemons on one outbox: the second gets a message that names the first."""
    deliver(mosquitto().port)
    with pytest.raises(OutboxLocked, match=f"process {os.getpid()}"):
        deliver(free_port())


def test_state_stands_retained_and_says_goodbye(mosquitto: Broker, deliver: Deliver) -> None:
    """Online while it runs; stopped after a stop; both retained, so that late subscribers know."""
    broker = mosquitto()
    delivery = deliver(broker.port)
    early = Watcher(broker.port, topic=f"{BASE}/state")
    wait_until(lambda: early.last("/state") is not None, what="state")
    assert True is json.loads(early.last("/state").payload)["online"]  # type: ignore[union-attr]
    assert delivery.stop()
    late = Watcher(broker.port, topic=f"{BASE}/state")
    wait_until(lambda: late.last("/state") is not None, what="goodbye")
    state = json.loads(late.last("/state").payload)  # type: ignore[union-attr]
    assert (False, "stopped") == (state["online"], state["reason"])
    early.close()
    late.close()


def test_alarm_stands_retained_until_it_is_cleared(
    mosquitto: Broker, deliver: Deliver, event: Events
) -> None:
    """A late subscriber sees the standing alarm, and not the cleared one."""
    broker = mosquitto()
    delivery = deliver(broker.port)
    delivery.submit(event("alarm"))
    watcher = Watcher(broker.port, topic=f"{BASE}/alarms/#")
    wait_until(lambda: watcher.last("overstaffed.z1") is not None, what="retained alarm")
    alarm = watcher.last("overstaffed.z1")
    assert alarm is not None
    assert "active" == alarm.event["alarm"]["state"]
    delivery.submit(event("alarm", alarm={"id": "overstaffed.z1", "state": "cleared", "since_ns": 5}))
    wait_until(lambda: watcher.arrivals[-1].payload == b"", what="removal of the alarm")
    delivery.stop()
    late = Watcher(broker.port, topic=f"{BASE}/alarms/#")
    time.sleep(0.3)
    assert [] == late.arrivals
    watcher.close()
    late.close()


def test_alarm_raised_before_a_restart_still_stands(
    mosquitto: Broker, deliver: Deliver, event: Events
) -> None:
    """The next run publishes it again, and tells the presence stage of it."""
    broker = mosquitto()
    delivery = deliver(broker.port)
    delivery.submit(event("alarm"))
    delivery.stop()
    fresh = mosquitto()
    watcher = Watcher(fresh.port, topic=f"{BASE}/alarms/#")
    again = deliver(fresh.port)
    assert ("overstaffed.z1",) == again.standing_alarms()
    wait_until(lambda: watcher.last("overstaffed.z1") is not None, what="the alarm at the new broker")
    watcher.close()


def test_muster_stands_retained_and_can_be_an_event(mosquitto: Broker, deliver: Deliver) -> None:
    """Headcount, people, strangers and blind cameras; the newest wins."""
    broker = mosquitto()
    watcher = Watcher(broker.port)
    delivery = deliver(broker.port)
    wait_until(lambda: delivery.status().connected, what="connection")
    person = PersonSeen(
        person_ref="card-1",
        track="t1",
        zone="z1",
        camera="cam1",
        first_seen_ns=1,
        last_seen_ns=2_000_000,
        score=0.5,
    )
    blind = CameraState(camera="cam2", zone="z2", blind_since_ns=7, reason="dark")
    snapshot = PresenceSnapshot(mono_ns=9_000_000, people=(person,), unknown=(), cameras=(blind,))
    delivery.publish_muster(PresenceSnapshot(mono_ns=1, people=(), unknown=(), cameras=()))
    delivery.publish_muster(snapshot, as_event=True)
    wait_until(lambda: watcher.last("/muster") is not None and "muster" in kinds(watcher), what="muster")
    standing = json.loads(watcher.last("/muster").payload)  # type: ignore[union-attr]
    told = next(e for e in watcher.events() if e["kind"] == "muster")
    for muster in (standing, told):
        assert (1, "card-1", 7, False) == (
            muster["headcount"],
            muster["people"][0]["person_ref"],
            muster["people"][0]["age_ms"],
            muster["cameras"][0]["sees"],
        )
    watcher.close()


def test_event_that_does_not_fit_is_refused_at_submission(
    mosquitto: Broker, deliver: Deliver, event: Events
) -> None:
    """The caller hears of its mistake; delivery goes on."""
    delivery = deliver(mosquitto().port)
    with pytest.raises(EventError, match="colour is not a field"):
        delivery.submit(event("test", colour="red"))
    delivery.submit(event("test"))
    assert delivery.flush()


def test_submission_after_the_end_is_refused(mosquitto: Broker, deliver: Deliver, event: Events) -> None:
    """Nothing is taken that could not be committed."""
    delivery = deliver(mosquitto().port)
    delivery.stop()
    with pytest.raises(OutboxError, match="delivery has ended"):
        delivery.submit(event("test"))


@pytest.mark.parametrize("table", ["alarm", "meta", "boot", "loss", "outbox_parked"])
def test_damage_that_shows_only_after_opening_does_not_keep_the_box_from_starting(
    table: str, mosquitto: Broker, deliver: Deliver, event: Events, tmp_path: Path
) -> None:
    """The page of one small table is rubbish: the file is set aside and salvaged, and the box goes on."""
    import sqlite3

    recorder = deliver(free_port())
    for _ in range(20):
        recorder.submit(event("sighting"))
    recorder.stop()
    path = tmp_path / "outbox.db"
    database = sqlite3.connect(path)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    page = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    database.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\x5a" * 4096
    path.write_bytes(bytes(content))
    broker = mosquitto()
    watcher = Watcher(broker.port)
    deliver(broker.port)
    wait_until(lambda: kinds(watcher).count("sighting") == 20, timeout=20, what="the salvaged events")
    assert 0 == order_violations(watcher.events())
    watcher.close()


def test_outbox_that_is_deleted_during_an_outage_loses_nothing(
    mosquitto: Broker, deliver: Deliver, event: Events, tmp_path: Path
) -> None:
    """Somebody tidies up while the link is down: the file is back within a second, with all events."""
    path = tmp_path / "outbox.db"
    recorder = deliver(free_port())
    ids = [str(recorder.submit(event("sighting"))) for _ in range(20)]
    assert recorder.flush()
    path.unlink()
    wait_until(path.exists, timeout=5, what="the file put back")
    ids += [str(recorder.submit(event("sighting"))) for _ in range(5)]
    recorder.stop()
    broker = mosquitto()
    watcher = Watcher(broker.port)
    deliver(broker.port)
    wait_until(lambda: kinds(watcher).count("sighting") == 25, timeout=20, what="the events")
    assert ids == [e["id"] for e in watcher.events() if e["kind"] == "sighting"]
    assert "gap" not in kinds(watcher)
    watcher.close()


# -- receipts ----------------------------------------------------------------------------------------


def test_events_stay_until_the_consumer_receipts_them(
    mosquitto: Broker, deliver: Deliver, event: Events, key_file: Path
) -> None:
    """PUBACK deletes nothing; a forged receipt neither; the true one does."""
    broker = mosquitto()
    watcher = Watcher(broker.port)
    consumer = ConsumerOptions(id="surface", key_file=key_file)
    delivery = deliver(broker.port, consumers=(consumer,), receipt_timeout_s=60.0)
    wait_until(lambda: delivery.status().connected, what="connection")
    delivery.submit(event("test"))
    wait_until(lambda: kinds(watcher) == ["test"], what="arrival")
    ids = [e["id"] for e in watcher.events()]
    forged = make_receipt(key=b"x" * 32, site="north", node="box-1", consumer="surface", ids=ids)
    watcher.publish(f"{BASE}/rcpt", forged)
    wait_until(lambda: delivery.status().rejected_receipts == 1, what="refusal")
    time.sleep(0.6)
    assert len(ids) == delivery.status().waiting
    true = make_receipt(key=bytes.fromhex("ab" * 32), site="north", node="box-1", consumer="surface", ids=ids)
    watcher.publish(f"{BASE}/rcpt", true)
    wait_until(lambda: delivery.status().waiting == 0, what="deletion")
    watcher.close()


def test_event_without_receipt_comes_again_byte_for_byte(
    mosquitto: Broker, deliver: Deliver, event: Events, key_file: Path
) -> None:
    """The same bytes, at growing intervals; the status names the silent consumer."""
    broker = mosquitto()
    watcher = Watcher(broker.port)
    consumer = ConsumerOptions(id="surface", key_file=key_file)
    delivery = deliver(broker.port, consumers=(consumer,), receipt_timeout_s=0.3)
    wait_until(lambda: delivery.status().connected, what="connection")
    delivery.submit(event("test"))
    wait_until(lambda: kinds(watcher).count("test") >= 3, what="two redeliveries")
    bodies = {a.payload for a in watcher.arrivals if a.topic.endswith("/evt/test")}
    assert 1 == len(bodies)
    wait_until(lambda: "surface" in delivery.status().silent, what="a silent consumer in the status")
    watcher.close()


def test_receipting_consumer_drains_a_backlog_in_order(
    mosquitto: Broker, deliver: Deliver, event: Events, key_file: Path
) -> None:
    """3,000 recorded without a link, through a receipt window of 100: all arrive in order."""
    port = free_port()
    consumer = ConsumerOptions(id="surface", key_file=key_file)
    recorder = deliver(port, consumers=(consumer,))
    for number in range(3000):
        recorder.submit(event("presence" if number % 5 == 0 else "sighting"))
    recorder.stop()
    mosquitto(port=port)
    watcher = Consumer(port, at_once=True, tokens=False).watcher
    delivery = deliver(port, consumers=(consumer,), receipt_window=100, receipt_timeout_s=20.0)
    wait_until(
        lambda: delivery.status().connects == 1 and delivery.status().waiting == 0,
        timeout=30,
        what="draining",
    )
    assert (3000, 0) == (
        sum(e["kind"] in ("presence", "sighting") for e in {e["id"]: e for e in watcher.events()}.values()),
        order_violations(watcher.events()),
    )
    watcher.close()


def test_hostile_payloads_on_the_receipts_topic_do_nothing(
    mosquitto: Broker, deliver: Deliver, event: Events, key_file: Path
) -> None:
    """Binary, huge, deep, wrong types: counted, and the next event still goes."""
    broker = mosquitto()
    watcher = Watcher(broker.port)
    consumer = ConsumerOptions(id="surface", key_file=key_file)
    delivery = deliver(broker.port, consumers=(consumer,))
    wait_until(lambda: delivery.status().connected, what="connection")
    payloads = [
        b"",
        b"\0" * 100,
        os.urandom(5000),
        b"[" * 50_000,
        b"{}",
        b"x" * 100_000,
        b'{"v":1}',
        b"\xff\xfe{}",
    ]
    for payload in payloads:
        watcher.publish(f"{BASE}/rcpt", payload)
    wait_until(lambda: delivery.status().rejected_receipts == len(payloads), what="refusals")
    delivery.submit(event("test"))
    wait_until(lambda: "test" in kinds(watcher), what="the next event")
    watcher.close()


# -- a broker that refuses ---------------------------------------------------------------------------


def _acl(folder: Path, *, deny: str) -> tuple[str, str]:
    """Return settings for a broker on which anonymous clients may not publish `deny`."""
    path = folder / "acl"
    path.write_text(f"topic deny {deny}\ntopic readwrite mine/#\n", encoding="ascii")
    path.chmod(0o644)
    return (f"acl_file {path}", "allow_anonymous true")


def test_denied_events_are_parked_and_others_go(
    mosquitto: Broker, deliver: Deliver, event: Events, tmp_path: Path
) -> None:
    """Not authorised for one kind: parked with the reason, each tried once; presence still arrives."""
    broker = mosquitto(*_acl(tmp_path, deny=f"{BASE}/evt/sighting"))
    watcher = Watcher(broker.port)
    delivery = deliver(broker.port)
    wait_until(lambda: delivery.status().connected, what="connection")
    for _ in range(20):
        delivery.submit(event("sighting"))
        delivery.submit(event("presence"))
    wait_until(lambda: delivery.status().parked == 20, what="parking")
    wait_until(lambda: kinds(watcher).count("presence") == 20, what="presence")
    time.sleep(0.7)
    status = delivery.status()
    assert (20, 0) == (status.waiting, kinds(watcher).count("sighting"))
    assert "Not authorized" in str(status.last_error)
    assert status.published <= 42
    delivery.stop()
    allowed = mosquitto()
    late = Watcher(allowed.port)
    deliver(allowed.port)
    wait_until(lambda: kinds(late).count("sighting") == 20, what="parked events after permission")
    assert 0 == order_violations(late.events())
    watcher.close()
    late.close()


def test_answer_that_the_broker_denies_goes_to_the_boxs_own_topic(
    mosquitto: Broker, deliver: Deliver, tmp_path: Path
) -> None:
    """Whoever asked may have named a topic that the access list does not give to the box."""
    broker = mosquitto(*_acl(tmp_path, deny="mine/north/room/resp"))
    watcher = Watcher(broker.port, topic="mine/#")
    delivery = deliver(broker.port)
    wait_until(lambda: delivery.status().connected, what="connection")
    delivery.answer("mine/north/room/resp", b"42", b"7")
    wait_until(lambda: watcher.last("cmd/resp") is not None, what="the answer")
    assert b"42" == watcher.last("cmd/resp").payload
    refused = "mine/north/room/resp: broker refused: Not authorized"
    wait_until(lambda: refused in str(delivery.status().last_error), what="the reason")
    watcher.close()


def test_what_comes_after_a_denied_event_waits_behind_it(
    mosquitto: Broker, deliver: Deliver, event: Events, tmp_path: Path
) -> None:
    """Set aside untried, also by the next run; when the broker takes the oldest, all follow in order."""
    broker = mosquitto(*_acl(tmp_path, deny=f"{BASE}/evt/sighting"))
    delivery = deliver(broker.port)
    wait_until(lambda: delivery.status().connected, what="connection")
    delivery.submit(event("sighting"))
    wait_until(lambda: delivery.status().parked == 1, what="the denial")
    published = delivery.status().published
    for _ in range(10):
        delivery.submit(event("sighting"))
    wait_until(lambda: delivery.status().parked == 11, what="parking of the others")
    assert published == delivery.status().published
    delivery.stop()
    allowed = mosquitto()
    late = Watcher(allowed.port)
    again = deliver(allowed.port)
    for _ in range(10):
        again.submit(event("sighting"))
    wait_until(lambda: kinds(late).count("sighting") >= 21, what="all of them")
    assert 0 == order_violations(late.events())
    late.close()


def test_event_that_makes_the_broker_hang_up_does_not_block_the_others(
    mosquitto: Broker, deliver: Deliver, event: Events, tmp_path: Path
) -> None:
    """Mosquitto 2.0 with an unlimited queue closes the connection at a denied message: it becomes suspect."""
    broker = mosquitto(*_acl(tmp_path, deny=f"{BASE}/evt/presence"), "max_queued_messages 0")
    watcher = Watcher(broker.port)
    delivery = deliver(broker.port)
    delivery.submit(event("presence"))
    delivery.submit(event("test"))
    wait_until(lambda: "test" in kinds(watcher), timeout=20, what="the event behind it")
    assert (1, True) == (delivery.status().parked, "presence" not in kinds(watcher))
    watcher.close()


def test_event_larger_than_the_broker_allows_is_parked_not_fatal(
    mosquitto: Broker, deliver: Deliver, event: Events
) -> None:
    """Sending it would end the connection, for ever; it waits for a broker that takes it."""
    broker = mosquitto("max_packet_size 2000")
    watcher = Watcher(broker.port)
    delivery = deliver(broker.port)
    wait_until(lambda: delivery.status().connected, what="connection")
    delivery.submit(event("test", measures={"x": "y" * 3000}))
    delivery.submit(event("test"))
    wait_until(lambda: kinds(watcher) == ["test"], what="the small one")
    wait_until(lambda: delivery.status().parked == 1, what="parking")
    assert (1, 1) == (delivery.status().connects, delivery.status().waiting)
    delivery.stop()
    larger = mosquitto()
    late = Watcher(larger.port)
    deliver(larger.port)
    wait_until(lambda: "test" in kinds(late), what="the large one at a broker that takes it")
    watcher.close()
    late.close()


def test_wrong_password_is_said_and_tried_again(mosquitto: Broker, deliver: Deliver, tmp_path: Path) -> None:
    """The status says that the broker refused, and the box keeps trying."""
    users = tmp_path / "users"
    users.write_text("", encoding="ascii")
    users.chmod(0o644)
    broker = mosquitto("allow_anonymous false", f"password_file {users}")
    delivery = deliver(broker.port)
    wait_until(lambda: "Not authorized" in str(delivery.status().last_error), what="refusal in the status")
    assert 0 == delivery.status().connects


def test_password_file_open_to_others_is_refused(mosquitto: Broker, deliver: Deliver, tmp_path: Path) -> None:
    """A secret that others can read is not used."""
    secret = tmp_path / "password"
    secret.write_text("secret\n", encoding="ascii")
    secret.chmod(0o644)
    port = mosquitto().port
    options = BrokerOptions(host="127.0.0.1", port=port, username="box", password_file=secret)
    delivery = deliver(brokers=(options,))
    wait_until(lambda: "may be read by others" in str(delivery.status().last_error), what="refusal")
    secret.chmod(0o600)
    wait_until(lambda: delivery.status().connected, what="connection once it is closed")


def test_second_broker_is_used_when_the_first_is_away(mosquitto: Broker, deliver: Deliver) -> None:
    """In the order of the configuration."""
    second = mosquitto()
    delivery = deliver(free_port(), second.port)
    wait_until(lambda: delivery.status().broker == f"127.0.0.1:{second.port}", what="the second broker")


def test_client_that_shares_the_boxs_name_is_suspected(mosquitto: Broker, deliver: Deliver) -> None:
    """The broker closes the older connection without a word."""
    broker = mosquitto()
    delivery = deliver(broker.port)
    for connects in range(1, 5):
        wait_until(lambda n=connects: delivery.status().connects >= n, what="connection")  # type: ignore[misc]
        Watcher(broker.port, client_id="dsr-north-box-1", topic="x").close()
    hint = "again and again: does another client call itself dsr-north-box-1?"
    wait_until(lambda: hint in str(delivery.status().last_error), what="the suspicion")


def test_client_id_collision_does_not_become_a_storm(mosquitto: Broker, deliver: Deliver) -> None:
    """Another client with our id takes over the session again and again: we come back more slowly."""
    broker = mosquitto()
    delivery = deliver(broker.port, reconnect_max_s=5.0)
    wait_until(lambda: delivery.status().connected, what="connection")
    deadline = time.monotonic() + 4
    rivals = []
    while time.monotonic() < deadline:
        if delivery.status().connected:
            rivals.append(Watcher(broker.port, client_id="dsr-north-box-1", topic="x"))
            rivals[-1].client.disconnect()
        time.sleep(0.05)
    assert delivery.status().connects <= 8
    for rival in rivals:
        rival.close()


def test_what_was_recorded_under_another_name_is_set_aside_until_the_box_has_it_again(
    mosquitto: Broker, deliver: Deliver, event: Events
) -> None:
    """No consumer takes an event that names another box than its topic; what is behind it must go."""
    before = deliver(free_port())
    before.submit(event("test", note="old name"))
    before.stop()
    broker = mosquitto()
    watcher = Watcher(broker.port, topic="mine/#")
    renamed = deliver(broker.port, node="box-2")
    renamed.submit(event("test", note="new name"))
    notes = lambda: [e["note"] for e in watcher.events() if e["kind"] == "test"]  # noqa: E731
    wait_until(lambda: notes() == ["new name"], what="arrival")
    wait_until(lambda: renamed.status().parked == renamed.status().waiting > 0, what="parking")
    renamed.stop()
    deliver(broker.port)
    wait_until(lambda: notes() == ["new name", "old name"], what="arrival of what was set aside")
    watcher.close()


# -- clocks, spool -----------------------------------------------------------------------------------


def test_events_without_a_clock_are_dated_when_the_fix_comes(
    mosquitto: Broker, deliver: Deliver, event: Events, clock: Any
) -> None:
    """1970: null wall time, then time_fix with the offset that dates them."""
    import dataclasses

    from edge_app.clock import SystemClock

    class Clock(SystemClock):
        wall_time = WallTime(ms=None, quality=WallQuality.NONE)

        def wall(self) -> WallTime:
            return self.wall_time

    live = Clock()
    broker = mosquitto()
    watcher = Watcher(broker.port)
    delivery = deliver(broker.port, clock=live)
    wait_until(lambda: delivery.status().connected, what="connection")
    delivery.submit(dataclasses.replace(event("test"), mono_ns=live.mono_ns()))
    wait_until(lambda: "test" in kinds(watcher), what="undated event")
    undated = watcher.events()[0]
    assert (None, "none") == (undated["wall_ms"], undated["wall_quality"])
    assert "time_fix" not in [e["kind"] for e in watcher.events()]
    now = time.time_ns() // 1_000_000
    live.wall_time = WallTime(ms=now, quality=WallQuality.SYNC)
    wait_until(lambda: "time_fix" in [e["kind"] for e in watcher.events()], what="time_fix")
    fix = next(e for e in watcher.events() if e["kind"] == "time_fix")
    assert abs(undated["mono_ns"] / 1e6 + fix["offset_ms"] - now) < 5_000
    assert undated["boot"] == fix["boot"]
    watcher.close()


def test_spooled_event_is_committed_by_the_owner_and_marked_test(
    mosquitto: Broker, deliver: Deliver, event: Events, tmp_path: Path
) -> None:
    """What another process leaves in the spool arrives with the id of its file; rubbish is set aside."""
    broker = mosquitto()
    watcher = Watcher(broker.port)
    delivery = deliver(broker.port)
    event_id = Uuid7Maker().make(ms=1_750_000_000_000)
    path = put(tmp_path / "outbox.db", event("presence"), event_id=event_id)
    (path.parent / "rubbish.json").write_bytes(b"\xff" * 100)
    wrong = put(tmp_path / "outbox.db", event("test", colour="red"), event_id=Uuid7Maker().make(ms=5))
    wait_until(lambda: kinds(watcher) == ["presence"], what="arrival")
    got = next(e for e in watcher.events() if e["kind"] == "presence")
    assert (str(event_id), True) == (got["id"], got["test"])
    wait_until(lambda: not list(path.parent.glob("*.json")), what="an empty spool")
    assert {"rubbish.refused", wrong.with_suffix(".refused").name} == {p.name for p in path.parent.iterdir()}
    assert delivery.status().last_error is None
    watcher.close()
