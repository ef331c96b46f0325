"""A Sparkplug host for tests: it listens to a group, says whether it is online, and writes commands."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from benchmarks.rig import wait_until
from edge_app.sparkplug import sparkplug_b_pb2 as pb

HOST = "127.0.0.1"
GROUP, NODE = "Mine", "box-1"


@dataclass
class Heard:
    """One message as the host got it: its topic, the payload decoded, and how it was published."""

    topic: str
    raw: bytes
    qos: int
    retain: bool

    @property
    def verb(self) -> str:
        """NBIRTH, DDATA ..."""
        return self.topic.split("/")[2]

    @property
    def device(self) -> str | None:
        """The device of the topic."""
        parts = self.topic.split("/")
        return parts[4] if len(parts) == 5 else None

    @property
    def payload(self) -> Any:
        """The payload as protobuf's own classes read it."""
        return pb.Payload.FromString(self.raw)


def value_of(metric: Any) -> Any:
    """Return a metric's value, None for null."""
    field = metric.WhichOneof("value")
    return None if field is None else getattr(metric, field)


class SparkplugHost:
    """Listens to everything of Sparkplug at the broker on `port`."""

    def __init__(self, port: int, *, host_id: str = "scada") -> None:
        self.heard: list[Heard] = []
        self.host_id = host_id
        ready = threading.Event()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"host-{uuid4().hex[:8]}", protocol=mqtt.MQTTv5
        )
        options = SubscribeOptions(qos=2, retainAsPublished=True)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda c, *_: c.subscribe("spBv1.0/#", options=options)
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_message = self._got
        self.client.connect(HOST, port)
        self.client.loop_start()
        assert ready.wait(10)

    def _got(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.heard.append(Heard(message.topic, bytes(message.payload), message.qos, message.retain))

    def of(self, verb: str, device: str | None = None) -> list[Heard]:
        """Return the messages of one kind that came, of one device if given."""
        wanted = [one for one in list(self.heard) if f"/{verb}/" in one.topic]
        return [one for one in wanted if device is None or one.device == device]

    def edge(self) -> list[Heard]:
        """Return what the edge node published, certificates and data."""
        kinds = ("NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH", "NDEATH")
        return [one for one in list(self.heard) if one.verb in kinds]

    def wait(self, verb: str, count: int = 1, *, device: str | None = None, timeout: float = 15.0) -> Heard:
        """Wait until `count` messages of a kind came; return the last of them."""
        wait_until(lambda: len(self.of(verb, device)) >= count, timeout=timeout, what=f"{count} {verb}")
        return self.of(verb, device)[count - 1]

    def values(self, device: str | None = None) -> dict[str, Any]:
        """Return the last value of every metric, as a host keeps it: names from births, data by alias."""
        names: dict[int, str] = {}
        values: dict[str, Any] = {}
        for one in self.edge():
            for metric in one.payload.metrics:
                if metric.name and metric.alias and one.verb.endswith("BIRTH"):
                    names[metric.alias] = metric.name
                if one.device == device and one.verb != "NDEATH" and not metric.is_historical:
                    values[metric.name or names[metric.alias]] = value_of(metric)
        return values

    def wait_value(self, name: str, expected: Any, *, device: str | None = None, timeout: float = 15) -> None:
        """Wait until a metric has a value."""
        what = f"{device or NODE}: {name} = {expected}"
        wait_until(lambda: self.values(device).get(name) == expected, timeout=timeout, what=what)

    def state(self, *, online: bool, timestamp: int | None = None) -> int:
        """Say whether this host is online; return the timestamp that was said."""
        stamp = int(time.time() * 1000) if timestamp is None else timestamp
        body = json.dumps({"online": online, "timestamp": stamp}).encode()
        self.publish(f"spBv1.0/STATE/{self.host_id}", body, retain=True)
        return stamp

    def command(self, *metrics: tuple[str, Any], device: str | None = None) -> None:
        """Write Boolean metrics by name."""
        payload = pb.Payload(timestamp=int(time.time() * 1000))
        for name, value in metrics:
            payload.metrics.add(name=name, datatype=11, boolean_value=value)
        verb = f"NCMD/{NODE}" if device is None else f"DCMD/{NODE}/{device}"
        self.publish(f"spBv1.0/{GROUP}/{verb}", payload.SerializeToString())

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish anything."""
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()
