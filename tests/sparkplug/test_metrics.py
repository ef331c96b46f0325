"""What events, musters and the outbox change in the node's metrics."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from edge_app.clock import WallQuality
from edge_app.delivery.event import ENVELOPE, KINDS, EnvelopeContext
from edge_app.delivery.options import DeliveryStatus
from edge_app.records import CameraState, Event, HeadCount, PersonSeen, PresenceSnapshot
from edge_app.sparkplug.metrics import (
    DEVICE_METRICS,
    NODE_METRICS,
    Change,
    Picture,
    of_box,
    of_muster,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

NODE_NAMES = {name for name, _, _ in NODE_METRICS}
DEVICE_NAMES = {name for name, _, _ in DEVICE_METRICS}


def example(kind: str, **changes: Any) -> Event:
    """Return the schema's own example of a kind as the event that a stage would submit."""
    body = {**KINDS[kind].example, **changes}
    data = {key: value for key, value in body.items() if key not in ENVELOPE}
    return Event(kind, body["mono_ns"], camera=body.get("camera"), zone=body.get("zone"), data=data)


def merged(changes: Iterable[Change], device: str | None) -> dict[str, Any]:
    """Return all values for one device."""
    return {k: v for change in changes if change.device == device for k, v in change.values.items()}


def test_the_tables_name_each_metric_once_and_explain_it() -> None:
    """A name that stood twice would lose an alias."""
    for table in (NODE_METRICS, DEVICE_METRICS):
        assert len({name for name, _, _ in table}) == len(table)
        assert all(meaning for _, _, meaning in table)


@pytest.mark.tck("case-sensitivity-metric-names")
def test_no_two_names_differ_in_case_alone() -> None:
    """A host that ignores case would mix them up."""
    for names in (NODE_NAMES, DEVICE_NAMES):
        assert len({name.lower() for name in names}) == len(names)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_event_of_any_kind_changes_known_metrics_only(kind: str) -> None:
    """The birth certificate must name every metric that is ever reported."""
    for change in Picture().of_event(example(kind)):
        assert set(change.values) <= (NODE_NAMES if change.device is None else DEVICE_NAMES)


def test_a_sighting_gives_person_zone_and_score() -> None:
    """As the last sighting of its camera; the count goes up with each."""
    picture = Picture()
    event = example("sighting", decision="named", person_ref="CARD-7", score=0.71)
    picture.of_event(event)
    values = merged(picture.of_event(event), event.camera)

    assert 2 == values["Sighting/Count"]
    expected = ("named", "CARD-7", event.zone, 0.71)
    assert expected == tuple(values[f"Sighting/{n}"] for n in ("Decision", "Person", "Zone", "Score"))


def test_nobody_is_named_who_was_only_the_nearest() -> None:
    """An unknown person has no reference, whatever the event carries."""
    event = example("sighting", decision="unknown", person_ref="CARD-7", reason="below_threshold")
    values = merged(Picture().of_event(event), event.camera)

    assert (None, "below_threshold") == (values["Sighting/Person"], values["Sighting/Reason"])


def test_alarms_stand_until_they_are_cleared() -> None:
    """Also those that an earlier run raised."""
    picture = Picture(alarms={"overstaffed.z9"})
    raised = example("alarm", alarm={"id": "a1", "state": "active", "since_ns": 1})
    cleared = example("alarm", alarm={"id": "overstaffed.z9", "state": "cleared", "since_ns": 1})

    assert "a1,overstaffed.z9" == merged(picture.of_event(raised), None)["Alarms/Standing"]
    assert {"Alarms/Count": 1, "Alarms/Standing": "a1"} == merged(picture.of_event(cleared), None)


@pytest.mark.parametrize(("reason", "alive"), [("dark", True), ("frozen", True), ("no_picture", False)])
def test_a_covered_camera_is_there_and_a_silent_one_is_lost(reason: str, alive: bool) -> None:
    """A lost camera gets a death certificate; a dark one says that it is dark."""
    event = example("camera_blind", reason=reason)
    change = Picture().of_event(event)[0]

    assert (event.camera, alive, False, reason) == (
        change.device,
        change.alive,
        change.values["Sees"],
        change.values["Blind Reason"],
    )


