"""Payloads: what goes out, what comes in, and bytes that are neither."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.sparkplug import sparkplug_b_pb2 as pb
from edge_app.sparkplug.codec import (
    MAX_COMMAND_BYTES,
    DataType,
    Metric,
    PayloadError,
    Written,
    decode_command,
    encode,
)

ROOT = Path(__file__).resolve().parents[2]


def read_back(datatype: DataType, value: object) -> object:
    """Return one metric after it went out and was read by protobuf's own classes."""
    raw = encode((Metric(datatype, value, 7, alias=3),), timestamp_ms=9, seq=1)  # type: ignore[arg-type]
    return pb.Payload.FromString(raw).metrics[0]


@pytest.mark.tck("payloads-metric-datatype-value-type", "payloads-metric-datatype-value")
@pytest.mark.parametrize(
    ("datatype", "value", "field", "stored"),
    [
        (DataType.INT64, 5, "long_value", 5),
        (DataType.INT64, -2, "long_value", 2**64 - 2),
        (DataType.DATETIME, 1_750_000_000_123, "long_value", 1_750_000_000_123),
        (DataType.DOUBLE, -0.25, "double_value", -0.25),
        (DataType.BOOLEAN, False, "boolean_value", False),
        (DataType.STRING, "Grüße 🚇", "string_value", "Grüße 🚇"),
    ],
)
def test_each_type_uses_the_field_that_the_specification_gives_it(
    datatype: DataType, value: object, field: str, stored: object
) -> None:
    """The number of the type is the specification's, and a false or an empty value is still a value."""
    metric = read_back(datatype, value)

    assert (field, stored) == (metric.WhichOneof("value"), getattr(metric, field))
    assert int(datatype) == metric.datatype
    assert {4: 4, 10: 10, 11: 11, 12: 12, 13: 13}[int(datatype)] == metric.datatype
    assert not metric.is_null


def test_null_is_said_and_has_no_value() -> None:
    """Nobody is told 0 or an empty text where there is nothing."""
    metric = read_back(DataType.STRING, None)

    assert (True, None) == (metric.is_null, metric.WhichOneof("value"))


def test_no_metric_is_an_unsigned_number_of_32_bits() -> None:
    """Consumers disagree on the field of UInt32, so the node has no such type."""
    assert 7 not in {int(datatype) for datatype in DataType}


def test_what_a_command_writes_is_read_in_its_order() -> None:
    """Names, aliases, nulls and signed numbers."""
    payload = pb.Payload()
    payload.metrics.add(name="a", boolean_value=True)
    payload.metrics.add(alias=4, long_value=2**64 - 1)
    payload.metrics.add(name="c", is_null=True, string_value="ignored")

    expected = (Written("a", None, True), Written(None, 4, -1), Written("c", None, None))
    assert expected == decode_command(payload.SerializeToString())


def test_fields_that_the_node_does_not_know_are_skipped() -> None:
    """A host may send properties, data sets and metadata: the rest is read all the same."""
    unknown = bytes([9 << 3 | 2, 3]) + b"xyz"  # properties, field 9 of a metric
    metric = b"\x0a\x01a" + unknown + bytes([14 << 3, 1])
    payload = b"\x12" + bytes([len(metric)]) + metric

    assert (Written("a", None, True),) == decode_command(payload)


def test_a_payload_longer_than_a_command_is_not_looked_at() -> None:
    """However it would be read."""
    with pytest.raises(PayloadError, match="bytes"):
        decode_command(b"\x00" * (MAX_COMMAND_BYTES + 1))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_payload_or_refused(data: bytes) -> None:
    """Never another error, never anything but plain values."""
    try:
        written = decode_command(data)
    except PayloadError:
        return
    assert all(isinstance(metric.value, (bool, int, float, str, bytes, type(None))) for metric in written)


@given(st.binary(min_size=1, max_size=40), st.integers(0, 200))
def test_a_damaged_command_is_read_or_refused(noise: bytes, at: int) -> None:
    """Bytes of a real command, overwritten anywhere."""
    payload = pb.Payload(timestamp=1)
    for n in range(5):
        payload.metrics.add(name=f"metric {n}", boolean_value=True)
    whole = payload.SerializeToString()
    damaged = whole[:at] + noise + whole[at + len(noise) :]
    try:
        written = decode_command(damaged)
    except PayloadError:
        return
    assert all(isinstance(metric, Written) for metric in written)


def test_the_generated_code_is_that_of_the_definition() -> None:
    """Every field of sparkplug_b.proto, with its number and type, and nothing else."""
    text = (ROOT / "edge_app/sparkplug/sparkplug_b.proto").read_text(encoding="utf-8")
    fields = re.findall(r"^\s+(?:optional |repeated )?(\w+) (\w+) = (\d+);", text, re.MULTILINE)
    payload = pb.Payload.DESCRIPTOR
    metric = payload.nested_types_by_name["Metric"]
    names = {value: name.removeprefix("TYPE_").lower() for name, value in vars(type(metric.fields[0])).items()
             if name.startswith("TYPE_")}  # fmt: skip
    generated = [
        (field.message_type.name if field.message_type else names[field.type], field.name, str(field.number))
        for message in (metric, payload)
        for field in message.fields
    ]

    assert 19 == len(fields)
    assert sorted(fields) == sorted(generated)


def test_without_the_runtime_the_message_says_what_to_install() -> None:
    """Sparkplug is an extra: who switches it on without it is told so."""
    code = (
        "import sys; sys.modules['google.protobuf'] = None\n"
        "from edge_app.sparkplug.codec import require_protobuf\n"
        "from edge_app.errors import ConfigError\n"
        "try: require_protobuf()\n"
        "except ConfigError as error: print(error.fix)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )

    assert "dsr-edge[sparkplug]" in done.stdout, done.stderr
