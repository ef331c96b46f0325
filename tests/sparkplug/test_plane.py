"""The plane on a real broker: sessions, commands, the primary host, outages, and what goes over the wire."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from benchmarks.rig import Mosquitto, free_port, wait_until
from edge_app.clock import SystemClock
from edge_app.records import Event
from edge_app.sparkplug import sparkplug_b_pb2 as pb
from tests.sparkplug.hosts import GROUP, NODE, SparkplugHost, value_of
from tests.sparkplug.wire import CONNECT, DISCONNECT, PUBLISH, SUBSCRIBE, Packet, Tap

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_app.sparkplug.plane import SparkplugPlane

    Start = Callable[..., SparkplugPlane]

pytestmark = pytest.mark.mosquitto


def sighting(camera: str = "cam1", **data: Any) -> Event:
    """Return a sighting as the box submits it."""
    fields = {"decision": "named", "person_ref": "CARD-1", "score": 0.7, "quality": 0.5, "track": "t1"}
    return Event("sighting", SystemClock().mono_ns(), camera=camera, zone="z1", data={**fields, **data})


def bdseq_of(packet: Packet) -> int:
    """Return the bdSeq in a certificate."""
    payload = pb.Payload.FromString(packet.payload)
    return next(int(metric.long_value) for metric in payload.metrics if metric.name == "bdSeq")


@pytest.mark.tck(
    "principles-persistence-clean-session-50",
    "message-flow-edge-node-birth-publish-will-message",
    "message-flow-edge-node-birth-publish-will-message-topic",
    "message-flow-edge-node-birth-publish-will-message-payload",
    "message-flow-edge-node-birth-publish-will-message-qos",
    "message-flow-edge-node-birth-publish-will-message-will-retained",
    "payloads-ndeath-will-message",
    "payloads-ndeath-will-message-qos",
    "payloads-ndeath-will-message-retain",
    "topics-nbirth-bdseq-matching",
    "payloads-nbirth-bdseq-repeat",
)
def test_the_connection_starts_clean_with_the_death_certificate_as_its_will(
    start: Start, tap: Tap, host: SparkplugHost
) -> None:
    """QoS 1, not retained, and with the number that the birth then carries."""
    start(tap.port)
    host.wait("DBIRTH", 2)
    (connect,) = tap.of(CONNECT)

    assert (True, 0, True) == (connect.clean_start, connect.session_expiry, connect.has_will)
    assert (f"spBv1.0/{GROUP}/NDEATH/{NODE}", 1, False) == (connect.topic, connect.qos, connect.retain)
    assert bdseq_of(connect) == bdseq_of(tap.of(PUBLISH)[0])


@pytest.mark.tck(
    "message-flow-edge-node-ncmd-subscribe",
    "message-flow-device-dcmd-subscribe",
    "message-flow-edge-node-birth-publish-connect",
    "message-flow-device-birth-publish-nbirth-wait",
    "principles-birth-certificates-order",
    "payloads-dbirth-order",
    "payloads-ndata-order",
    "payloads-ddata-order",
)
def test_it_subscribes_then_is_born_then_reports(start: Start, tap: Tap, host: SparkplugHost) -> None:
    """Commands at QoS 1 first; NBIRTH, every DBIRTH, and no data before them."""
    plane = start(tap.port)
    plane.observe(sighting())
    host.wait("DDATA")
    packets = tap.of(CONNECT, SUBSCRIBE, PUBLISH)

    assert [CONNECT, SUBSCRIBE, PUBLISH, PUBLISH, PUBLISH] == [packet.kind for packet in packets[:5]]
    commands = [f"spBv1.0/{GROUP}/{t}" for t in ("NCMD/box-1", "DCMD/box-1/cam1", "DCMD/box-1/cam2")]
    assert [(topic, 1) for topic in commands] == packets[1].filters
    verbs = [packet.topic.split("/")[2] for packet in packets[2:]]
    assert ["NBIRTH", "DBIRTH", "DBIRTH"] == verbs[:3]
    assert {"NDATA", "DDATA"} >= set(verbs[3:])


@pytest.mark.tck(
    "topics-nbirth-mqtt",
    "topics-dbirth-mqtt",
    "topics-ndata-mqtt",
    "topics-ddata-mqtt",
    "topics-ddeath-mqtt",
    "payloads-nbirth-qos",
    "payloads-nbirth-retain",
    "payloads-dbirth-qos",
    "payloads-dbirth-retain",
    "payloads-ndata-qos",
    "payloads-ndata-retain",
    "payloads-ddata-qos",
    "payloads-ddata-retain",
    "message-flow-edge-node-birth-publish-nbirth-qos",
    "message-flow-edge-node-birth-publish-nbirth-retained",
    "message-flow-device-birth-publish-dbirth-qos",
    "message-flow-device-birth-publish-dbirth-retained",
)
def test_everything_but_the_death_certificate_is_qos_0_and_not_retained(
    start: Start, tap: Tap, host: SparkplugHost
) -> None:
    """On the wire, one message of each kind."""
    plane = start(tap.port)
    host.wait("DBIRTH", 2)
    plane.observe(sighting())
    alarm = {"id": "camera_blind.cam2", "state": "active", "since_ns": 1}
    blind = {"reason": "no_picture", "alarm": alarm}
    plane.observe(Event("camera_blind", SystemClock().mono_ns(), camera="cam2", zone="z2", data=blind))
    host.wait("DDEATH", device="cam2")
    host.wait_value("Alarms/Standing", "camera_blind.cam2")

    published = tap.of(PUBLISH)
    assert {"NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH"} == {p.topic.split("/")[2] for p in published}
    assert {(0, False)} == {(packet.qos, packet.retain) for packet in published}


@pytest.mark.tck(
    "topics-nbirth-bdseq-increment",
    "topic-structure-namespace-valid-edge-node-id",
)
def test_every_connection_has_the_next_number_also_after_a_restart(
    start: Start, tap: Tap, host: SparkplugHost
) -> None:
    """From 0; in the will and in the birth."""
    first = start(tap.port)
    host.wait("NBIRTH", 1)
    tap.cut()
    host.wait("NBIRTH", 2)
    assert first.stop()
    start(tap.port)
    host.wait("NBIRTH", 3)

    births = [packet for packet in tap.of(PUBLISH) if "/NBIRTH/" in packet.topic]
    assert [0, 1, 2] == [bdseq_of(packet) for packet in tap.of(CONNECT)]
    assert [0, 1, 2] == [bdseq_of(packet) for packet in births]


def test_a_node_that_dies_is_buried_by_the_broker(start: Start, tap: Tap, host: SparkplugHost) -> None:
    """The link is cut: the will arrives, and says which connection is dead."""
    start(tap.port)
    host.wait("NBIRTH")
    tap.cut()
    death = host.wait("NDEATH")

    assert [("bdSeq", 0)] == [(metric.name, metric.long_value) for metric in death.payload.metrics]
    assert 1 == value_of(host.wait("NBIRTH", 2).payload.metrics[0])


@pytest.mark.tck(
    "operational-behavior-edge-node-intentional-disconnect-ndeath",
    "operational-behavior-edge-node-intentional-disconnect-packet",
    "payloads-ndeath-will-message-publisher",
    "payloads-ndeath-will-message-publisher-disconnect-mqtt50",
)
def test_a_stop_says_goodbye(start: Start, tap: Tap, host: SparkplugHost) -> None:
    """The death certificate, and at once a DISCONNECT that asks for the will as well."""
    plane = start(tap.port)
    host.wait("DBIRTH", 2)
    assert plane.stop()
    host.wait("NDEATH")
    wait_until(lambda: bool(tap.of(DISCONNECT)), what="DISCONNECT")

    death, bye = tap.of(PUBLISH, DISCONNECT)[-2:]
    assert (f"spBv1.0/{GROUP}/NDEATH/{NODE}", 0) == (death.topic, bdseq_of(death))
    assert (DISCONNECT, 0x04) == (bye.kind, bye.reason)
    assert not death.retain


@pytest.mark.tck(
    "operational-behavior-data-commands-rebirth-action-1",
    "operational-behavior-data-commands-rebirth-action-2",
    "operational-behavior-data-commands-rebirth-action-3",
)
def test_a_rebirth_repeats_all_certificates_with_the_same_number(start: Start, host: SparkplugHost) -> None:
    """No data between the command and the births; the sequence begins again."""
    plane = start(host.client.port)
    host.wait("DBIRTH", 2)
    time.sleep(1.1)
    for n in range(50):
        plane.observe(sighting(score=n / 100))
    host.command(("Node Control/Rebirth", True))
    host.wait("DBIRTH", 4)
    second = host.edge().index(host.of("NBIRTH")[1])
    verbs = [message.verb for message in host.edge()[second : second + 3]]

    assert ["NBIRTH", "DBIRTH", "DBIRTH"] == verbs
    assert [0, 1, 2] == [message.payload.seq for message in host.edge()[second : second + 3]]
    assert [0, 0] == [value_of(message.payload.metrics[0]) for message in host.of("NBIRTH")]


def test_rebirths_asked_for_a_hundred_times_happen_once_a_second(start: Start, host: SparkplugHost) -> None:
    """A command is not authenticated: it must not make the node shout."""
    start(host.client.port)
    host.wait("DBIRTH", 2)
    began = time.monotonic()
    for _ in range(100):
        host.command(("Node Control/Rebirth", True))
    host.wait("NBIRTH", 2)
    wait_until(lambda: time.monotonic() - began > 2.5, what="two and a half seconds")

    assert len(host.of("NBIRTH")) <= 5


def test_a_camera_can_be_asked_for_its_certificate(start: Start, host: SparkplugHost) -> None:
    """Its own alone."""
    start(host.client.port)
    host.wait("DBIRTH", 2)
    host.command(("Device Control/Rebirth", True), device="cam2")
    host.wait("DBIRTH", 2, device="cam2")

    assert (1, 1) == (len(host.of("NBIRTH")), len(host.of("DBIRTH", "cam1")))


@pytest.mark.parametrize("device", [None, "cam1"])
def test_commands_that_nobody_may_give_are_refused_and_counted(
    start: Start, host: SparkplugHost, device: str | None
) -> None:
    """False, other metrics, other types, no metrics, bytes that are no payload: nothing is done."""
    plane = start(host.client.port)
    host.wait("DBIRTH", 2)
    topic = f"spBv1.0/{GROUP}/NCMD/{NODE}" if device is None else f"spBv1.0/{GROUP}/DCMD/{NODE}/{device}"
    name = "Node Control/Rebirth" if device is None else "Device Control/Rebirth"
    host.command((name, False), device=device)
    wrong = pb.Payload()
    wrong.metrics.add(name=name, string_value="true")
    wrong.metrics.add(name="Zone", string_value="x")
    hostile = [
        *(b"", b"\x00", b"\xff" * 1000, b"[" * 5000, b'{"metrics":[]}', b"\x12" * 60_000),
        *(b"\x12\x06\x0a\x04\xff\xfe\xfd\xfc", b"\x08" + b"\xff" * 9 + b"\x7f", wrong.SerializeToString()),
    ]
    for payload in hostile:
        host.publish(topic, payload)
    wait_until(lambda: plane.status.refused >= len(hostile), what="refusals")
    plane.observe(sighting())
    host.wait_value("Sighting/Person", "CARD-1", device="cam1")

    assert (1, 2) == (len(host.of("NBIRTH")), len(host.of("DBIRTH")))
    assert 1 == plane.status.connects


def test_a_command_too_large_for_the_node_does_not_end_its_session(start: Start, host: SparkplugHost) -> None:
    """The broker is told the largest packet; it drops the rest."""
    plane = start(host.client.port)
    host.wait("DBIRTH", 2)
    host.publish(f"spBv1.0/{GROUP}/NCMD/{NODE}", b"\x12" * 1_000_000)
    plane.observe(sighting())
    host.wait_value("Sighting/Person", "CARD-1", device="cam1")

    assert 1 == plane.status.connects


def test_an_outage_is_told_afterwards_as_history(start: Start, tap: Tap, host: SparkplugHost) -> None:
    """What happened while the broker was away, in order, flagged, after the births."""
    plane = start(tap.port, reconnect_max_s=1.0)
    host.wait("DBIRTH", 2)
    target, tap.target = tap.target, free_port()
    tap.cut()
    wait_until(lambda: not plane.status.connected, what="the loss of the connection")
    for n in range(120):
        plane.observe(sighting(score=n / 1000, track=f"t{n}"))
    wait_until(lambda: not plane._inbox, what="the plane taking them")
    tap.target = target
    host.wait("DBIRTH", 4)

    def historical() -> list[Any]:
        after = host.edge()[host.edge().index(host.of("NBIRTH")[1]) :]
        return [m for one in after if one.device == "cam1" for m in one.payload.metrics if m.is_historical]

    tracks = [f"t{n}" for n in range(120)]
    wait_until(
        lambda: [m.string_value for m in historical() if m.string_value in tracks] == tracks, what="history"
    )
    birth = host.of("DBIRTH", "cam1")[1]
    assert "t119" == next(m.string_value for m in birth.payload.metrics if m.name == "Sighting/Track")
    assert plane.status.births == 2


def test_an_unreachable_broker_delays_nobody(start: Start) -> None:
    """Whoever reports to the plane returns at once, its stop is quick, and one line says what is wrong."""
    with structlog.testing.capture_logs() as said:
        plane = start(free_port())
        began = time.monotonic()
        for n in range(5000):
            plane.observe(sighting(score=n / 10_000))

        assert time.monotonic() - began < 2.0
        wait_until(lambda: len(said) >= 3, what="three attempts")
        assert plane.stop(5)
    down = [one for one in said if one["event"] == "sparkplug_down"]
    assert ["warning", "debug", "debug"] == [one["log_level"] for one in down[:3]]
    assert "refused: nothing listens there" == down[0]["reason"]


def test_what_cannot_be_read_is_a_fault_of_its_own(start: Start, host: SparkplugHost) -> None:
    """An event that lacks a field does not reach whoever submitted it."""
    plane = start(host.client.port)
    plane.observe(Event("sighting", 1, camera="cam1", zone="z", data={}))
    assert 1 == plane.status.faults
    plane.status.faults = 0
    plane.observe(sighting())

    host.wait_value("Sighting/Person", "CARD-1", device="cam1")


@pytest.mark.tck(
    "message-flow-edge-node-birth-publish-phid-wait",
    "message-flow-edge-node-birth-publish-phid-wait-id",
    "operational-behavior-primary-application-state-with-multiple-servers-state-subs",
)
def test_with_a_primary_host_it_waits_for_that_hosts_word(
    start: Start, tap: Tap, host: SparkplugHost
) -> None:
    """Another host's word does not count, nor does one that says it is away."""
    plane = start(tap.port, primary_host="scada")
    other = SparkplugHost(host.client.port, host_id="other")
    other.state(online=True)
    host.state(online=False)
    wait_until(lambda: bool(tap.of(SUBSCRIBE)), what="SUBSCRIBE")
    plane.observe(sighting())
    time.sleep(0.6)
    silent = [packet.topic for packet in tap.of(PUBLISH)]
    host.state(online=True)
    host.wait("DBIRTH", 2)
    other.close()

    assert ("spBv1.0/STATE/scada", 1) in tap.of(SUBSCRIBE)[0].filters
    assert [] == silent


