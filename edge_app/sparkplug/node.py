"""The edge node without its connection: which messages follow from which changes.

It holds the value of every metric, the sequence number, and what changed while there was nobody to
tell. No socket and no thread here, so that every rule of the specification can be looked at alone.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_app.delivery.timefix import wall_at
from edge_app.sparkplug.codec import DataType, Metric, encode
from edge_app.sparkplug.metrics import (
    BDSEQ,
    DEADBANDS,
    DEVICE_METRICS,
    DEVICE_REBIRTH,
    NODE_METRICS,
    REBIRTH,
    Change,
)
from edge_app.sparkplug.topics import SparkplugTopics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_app.clock import Clock
    from edge_app.sparkplug.codec import Value, Written
    from edge_app.sparkplug.options import SparkplugOptions

_NS_PER_MS: Final = 1_000_000
_SEQ_MODULUS: Final = 256
#: Changes in one message of history.
_BATCH: Final = 50
_DROPPED: Final = "Sparkplug/History Dropped"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish, QoS 0 and not retained."""

    topic: str
    payload: bytes


@dataclass(slots=True)
class _Cell:
    """A metric with its value as of `mono_ns`, and the value that was told last."""

    name: str
    datatype: DataType
    alias: int | None
    value: Value
    mono_ns: int
    told: Value = None

    def is_news(self) -> bool:
        """Return whether the value is another than the one that was told, by more than its dead band."""
        band, now, told = DEADBANDS.get(self.name), self.value, self.told
        if band is None or not isinstance(now, (int, float)) or not isinstance(told, (int, float)) or not now:
            return now != told
        return abs(now - told) > band * abs(told)


@dataclass(frozen=True, slots=True)
class _Past:
    mono_ns: int
    values: tuple[tuple[_Cell, Value], ...]


