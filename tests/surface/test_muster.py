"""The whole mine's muster, over several boxes: the newest sight, its age, who left, what is silent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from surface.muster import mine_muster
from surface.records import Said
from tests.surface.conftest import BOTH, arrived

if TYPE_CHECKING:
    from surface.store import Store

pytestmark = BOTH
NOW = 1_000_000


def say(
    store: Store, node: str, *people: tuple[str | None, str, int], at: int = NOW, online: bool = True
) -> None:
    """Let a box say who was seen where how many milliseconds before `at`, and that it is there."""
    seen = [{"person_ref": ref, "zone": zone, "camera": "c", "age_ms": age} for ref, zone, age in people]
    document = {
        "people": [one for one in seen if one["person_ref"]],
        "unknown": [one for one in seen if not one["person_ref"]],
        "cameras": [{"camera": "c", "sees": online}],
    }
    store.say([Said("north", node, json.dumps(document), at, "b", at)])
    store.say([Said("north", node, json.dumps({"online": online}), at)])


def test_the_newest_sight_counts_and_ages(store: Store) -> None:
    """Two boxes saw card-1; a box that said goodbye is silent, its people are marked; strangers add up."""
    say(store, "box-1", ("card-1", "shaft", 60_000), (None, "shaft", 5))
    say(store, "box-2", ("card-1", "drift", 1_000), (None, "drift", 5))
    say(store, "box-3", ("card-2", "portal", 0), at=NOW - 60_000, online=False)
    store.import_roster({"card-2": "Li Wei"}, replace=False)
    found = mine_muster(store, now_ms=NOW + 10_000)
    assert [("card-1", "drift", 11.0, False, None), ("card-2", "portal", 70.0, True, "Li Wei")] == [
        (one.person_ref, one.zone, one.age_s, one.silent, one.name) for one in found.people
    ]
    assert {"north/drift": 2, "north/portal": 1, "north/shaft": 1} == found.zones
    assert (4, ("north/box-3",), ("north/box-3/c",)) == (
        found.headcount,
        found.silent_boxes,
        found.blind_cameras,
    )


def test_a_box_that_nobody_hears_is_silent_although_it_never_said_goodbye(store: Store) -> None:
    """The broker restarted and forgot its will, or the link between broker and surface is down."""
    say(store, "box-1", ("card-1", "shaft", 0))
    assert () == mine_muster(store, now_ms=NOW + 90_000).silent_boxes
    assert ("north/box-1",) == mine_muster(store, now_ms=NOW + 101_000).silent_boxes
    assert ("north/box-1",) == mine_muster(store, now_ms=NOW + 31_000, silent_after_s=30).silent_boxes


def test_who_left_at_the_way_out_is_out_until_seen_again(store: Store) -> None:
    """The box deep inside still has the person; leaving any other box is a note, and the person counts."""
    say(store, "deep", ("card-1", "face", 50_000), ("card-2", "face", 1_000))
    gone: dict[str, Any] = {"kind": "presence", "change": "left", "wall_ms": NOW - 10_000, "at_ms": NOW}
    store.add([arrived(1, node="gate", person_ref="card-1", **gone)])
    store.add([arrived(2, node="gate", person_ref="card-2", **gone)])
    noted = mine_muster(store, now_ms=NOW)
    assert [("card-1", ("north/gate",)), ("card-2", ())] == [(p.person_ref, p.left) for p in noted.people]
    for name in ("gate", "north/gate"):
        found = mine_muster(store, now_ms=NOW, exits=[name])
        assert (["card-2"], ("card-1",)) == ([p.person_ref for p in found.people], found.out)
    say(store, "deep", ("card-1", "face", 0), at=NOW + 1)
    assert 1 == mine_muster(store, now_ms=NOW + 1, exits=["gate"]).headcount


def test_departure_that_the_box_itself_takes_back_is_none(store: Store) -> None:
    """Somebody else was taken for card-1 at the gate: the gate's own later muster has card-1 inside."""
    say(store, "gate", ("card-1", "lock", 60_000))
    gone: dict[str, Any] = {
        "kind": "presence",
        "change": "left",
        "wall_ms": NOW - 10_000,
        "boot": "b",
        "at_ms": NOW,
    }
    store.add([arrived(1, node="gate", person_ref="card-1", mono_ns=NOW + 5, **gone)])
    assert ("card-1",) == mine_muster(store, now_ms=NOW, exits=["gate"]).out
    say(store, "gate", ("card-1", "lock", 70_000), at=NOW + 10)
    assert ((), 1) == ((found := mine_muster(store, now_ms=NOW + 10, exits=["gate"])).out, found.headcount)
    restarted = {"people": [{"person_ref": "card-1", "zone": "lock", "camera": "c", "age_ms": 90_000}]}
    store.say([Said("north", "gate", json.dumps(restarted), NOW + 20, "next boot", 3)])
    assert () == mine_muster(store, now_ms=NOW + 20, exits=["gate"]).out