@pytest.mark.tck(
    "message-flow-edge-node-birth-publish-phid-offline",
    "operational-behavior-edge-node-termination-host-offline",
    "operational-behavior-edge-node-termination-host-offline-reconnect",
)
def test_when_the_primary_host_goes_it_dies_connects_again_and_waits(
    start: Start, tap: Tap, host: SparkplugHost
) -> None:
    """Death certificate, a new connection, and a birth only when the host is back."""
    stamp = host.state(online=True)
    start(tap.port, primary_host="scada")
    host.wait("DBIRTH", 2)
    host.state(online=False, timestamp=stamp - 1)  # the will of an earlier connection, late
    time.sleep(0.4)
    assert not host.of("NDEATH")

    host.state(online=False, timestamp=stamp)
    host.wait("NDEATH")
    wait_until(lambda: len(tap.of(CONNECT)) == 2, what="another connection")
    time.sleep(0.4)
    assert 1 == len(host.of("NBIRTH"))
    host.state(online=True, timestamp=stamp + 1)

    assert 1 == value_of(host.wait("NBIRTH", 2).payload.metrics[0])


@pytest.mark.tck(
    "operational-behavior-primary-application-state-with-multiple-servers-walk",
    "operational-behavior-primary-application-state-with-multiple-servers-single-server",
    "operational-behavior-edge-node-birth-sequence-wait",
)
def test_with_several_brokers_it_walks_to_the_one_where_the_host_is(
    start: Start, tmp_path: Path, tap: Tap, host: SparkplugHost
) -> None:
    """Born at the second, where the host is; never connected to both."""
    folder = tmp_path / "second"
    folder.mkdir()
    second = Mosquitto(folder).start()
    tap2 = Tap(second.port)
    try:
        host2 = SparkplugHost(second.port)
        host2.state(online=True)
        plane = start(tap.port, tap2.port, primary_host="scada")
        host2.wait("DBIRTH", 2)
        assert [] == host.edge()[:1] or "NDEATH" == host.edge()[0].verb
        assert [DISCONNECT] == [packet.kind for packet in tap.of(DISCONNECT, connection=0)]
        assert f"127.0.0.1:{tap2.port}" == plane.status.broker
        host.state(online=True)
        host2.state(online=False)
        host.wait("DBIRTH", 2)
        assert f"127.0.0.1:{tap.port}" == plane.status.broker
        plane.stop()
        host2.close()
    finally:
        tap2.close()
        second.stop()


