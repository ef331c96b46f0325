"""The edge node without a connection: certificates, data, history, and what each must say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_app.clock import WallQuality, WallTime
from edge_app.sparkplug import sparkplug_b_pb2 as pb
from edge_app.sparkplug.codec import Written
from edge_app.sparkplug.metrics import DEVICE_METRICS, NODE_METRICS, Change, camera_change
from edge_app.sparkplug.node import EdgeNode
from tests.sparkplug.hosts import Heard, value_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.sparkplug.node import Outgoing
    from edge_app.sparkplug.options import SparkplugOptions
    from tests.clocks import StoppedClock

NOW_MS = 1_750_000_000_000
DATA = Change(None, 1_000_000_000_000, {"Presence/Headcount": 3})


@pytest.fixture
def node(options: Callable[..., SparkplugOptions], clock: StoppedClock) -> EdgeNode:
    """Return a node with two cameras."""
    return EdgeNode(options=options(), clock=clock, software="dsr-edge 1")


def read(messages: list[Outgoing]) -> list[Heard]:
    """Return messages as a host would read them."""
    return [Heard(message.topic, message.payload, 0, retain=False) for message in messages]


def metrics(message: Heard) -> dict[str, Any]:
    """Return a certificate's metrics by name."""
    return {metric.name: metric for metric in message.payload.metrics}


def change(device: str | None, seconds: float, **values: Any) -> Change:
    """Return a change `seconds` after the clock's start; ``Sighting_Score`` is Sighting/Score."""
    named = {name.replace("_", "/"): value for name, value in values.items()}
    return Change(device, 1_000_000_000_000 + int(seconds * 1e9), named)


@pytest.mark.tck(
    "topics-nbirth-topic",
    "topics-dbirth-topic",
    "message-flow-edge-node-birth-publish-nbirth-topic",
    "message-flow-device-birth-publish-dbirth-topic",
    "message-flow-device-birth-publish-dbirth-match-edge-node-topic",
    "topic-structure",
    "topic-structure-namespace-a",
    "topic-structure-namespace-unique-device-id",
    "topic-structure-namespace-device-id-associated-message-types",
    "topic-structure-namespace-device-id-non-associated-message-types",
)
def test_the_node_is_born_first_and_then_each_camera_once(node: EdgeNode) -> None:
    """In the namespace of version 1.0, the devices below the node."""
    assert [
        "spBv1.0/Mine/NBIRTH/box-1",
        "spBv1.0/Mine/DBIRTH/box-1/cam1",
        "spBv1.0/Mine/DBIRTH/box-1/cam2",
    ] == [message.topic for message in node.birth(0)]


@pytest.mark.tck(
    "topics-nbirth-metric-reqs",
    "topics-nbirth-metrics",
    "topics-dbirth-metric-reqs",
    "topics-dbirth-metrics",
    "operational-behavior-data-publish-nbirth",
    "operational-behavior-data-publish-nbirth-values",
    "operational-behavior-data-publish-dbirth",
    "operational-behavior-data-publish-dbirth-values",
    "payloads-metric-datatype-req",
    "payloads-name-birth-data-requirement",
    "payloads-name-requirement",
)
def test_a_birth_names_every_metric_with_its_type_and_its_value_or_null(node: EdgeNode) -> None:
    """All that the tables hold, whether it has a value yet or not."""
    node.apply(change("cam1", 0, Sighting_Score=0.5))
    born = read(node.birth(0))

    for message, table in zip(born, (NODE_METRICS, DEVICE_METRICS, DEVICE_METRICS), strict=True):
        said = metrics(message)
        assert [(name, int(kind)) for name, kind, _ in table] == [(m.name, m.datatype) for m in said.values()]
        assert all(metric.HasField("timestamp") for metric in said.values())
        assert all(metric.is_null == (value_of(metric) is None) for metric in said.values())
    assert 0.5 == value_of(metrics(born[1])["Sighting/Score"])


@pytest.mark.tck("payloads-alias-birth-requirement", "payloads-alias-uniqueness")
def test_aliases_are_unique_in_the_whole_node(node: EdgeNode) -> None:
    """Over node and cameras; zero is left out, because some hosts take it for none."""
    every = [metric for message in read(node.birth(0)) for metric in message.payload.metrics]
    aliases = [metric.alias for metric in every if metric.HasField("alias")]

    assert len(every) - 1 == len(aliases) == len(set(aliases))
    assert 0 not in aliases
    assert all(metric.name for metric in every)