def test_a_commissioning_test_changes_nothing() -> None:
    """A SCADA's tags are about real people."""
    assert () == Picture().of_event(dataclasses.replace(example("sighting"), test=True))


def test_a_muster_counts_the_box_and_each_camera() -> None:
    """People by the camera that saw them last; who has perhaps left is named, and not in the headcount."""
    people = (
        PersonSeen("B", "t1", "z1", "cam1", 1, 2, 0.5),
        PersonSeen("A", "t2", "z2", "cam2", 1, 2, 0.5),
        PersonSeen("C", "t4", "z2", "cam2", 1, 2, 0.5, perhaps_left_ns=3),
    )
    unknown = (PersonSeen(None, "t3", "z1", "cam1", 1, 2, None),)
    states = (
        CameraState("cam1", "z1", impaired="lamp_out"),
        CameraState("cam2", "z2", blind_since_ns=3, reason="dark"),
    )
    snapshot = PresenceSnapshot(9, people, unknown, states, count=HeadCount(best=3, low=2, high=5))
    changes = of_muster(snapshot, ("cam1", "cam2"))

    expected = {"Headcount": 3, "Headcount Low": 2, "Headcount High": 5}
    expected |= {"Named": 3, "Unknown": 1, "People": "A,B,C", "Perhaps Left": "C"}
    assert {f"Presence/{k}": v for k, v in expected.items()} == merged(changes, None)
    assert (2, True, "lamp_out") == tuple(
        merged(changes, "cam1")[k] for k in ("Presence/Count", "Sees", "Impaired")
    )
    assert (2, False, 3) == tuple(
        merged(changes, "cam2")[k] for k in ("Presence/Count", "Sees", "Blind Since")
    )


def test_the_box_says_how_delivery_clock_and_recogniser_are() -> None:
    """Backlog, loss, heat, room, commands, the clock's quality, backend, model, gallery."""
    status = DeliveryStatus(True, "b", (1, 2, 3, 4), 9, 12.7, 0, 0, 0, 0, 5, 6, 0, 1, None)
    context = EnvelopeContext("s", "n", "boot", backend="onnxruntime", model_sha="ab", gallery_version=4)
    measures = {"cpu_c": 61.5, "disk_free_mb": 7, "memory_mb": 8, "commands_done": 2, "commands_refused": 3}
    values = merged(
        of_box(mono_ns=1, status=status, quality=WallQuality.NONE, context=context, measures=measures), None
    )

    assert {
        "Delivery/Connected": True,
        "Delivery/Backlog": 10,
        "Delivery/Oldest Age": 12,
        "Delivery/Lost": 6,
        "Delivery/Parked": 5,
        "Health/Temperature": 61.5,
        "Health/Disk Free": 7,
        "Health/Memory": 8,
        "Commands/Done": 2,
        "Commands/Refused": 3,
        "Clock/Quality": "none",
        "Engine/Backend": "onnxruntime",
        "Engine/Model": "ab",
        "Gallery/Version": 4,
    } == values


def test_what_the_box_does_not_measure_is_null() -> None:
    """No sensor, no key for commands: a host sees that nothing is known, not zero."""
    status = DeliveryStatus(True, "b", (0, 0, 0, 0), 0, None, 0, 0, 0, 0, 0, 0, 0, 1, None)
    context = EnvelopeContext("s", "n", "boot")
    values = merged(
        of_box(mono_ns=1, status=status, quality=WallQuality.SYNC, context=context, measures={}), None
    )

    assert {None} == {values[name] for name in ("Health/Temperature", "Commands/Done", "Commands/Refused")}


def test_every_group_that_a_host_needs_has_its_metrics() -> None:
    """Presence, headcount, last sighting, health of cameras and of the box, engine, gallery."""
    node = {name.split("/")[0] for name in NODE_NAMES}
    assert {"Presence", "Alarms", "Delivery", "Health", "Commands", "Clock", "Engine", "Gallery"} <= node
    assert {"Sees", "Impaired", "Blind Since", "Blind Reason", "Presence/Count"} <= DEVICE_NAMES
    assert {"Sighting/Person", "Sighting/Zone", "Sighting/Score", "Sighting/Decision"} <= DEVICE_NAMES