def test_hostile_states_change_nothing(start: Start, host: SparkplugHost) -> None:
    """Wrong types, wrong encodings, deep and huge ones under the host's own topic."""
    host.state(online=True)
    plane = start(host.client.port, primary_host="scada")
    host.wait("DBIRTH", 2)
    for payload in (
        b"OFFLINE",
        b"\xff\xfe",
        b"[" * 5000,
        b"{}",
        b"null",
        b'{"online":"false"}',
        b"9" * 90_000,
    ):
        host.publish("spBv1.0/STATE/scada", payload)
    plane.observe(sighting())
    host.wait_value("Sighting/Person", "CARD-1", device="cam1")

    assert 1 == plane.status.connects


def test_a_broker_that_stops_answering_is_left(start: Start, broker: Mosquitto) -> None:
    """Half open: the keep-alive ends the connection, and the plane is stopped in time."""
    plane = start(broker.port, keepalive_s=1)
    wait_until(lambda: plane.status.born, what="a birth")
    broker.pause()
    wait_until(lambda: not plane.status.connected, timeout=15, what="the end of the connection")
    broker.resume()
    wait_until(lambda: plane.status.births == 2, timeout=15, what="another birth")


@pytest.mark.tck(
    "topic-structure-namespace-valid-group-id",
    "intro-group-id-string",
    "intro-group-id-chars",
    "intro-edge-node-id-string",
    "intro-edge-node-id-chars",
)
def test_a_group_may_have_any_letters(start: Start, host: SparkplugHost) -> None:
    """UTF-8 in the topic, as the broker's subscribers see it."""
    start(host.client.port, group_id="矿井 №1")
    host.wait("DBIRTH", 2)

    assert "spBv1.0/矿井 №1/NBIRTH/box-1" == host.of("NBIRTH")[0].topic