@pytest.mark.tck(
    "topics-nbirth-rebirth-metric",
    "payloads-nbirth-rebirth-req",
    "operational-behavior-data-commands-rebirth-name",
    "operational-behavior-data-commands-rebirth-name-aliases",
    "operational-behavior-data-commands-rebirth-datatype",
    "operational-behavior-data-commands-rebirth-value",
)
def test_the_birth_offers_a_rebirth(node: EdgeNode) -> None:
    """Boolean, false, and without an alias."""
    metric = metrics(read(node.birth(0))[0])["Node Control/Rebirth"]

    assert (11, False, "boolean_value") == (metric.datatype, metric.boolean_value, metric.WhichOneof("value"))
    assert not metric.HasField("alias")


@pytest.mark.tck(
    "topics-nbirth-bdseq-included",
    "payloads-nbirth-bdseq",
    "message-flow-edge-node-birth-publish-nbirth-payload-bdSeq",
    "topics-ndeath-payload",
    "topics-ndeath-seq",
    "payloads-ndeath-seq",
    "payloads-ndeath-bdseq",
    "topics-ndeath-topic",
    "message-flow-edge-node-birth-publish-will-message-payload-bdSeq",
)
def test_birth_and_death_carry_the_connections_number(node: EdgeNode) -> None:
    """As Int64; the death certificate holds nothing else, and no sequence number."""
    born = metrics(read(node.birth(200))[0])["bdSeq"]
    dead = read([node.death(200)])[0]

    assert (4, 200) == (born.datatype, born.long_value)
    assert "spBv1.0/Mine/NDEATH/box-1" == dead.topic
    assert [("bdSeq", 4, 200)] == [(m.name, m.datatype, m.long_value) for m in dead.payload.metrics]
    assert not dead.payload.HasField("seq")


@pytest.mark.tck(
    "topics-nbirth-seq-num",
    "payloads-nbirth-seq",
    "payloads-sequence-num-zero-nbirth",
    "message-flow-edge-node-birth-publish-nbirth-payload-seq",
    "message-flow-device-birth-publish-dbirth-payload-seq",
    "topics-dbirth-seq",
    "payloads-dbirth-seq",
    "payloads-dbirth-seq-inc",
    "topics-ndata-seq-num",
    "payloads-ndata-seq",
    "payloads-ndata-seq-inc",
    "topics-ddata-seq-num",
    "payloads-ddata-seq",
    "payloads-ddata-seq-inc",
    "topics-ddeath-seq-num",
    "payloads-ddeath-seq",
    "payloads-ddeath-seq-inc",
    "payloads-ddeath-seq-number",
    "payloads-sequence-num-always-included",
    "payloads-sequence-num-incrementing",
)
def test_messages_are_numbered_from_the_birth_on_and_wrap_after_255(node: EdgeNode) -> None:
    """Node and cameras, certificates and data share one number; a rebirth begins again at 0."""
    messages = node.birth(0)
    for n in range(300):
        messages += node.apply(change(None if n % 2 else "cam1", n, **{
            "Presence/Headcount" if n % 2 else "Sighting/Count": n + 1
        }))  # fmt: skip
    messages += node.apply(camera_change("cam2", 1, since=1, reason="no_picture"))
    again = read(node.birth(0))

    heard = read(messages)
    assert "DDEATH" == heard[-1].verb
    assert all(message.payload.HasField("seq") for message in heard)
    assert [n % 256 for n in range(len(messages))] == [message.payload.seq for message in heard]
    assert 300 < len(messages)
    assert [0, 1] == [message.payload.seq for message in again]


@pytest.mark.tck(
    "topics-ndata-topic",
    "topics-ddata-topic",
    "topics-ndata-payload",
    "topics-ddata-payload",
    "principles-rbe-recommended",
    "operational-behavior-data-publish-nbirth-change",
    "operational-behavior-data-publish-dbirth-change",
)
def test_data_says_what_changed_and_only_that(node: EdgeNode) -> None:
    """What is as it was is not repeated; a camera's changes go under the camera."""
    node.birth(0)
    first = read(node.apply(change(None, 1, Presence_Headcount=1, Presence_Named=1)))
    second = read(node.apply(change(None, 2, Presence_Headcount=2, Presence_Named=1)))
    third = node.apply(change(None, 3, Presence_Headcount=2, Presence_Named=1))
    camera = read(node.apply(change("cam2", 4, Sighting_Person="P")))

    assert ["spBv1.0/Mine/NDATA/box-1"] == [message.topic for message in first]
    assert [[1, 1], [2]] == [[m.long_value for m in one.payload.metrics] for one in (first[0], second[0])]
    assert [] == third
    assert ["spBv1.0/Mine/DDATA/box-1/cam2"] == [message.topic for message in camera]