class EdgeNode:
    """One edge node and its cameras.

    Args:
        options: ids, cameras, and how much history to keep.
        clock: for the time at which a message is sent, and to date what happened before.
        software: program and version, for the birth certificate.
    """

    def __init__(self, *, options: SparkplugOptions, clock: Clock, software: str) -> None:
        self._clock = clock
        self._say_datatype = options.send_datatype
        self._keep = options.history
        self.topics = SparkplugTopics(group=options.group_id, node=options.node)
        now = clock.mono_ns()
        # Aliases are unique in the whole node; the specification wants Rebirth without one.
        aliases = iter(range(1, 1 << 32))
        self._cells: dict[str | None, dict[str, _Cell]] = {
            device: {
                name: _Cell(name, datatype, None if name == REBIRTH else next(aliases), None, now)
                for name, datatype, _ in (NODE_METRICS if device is None else DEVICE_METRICS)
            }
            for device in (None, *(camera for camera, _ in options.cameras))
        }
        self._alive: dict[str | None, bool] = dict.fromkeys(self._cells, True)
        self._past: dict[str | None, deque[_Past]] = {device: deque() for device in self._cells}
        self._seq = 0
        self.born = False
        self.dropped = 0
        self._start(options, software, now)

    def _start(self, options: SparkplugOptions, software: str, now: int) -> None:
        first: dict[str, Value] = {"Properties/Software": software, REBIRTH: False, _DROPPED: 0}
        self.begin(Change(None, now, first))
        for camera, zone in options.cameras:
            self.begin(Change(camera, now, {"Zone": zone, DEVICE_REBIRTH: False, "Sighting/Count": 0}))

    def begin(self, change: Change) -> None:
        """Take values that are so from the start: no history is made of them."""
        self._take(change)

    # -- certificates --------------------------------------------------------------------------------

    def birth(self, bdseq: int) -> list[Outgoing]:
        """Return the node's birth certificate and those of all cameras that are there; data may follow."""
        self.born = True
        self._seq = 0
        now = self._clock.mono_ns()
        bd = self._cells[None][BDSEQ]
        bd.value, bd.mono_ns = bdseq, now
        born = [self._certificate(None)]
        born += [self._certificate(device) for device, alive in self._alive.items() if device and alive]
        return born

    def rebirth_of(self, device: str) -> list[Outgoing]:
        """Return a camera's birth certificate again, nothing if it is not there."""
        if not self.born or device not in self._cells or not self._alive[device]:
            return []
        return [self._certificate(device)]

    def death(self, bdseq: int) -> Outgoing:
        """Return the death certificate of connection `bdseq`: this one metric and nothing else."""
        metric = Metric(DataType.INT64, bdseq, self._stamp(self._clock.mono_ns()), name=BDSEQ)
        return Outgoing(self.topics.of_node("NDEATH"), encode((metric,), timestamp_ms=None, seq=None))

    def unborn(self) -> None:
        """Take note that nobody listens: what changes from now on becomes history."""
        self.born = False

    def _certificate(self, device: str | None) -> Outgoing:
        metrics = []
        for cell in self._cells[device].values():
            cell.told = cell.value
            metrics.append(self._metric(cell, cell.value, cell.mono_ns, name=cell.name))
        return self._outgoing("BIRTH", device, metrics)

    # -- data ----------------------------------------------------------------------------------------

    def apply(self, change: Change) -> list[Outgoing]:
        """Take a change; return what to publish of it: only what differs, nothing while nobody listens."""
        if change.device not in self._cells:
            return []
        returned = self._comes_back(change)
        past = self._take(change)
        if returned:
            return self.rebirth_of(str(change.device))
        messages = []
        if past is not None and self.born and self._alive[change.device]:
            messages.append(self._data(change.device, (past,), historical=False))
        elif past is not None:
            self._remember(change.device, past)
        if change.device is not None and change.alive is False and self._alive[change.device]:
            self._alive[change.device] = False
            if self.born:
                messages.append(self._outgoing("DEATH", change.device, ()))
        return messages

    def replay(self) -> list[Outgoing]:
        """Return the next message of history, nothing when there is none for anybody who is there."""
        for device, past in self._past.items():
            if self.born and past and self._alive[device]:
                batch = [past.popleft() for _ in range(min(_BATCH, len(past)))]
                return [self._data(device, batch, historical=True)]
        return []

    @property
    def waiting(self) -> int:
        """How many changes wait to be told."""
        return sum(map(len, self._past.values()))

    def written(self, device: str | None, metric: Written) -> str | None:
        """Return the name of the metric that a command writes, None if the node has no such metric."""
        cells = self._cells.get(device, {})
        if metric.name is not None:
            return metric.name if metric.name in cells else None
        return next((c.name for c in cells.values() if c.alias is not None and c.alias == metric.alias), None)

    def _comes_back(self, change: Change) -> bool:
        lost = change.device is not None and not self._alive[change.device]
        if lost and change.alive:
            self._alive[change.device] = True
            return self.born
        return False

    def _take(self, change: Change) -> _Past | None:
        """Store the values that differ; return those that are news, None if none is."""
        cells = self._cells[change.device]
        differing = []
        for name, value in change.values.items():
            cell = cells[name]
            if cell.value != value:
                cell.value, cell.mono_ns = value, change.mono_ns
                if cell.is_news():
                    cell.told = value
                    differing.append((cell, value))
        return _Past(change.mono_ns, tuple(differing)) if differing else None

    def _remember(self, device: str | None, past: _Past) -> None:
        self._past[device].append(past)
        if self.waiting > self._keep:
            oldest = min((kept for kept in self._past.values() if kept), key=lambda kept: kept[0].mono_ns)
            oldest.popleft()
            self.dropped += 1
            cell = self._cells[None][_DROPPED]
            cell.value, cell.mono_ns = self.dropped, self._clock.mono_ns()

    def _data(self, device: str | None, pasts: Iterable[_Past], *, historical: bool) -> Outgoing:
        metrics = [
            self._metric(cell, value, past.mono_ns, historical=historical)
            for past in pasts
            for cell, value in past.values
        ]
        return self._outgoing("DATA", device, metrics)

    def _outgoing(self, what: str, device: str | None, metrics: Iterable[Metric]) -> Outgoing:
        if device is None:
            topic = self.topics.of_node(f"N{what}")
        else:
            topic = self.topics.of_device(f"D{what}", device)
        payload = encode(metrics, timestamp_ms=self._stamp(self._clock.mono_ns()), seq=self._seq)
        self._seq = (self._seq + 1) % _SEQ_MODULUS
        return Outgoing(topic, payload)

    def _metric(
        self, cell: _Cell, value: Value, mono_ns: int, *, name: str | None = None, historical: bool = False
    ) -> Metric:
        if cell.datatype is DataType.DATETIME and value is not None:
            value = self._stamp(int(value))
        return Metric(
            datatype=cell.datatype,
            value=value,
            timestamp_ms=self._stamp(mono_ns),
            name=name,
            alias=cell.alias,
            historical=historical,
            say_datatype=name is not None or self._say_datatype,
        )

    def _stamp(self, mono_ns: int) -> int:
        """Return UTC milliseconds; while there is no believable wall clock, milliseconds since boot."""
        wall = wall_at(mono_ns, clock=self._clock)
        return max(0, mono_ns // _NS_PER_MS if wall.ms is None else wall.ms)