def test_departure_by_a_clock_that_is_ahead_does_not_outlive_a_later_sight(store: Store) -> None:
    """The gate's clock says tomorrow: who left a minute ago and is seen deep inside now is in the mine."""
    ahead: dict[str, Any] = {"kind": "presence", "change": "left", "wall_ms": NOW + 86_400_000, "mono_ns": 9}
    store.add([arrived(1, node="gate", person_ref="card-1", at_ms=NOW - 60_000, **ahead)])
    say(store, "deep", ("card-1", "face", 0))
    assert 1 == mine_muster(store, now_ms=NOW, exits=["gate"]).headcount
    say(store, "deep", ("card-1", "face", 90_000), at=NOW + 1)
    assert 0 == mine_muster(store, now_ms=NOW + 1, exits=["gate"]).headcount
    store.add([arrived(2, kind="time_fix", node="gate", offset_ms=NOW - 100_000, at_ms=NOW)])
    assert 1 == mine_muster(store, now_ms=NOW + 1, exits=["gate"]).headcount


def test_word_from_the_future_does_not_keep_a_dead_box_alive(store: Store) -> None:
    """This machine's clock was an hour ahead when the box last spoke, and was set."""
    say(store, "box-1", ("card-1", "shaft", 0))
    store.add([arrived(1, node="box-1", at_ms=NOW + 3_600_000)], live=True)
    assert ("north/box-1",) == mine_muster(store, now_ms=NOW + 101_000).silent_boxes
    store.add([arrived(2, node="box-1", at_ms=NOW + 100_000)], live=True)
    assert () == mine_muster(store, now_ms=NOW + 101_000).silent_boxes


def test_who_has_perhaps_left_counts_and_is_marked(store: Store) -> None:
    """The box did not recognise who left: in the mine a name too many is looked for, one too few is not."""
    marked = {
        "person_ref": "card-1",
        "zone": "lock",
        "camera": "c",
        "age_ms": 9_000,
        "perhaps_left_ms": 4_000,
    }
    store.say([Said("north", "gate", json.dumps({"headcount": 0, "people": [marked]}), NOW, "b", NOW)])
    found = mine_muster(store, now_ms=NOW + 1_000, exits=["gate"])
    assert (1, 5.0) == (found.headcount, found.people[0].perhaps_left_s)


def test_a_departure_of_a_box_without_a_clock_counts_when_a_fix_dates_it(store: Store) -> None:
    """Late: until then nobody is taken out of the mine."""
    say(store, "deep", ("card-1", "face", 50_000))
    undated = {"wall_ms": None, "wall_quality": "none", "mono_ns": 7_000_000_000}
    store.add([arrived(1, kind="presence", node="gate", person_ref="card-1", change="left", **undated)])
    assert 1 == mine_muster(store, now_ms=NOW, exits=["gate"]).headcount
    store.add([arrived(2, kind="time_fix", node="gate", offset_ms=NOW - 8_000)])
    assert 0 == mine_muster(store, now_ms=NOW, exits=["gate"]).headcount


@pytest.mark.parametrize(
    "muster",
    [
        {"people": 5},
        {"people": [1, None, []]},
        {"cameras": {"a": 1}},
        {"cameras": [{"sees": False, "camera": ["x"]}]},
        {"unknown": [{"age_ms": "x"}, {"age_ms": 10**400}, {"age_ms": -5}, {"age_ms": True}]},
        {"people": [{"person_ref": {"a": 1}, "zone": 7, "camera": None, "age_ms": 1e308}]},
        {"people": [{"person_ref": "a\u001b[2J/#", "zone": "\ud800"}]},
        [],
    ],
)
def test_hostile_muster_does_no_harm(store: Store, muster: Any) -> None:
    """A retained muster of wrong types names nobody, and is printed without a fault."""
    store.say([Said("north", "box-1", json.dumps(muster), 1, "b", 1)])
    store.say([Said("north", "box-1", json.dumps(muster), 1)])
    found = mine_muster(store, now_ms=5)
    assert () == found.people
    assert "\x1b" not in repr(found)
