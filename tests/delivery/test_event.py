"""The event: schema, table of kinds and encoder agree."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import jsonschema
import pytest

from edge_app.clock import WallQuality, WallTime
from edge_app.delivery.event import ENVELOPE, KINDS, EnvelopeContext, EventError, draft, priority_of, schema
from edge_app.records import Event

if TYPE_CHECKING:
    from collections.abc import Callable

ID = UUID("0197c1e4-9d21-7c3a-8f21-5b1de0a4c901")
SYNC = WallTime(ms=1_750_000_000_000, quality=WallQuality.SYNC)


@pytest.fixture
def full() -> Any:
    """Return the independent validator."""
    document = json.loads(json.dumps(dict(schema())))
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def test_schema_is_a_valid_schema_and_its_examples_fit(full: Any) -> None:
    """An independent validator accepts the schema and every example in it."""
    assert [] == [error.message for example in schema()["examples"] for error in full.iter_errors(example)]


def test_every_kind_has_a_priority_and_one_example() -> None:
    """The table of kinds, the enumeration and the examples name the same kinds."""
    assert list(KINDS) == schema()["properties"]["kind"]["enum"]
    assert list(KINDS) == [example["kind"] for example in schema()["examples"]]


@pytest.mark.parametrize(
    ("kind", "priority"),
    [
        ("camera_blind", 0),
        ("gap", 0),
        ("presence", 1),
        ("muster", 1),
        ("time_fix", 1),
        ("sighting", 2),
        ("test", 3),
    ],
)
def test_priorities_put_alarms_before_presence_before_sightings_before_health(
    kind: str, priority: int
) -> None:
    """The order of importance of the promise."""
    assert priority == priority_of(kind)


@pytest.mark.parametrize("kind", list(KINDS))
def test_encoder_makes_what_the_schema_wants(kind: str, context: EnvelopeContext, full: Any) -> None:
    """The fields of each kind's example, encoded by the box, fit by the independent validator."""
    example = KINDS[kind].example
    data = {name: value for name, value in example.items() if name not in ENVELOPE}
    event = Event(kind=kind, mono_ns=7, camera=example.get("camera"), zone=example.get("zone"), data=data)
    body = json.loads(draft(event, event_id=ID, wall=SYNC, context=context, now_ns=9).body(12345))
    assert [] == [error.message for error in full.iter_errors(body)]
    assert (12345, str(ID), KINDS[kind].priority) == (body["seq"], body["id"], body["priority"])


def test_bytes_are_the_same_every_time(make_draft: Callable[..., Any]) -> None:
    """A draft gives the same bytes for the same number."""
    made = make_draft("sighting")
    assert made.body(7) == made.body(7)


def test_number_is_put_in_the_right_place(context: EnvelopeContext) -> None:
    """Text that looks like the number's place does not confuse the encoder."""
    event = Event(kind="test", mono_ns=1, data={"note": ',"seq":1,"priority":3'})
    body = json.loads(draft(event, event_id=ID, wall=SYNC, context=context, now_ns=1).body(42))
    assert (42, ',"seq":1,"priority":3') == (body["seq"], body["note"])


def test_no_clock_gives_null_wall_time(context: EnvelopeContext) -> None:
    """wall_ms is null when its quality is none, and the schema insists."""
    wall = WallTime(ms=None, quality=WallQuality.NONE)
    event = Event(kind="test", mono_ns=1, data={"note": "n"})
    body = json.loads(draft(event, event_id=ID, wall=wall, context=context, now_ns=1).body(1))
    assert (None, "none") == (body["wall_ms"], body["wall_quality"])


def test_sighting_carries_what_the_box_says_about_itself(
    event: Callable[..., Event], context: EnvelopeContext
) -> None:
    """Backend, model, gallery version and latency come from the context and the clock."""
    told = dataclasses.replace(context, backend="onnx", model_sha="a" * 64, gallery_version=3)
    made = draft(
        event("sighting", mono_ns=1_000_000), event_id=ID, wall=SYNC, context=told, now_ns=81_000_000
    )
    body = json.loads(made.body(1))
    assert ("onnx", "a" * 64, 3, 80.0) == tuple(
        body[name] for name in ("backend", "model_sha", "gallery_version", "latency_ms")
    )


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({}, "lacks note"),
        ({"note": "n", "colour": "red"}, "colour is not a field"),
        ({"note": 5}, "must be string"),
        ({"note": "x" * 201}, "at most 200"),
        ({"note": "\ud800"}, "cannot be written"),
        ({"note": "n", "seq": 5}, "belong to the envelope"),
        ({"note": "n", "score": float("nan")}, "must be number"),
        ({"note": "n", "person_ref": "Müller"}, "must match"),
        ({"note": "n", "person_ref": "card\n"}, "must match"),
        ({"note": "n", "measures": {"x": object()}}, "cannot be written"),
        ({"note": "n", "measures": {"x": "y" * 600_000}}, "at most"),
    ],
)
def test_wrong_fields_are_refused_with_the_reason(
    data: dict[str, object], complaint: str, context: EnvelopeContext
) -> None:
    """What does not fit the schema never gets into the outbox, and the message says why."""
    with pytest.raises(EventError, match=complaint):
        draft(Event(kind="test", mono_ns=1, data=data), event_id=ID, wall=SYNC, context=context, now_ns=1)


def test_unknown_kind_is_refused(context: EnvelopeContext) -> None:
    """A kind that is not in the table has no priority and is no event."""
    with pytest.raises(EventError, match="no kind of event 'flood'"):
        draft(Event(kind="flood", mono_ns=1), event_id=ID, wall=SYNC, context=context, now_ns=1)


def test_named_needs_a_person_and_unknown_must_not_have_one(
    event: Callable[..., Event], context: EnvelopeContext
) -> None:
    """A person_ref goes with named, and only with named."""
    for fields in ({"decision": "named"}, {"decision": "unknown", "person_ref": "card-1"}):
        with pytest.raises(EventError, match="person_ref"):
            draft(event("sighting", **fields), event_id=ID, wall=SYNC, context=context, now_ns=1)


def test_test_events_raise_no_alarm(event: Callable[..., Event], context: EnvelopeContext) -> None:
    """A commissioning event of an alarm kind leaves no retained alarm behind."""
    alarm = draft(event("alarm"), event_id=ID, wall=SYNC, context=context, now_ns=1)
    trial = draft(event("alarm", test=True), event_id=ID, wall=SYNC, context=context, now_ns=1)
    assert (("overstaffed.z1", True), None) == (alarm.alarm, trial.alarm)


@pytest.mark.parametrize("name", ["", "a/b", "a+b", "#", "ä", "x" * 33, "a\0b", "a b", "a\n"])
def test_names_that_mqtt_forbids_are_refused(name: str) -> None:
    """Neither site nor node may change the meaning of a topic."""
    with pytest.raises(ValueError, match="topic"):
        EnvelopeContext(site=name, node="box", boot="b")