@pytest.mark.tck("payloads-alias-data-cmd-requirement")
@pytest.mark.parametrize("say", [True, False])
def test_data_names_metrics_by_alias_alone(
    options: Callable[..., SparkplugOptions], clock: StoppedClock, say: bool
) -> None:
    """With the data type unless that is switched off."""
    node = EdgeNode(options=options(send_datatype=say), clock=clock, software="")
    alias = metrics(read(node.birth(0))[0])["Presence/Headcount"].alias
    (metric,) = read(node.apply(DATA))[0].payload.metrics

    assert (alias, False, 3) == (metric.alias, metric.HasField("name"), metric.long_value)
    assert (say, 4 if say else 0) == (metric.HasField("datatype"), metric.datatype)


@pytest.mark.tck("payloads-metric-datatype-not-req")
def test_the_type_can_be_left_out_of_data_as_the_specification_would_rather_have_it(
    options: Callable[..., SparkplugOptions], clock: StoppedClock
) -> None:
    """It SHOULD NOT be there; the default deviates for hosts that read null without it."""
    node = EdgeNode(options=options(send_datatype=False), clock=clock, software="")
    node.birth(0)

    assert not any(m.HasField("datatype") for m in read(node.apply(DATA))[0].payload.metrics)


@pytest.mark.tck(
    "topics-nbirth-timestamp",
    "topics-dbirth-timestamp",
    "topics-ndata-timestamp",
    "topics-ddata-timestamp",
    "payloads-nbirth-timestamp",
    "payloads-dbirth-timestamp",
    "payloads-ndata-timestamp",
    "payloads-ddata-timestamp",
    "payloads-ddeath-timestamp",
    "payloads-timestamp-in-UTC",
    "payloads-metric-timestamp-in-UTC",
)
def test_a_message_says_when_it_was_sent_and_a_metric_when_it_was_so(
    node: EdgeNode, clock: StoppedClock
) -> None:
    """UTC milliseconds, both; what happened earlier is dated earlier."""
    born = node.birth(0)
    late = change("cam1", -60, Sighting_Count=1)
    messages = read([*born, *node.apply(DATA), *node.apply(late)])
    messages += read(node.apply(camera_change("cam1", clock.now_ns, since=clock.now_ns, reason="gone")))

    assert {"NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH"} == {message.verb for message in messages}
    assert {NOW_MS} == {message.payload.timestamp for message in messages}
    assert NOW_MS - 60_000 == next(m for m in messages if m.verb == "DDATA").payload.metrics[0].timestamp


def test_without_a_believable_clock_times_count_from_the_boot(node: EdgeNode, clock: StoppedClock) -> None:
    """In order, obviously not a date, and Clock/Quality says so; a fix dates the past rightly."""
    clock.wall_time = WallTime(ms=None, quality=WallQuality.NONE)
    node.apply(change("cam1", -1, Sighting_Person="P"))
    assert 1_000_000 == read(node.birth(0))[0].payload.timestamp

    clock.wall_time = WallTime(ms=NOW_MS, quality=WallQuality.SYNC)
    (past,) = read(node.replay())
    assert [NOW_MS - 1000] == [metric.timestamp for metric in past.payload.metrics]


@pytest.mark.tck(
    "operational-behavior-data-publish-nbirth-order", "operational-behavior-data-publish-dbirth-order"
)
def test_what_changed_while_nobody_listened_is_told_as_history(node: EdgeNode, clock: StoppedClock) -> None:
    """After the births, oldest first, flagged; the births and what is live carry no flag and are in order."""
    for n in range(3):
        node.apply(change("cam1", n - 10, Sighting_Count=n + 1))
        node.apply(change(None, n - 10, Presence_Headcount=n + 1))
    born = read(node.birth(0))
    live = read(node.apply(change("cam1", 1, Sighting_Count=4)))
    past = []
    while message := node.replay():
        past += read(message)

    assert not any(m.is_historical for one in born + live for m in one.payload.metrics)
    assert all(m.is_historical for one in past for m in one.payload.metrics)
    assert {None: [1, 2, 3], "cam1": [1, 2, 3]} == {
        one.device: [m.long_value for m in one.payload.metrics] for one in past
    }
    times = [m.timestamp for m in past[0].payload.metrics]
    assert sorted(times) == times
    assert 3 == value_of(metrics(born[1])["Sighting/Count"])
    assert 0 == node.waiting


