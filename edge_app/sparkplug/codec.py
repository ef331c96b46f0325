"""Payloads of Sparkplug B: from metrics to bytes and back.

The types are few on purpose. Whole numbers are always Int64: consumers disagree on which protobuf
field carries a UInt32, and the one that the specification's own project publishes reads ours as null.
Whatever comes from outside is decoded into plain values or refused as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

Value = bool | int | float | str | None

#: More than a command has; nothing longer is looked at.
MAX_COMMAND_BYTES: Final = 64 * 1024
_TWO_TO_64: Final = 1 << 64
_TWO_TO_63: Final = 1 << 63


class PayloadError(ValueError):
    """Bytes are not a payload that a node can read."""


class DataType(IntEnum):
    """The data types that this node uses, with the specification's numbers."""

    INT64 = 4
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13


_FIELD: Final = {
    DataType.INT64: "long_value",
    DataType.DOUBLE: "double_value",
    DataType.BOOLEAN: "boolean_value",
    DataType.STRING: "string_value",
    DataType.DATETIME: "long_value",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it goes out: either or both of name and alias, UTC milliseconds, and a value or null.

    `datatype` tells how the value is encoded; `say_datatype` whether the message also says so.
    """

    datatype: DataType
    value: Value
    timestamp_ms: int
    name: str | None = None
    alias: int | None = None
    historical: bool = False
    say_datatype: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """One metric of a command: what somebody wants to write."""

    name: str | None
    alias: int | None
    value: Value | bytes


def require_protobuf() -> None:
    """Make sure that the protobuf runtime is installed.

    Raises:
        ConfigError: it is not.
    """
    _messages()


def encode(metrics: Iterable[Metric], *, timestamp_ms: int | None, seq: int | None) -> bytes:
    """Return a payload; a death certificate has neither a sequence number nor, here, a time."""
    payload = _messages().Payload()
    if timestamp_ms is not None:
        payload.timestamp = timestamp_ms
    if seq is not None:
        payload.seq = seq
    for metric in metrics:
        _fill(payload.metrics.add(), metric)
    return bytes(payload.SerializeToString(deterministic=True))


def decode_command(payload: bytes) -> tuple[Written, ...]:
    """Return what a command wants to write, in its order.

    Raises:
        PayloadError: too long, not a payload, or text in it is not UTF-8.
    """
    if len(payload) > MAX_COMMAND_BYTES:
        raise PayloadError(f"{len(payload)} bytes; a command has at most {MAX_COMMAND_BYTES}")
    message = _messages().Payload()
    try:
        message.ParseFromString(payload)
        return tuple(_written(metric) for metric in message.metrics)
    except Exception as error:
        # protobuf's own DecodeError, and UnicodeDecodeError for text: the runtime's versions differ.
        raise PayloadError(f"not a Sparkplug payload: {type(error).__name__}") from error


def _fill(target: Any, metric: Metric) -> None:
    if metric.name is not None:
        target.name = metric.name
    if metric.alias is not None:
        target.alias = metric.alias
    target.timestamp = metric.timestamp_ms
    if metric.say_datatype:
        target.datatype = int(metric.datatype)
    if metric.historical:
        target.is_historical = True
    if metric.value is None:
        target.is_null = True
    elif metric.datatype in (DataType.INT64, DataType.DATETIME):
        target.long_value = int(metric.value) % _TWO_TO_64
    else:
        setattr(target, _FIELD[metric.datatype], metric.value)


def _written(metric: Any) -> Written:
    field = metric.WhichOneof("value")
    value = None if field is None or metric.is_null else getattr(metric, field)
    if field == "long_value" and isinstance(value, int) and value >= _TWO_TO_63:
        value -= _TWO_TO_64
    return Written(
        name=metric.name if metric.HasField("name") else None,
        alias=metric.alias if metric.HasField("alias") else None,
        value=value,
    )


def _messages() -> Any:
    try:
        from edge_app.sparkplug import sparkplug_b_pb2
    except ImportError as error:
        raise ConfigError(
            f"sparkplug is enabled and the protobuf runtime cannot be used: {error}",
            fix="pip install 'dsr-edge[sparkplug]', or leave sparkplug.group_id out",
        ) from error
    return sparkplug_b_pb2