def test_too_much_history_loses_its_oldest_and_counts_them(
    options: Callable[..., SparkplugOptions], clock: StoppedClock
) -> None:
    """The lossless plane has them all; here memory is bounded."""
    node = EdgeNode(options=options(history=10), clock=clock, software="")
    for n in range(25):
        node.apply(
            change("cam1" if n % 2 else None, n, **{"Sighting/Count" if n % 2 else "Gallery/Version": n + 1})
        )
    born = read(node.birth(0))

    assert (10, 15) == (node.waiting, node.dropped)
    assert 15 == value_of(metrics(born[0])["Sparkplug/History Dropped"])
    node_past = read(node.replay())[0]
    assert [17, 19, 21, 23, 25] == [m.long_value for m in node_past.payload.metrics]


@pytest.mark.tck("operational-behavior-device-ddeath", "topics-ddeath-topic")
def test_a_lost_camera_dies_after_saying_why_and_is_born_when_it_returns(node: EdgeNode) -> None:
    """Nothing is published for it in between; that becomes history."""
    node.birth(0)
    lost = read(node.apply(camera_change("cam1", 5, since=4, reason="no_picture")))
    silent = node.apply(change("cam1", 6, Presence_Count=1))
    asked = node.rebirth_of("cam1")
    back = read(node.apply(camera_change("cam1", 7, since=None, reason=None)))
    past = read(node.replay())

    assert ["DDATA", "DDEATH"] == [message.verb for message in lost]
    assert "spBv1.0/Mine/DDEATH/box-1/cam1" == lost[1].topic
    assert ([], []) == (silent, asked)
    assert ["DBIRTH"] == [message.verb for message in back]
    assert (True, 1) == tuple(value_of(metrics(back[0])[name]) for name in ("Sees", "Presence/Count"))
    assert [True] == [m.is_historical for m in past[0].payload.metrics]


def test_a_dark_camera_stays(node: EdgeNode) -> None:
    """It is connected, and says that it is blind."""
    node.birth(0)

    assert ["DDATA"] == [m.verb for m in read(node.apply(camera_change("cam1", 5, since=4, reason="dark")))]


def test_a_camera_that_is_lost_before_the_birth_is_not_born(node: EdgeNode) -> None:
    """Its devices are those that are there."""
    node.apply(camera_change("cam1", 5, since=4, reason="no_picture"))

    assert ["box-1", "cam2"] == [message.topic.split("/")[-1] for message in node.birth(0)]


def test_an_unknown_camera_is_not_reported(node: EdgeNode) -> None:
    """Whoever names it: it is in no birth certificate."""
    node.birth(0)

    assert [] == node.apply(change("cam9", 0, Sighting_Count=1))


def test_what_drifts_is_told_again_when_it_has_changed_by_its_dead_band(node: EdgeNode) -> None:
    """Free megabytes differ every five seconds: a day without a host was full of them."""
    told = []
    node.birth(0)
    for second, free in enumerate((1000, 999, 990, 981, 979, 978, 960, 0, 1)):
        told += read(node.apply(Change(None, int(second * 1e9), {"Health/Disk Free": free})))
    assert [1000, 979, 0, 1] == [one.payload.metrics[0].long_value for one in told]
    node.apply(Change(None, 10**10, {"Health/Disk Free": None}))
    node.apply(Change(None, 10**10, {"Health/Disk Free": 500}))
    assert [] == node.apply(Change(None, 10**10, {"Health/Disk Free": 495}))
    (born, *_) = read(node.birth(1))
    assert 495 == metrics(born)["Health/Disk Free"].long_value


def test_a_command_finds_a_metric_by_name_or_alias(node: EdgeNode) -> None:
    """And no other, whatever it asks for."""
    alias = metrics(read(node.birth(0))[1])["Device Control/Rebirth"].alias

    assert "Device Control/Rebirth" == node.written("cam1", Written(None, alias, True))
    assert "Node Control/Rebirth" == node.written(None, Written("Node Control/Rebirth", None, True))
    assert node.written(None, Written(None, None, True)) is None
    assert node.written(None, Written("", None, True)) is None
    assert node.written("cam9", Written("Zone", None, "x")) is None


@pytest.mark.tck(
    "message-flow-edge-node-birth-publish-nbirth-payload", "message-flow-device-birth-publish-dbirth-payload"
)
def test_certificates_are_protobuf_of_the_payload_definition(node: EdgeNode) -> None:
    """Read and written again, they are the same bytes: no field that the definition lacks."""
    for message in node.birth(0):
        payload = pb.Payload.FromString(message.payload)
        assert message.payload == payload.SerializeToString(deterministic=True)
