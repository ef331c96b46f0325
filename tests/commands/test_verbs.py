"""What the box answers, and which engine a command can bring it to use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge_app.clock import SystemClock
from edge_app.commands.desk import VerbFailed
from edge_app.commands.verbs import VERBS, BoxVerbs
from edge_app.config.load import load_config
from edge_app.config.schema import Config
from edge_app.delivery.event import EnvelopeContext
from edge_app.delivery.options import DeliveryStatus
from edge_app.engines.store import EngineStore
from edge_app.errors import ConfigError
from edge_app.records import CameraState, PersonSeen, PresenceSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PEOPLE = (PersonSeen("P", "t", "z1", "cam", 1, 2, 0.5),)
STATES = (CameraState("cam", "z1", blind_since_ns=5, reason="dark"),)
SNAPSHOT = PresenceSnapshot(9, PEOPLE, (), STATES)
STATUS = DeliveryStatus(True, "b", (0, 1, 2, 0), 9, 1.0, 0, 0, 0, 0, 5, 6, 0, 1, None)


@pytest.fixture
def verbs(tmp_path: Path) -> Callable[..., BoxVerbs]:
    """Return a maker of a box's verbs."""
    source = {"kind": "folder", "path": "x"}
    config = Config.model_validate(
        {
            "box": {"site": "north", "node": "box-1"},
            "cameras": [{"name": "cam", "zone": "z1", "source": source}],
            "delivery": {"brokers": [{"host": "127.0.0.1"}]},
        }
    )

    def make(**changes: Any) -> BoxVerbs:
        given: dict[str, Any] = {
            "config": config,
            "source": tmp_path / "box.yaml",
            "clock": SystemClock(),
            "version": "1.2",
            "context": lambda: EnvelopeContext("north", "box-1", "boot", backend="cpu", gallery_version=3),
            "status": lambda: STATUS,
            "muster_now": lambda: SNAPSHOT,
            "engines": EngineStore(tmp_path, trusted=()),
            "take_over": lambda _config: True,
        }
        return BoxVerbs(**{**given, **changes})

    return make


def test_identify_says_who_the_box_is(verbs: Callable[..., BoxVerbs]) -> None:
    """Software, engine, register, cameras, clock, delivery; all of it JSON."""
    said = verbs().table()["identify"]({})

    assert ("1.2", "cpu", 3) == (said["version"], said["backend"], said["gallery_version"])
    assert ([{"camera": "cam", "zone": "z1"}], 3, 6, 5) == (
        said["cameras"], said["backlog"], said["lost"], said["parked"],
    )  # fmt: skip
    assert json.dumps(said)


def test_muster_says_how_many_and_which_cameras_are_blind(verbs: Callable[..., BoxVerbs]) -> None:
    """The people themselves stand in the event."""
    expected = {"headcount": 1, "people": 1, "unknown": 0, "blind": ["cam"]}

    assert expected == verbs().table()["muster"]({})


def test_a_muster_that_does_not_come_is_a_failure(verbs: Callable[..., BoxVerbs]) -> None:
    """The thread that keeps it is busy or has ended."""
    with pytest.raises(VerbFailed, match="did not come"):
        verbs(muster_now=lambda: None).muster({})


@pytest.mark.parametrize("verb", VERBS)
def test_arguments_that_a_verb_does_not_have_are_refused(verbs: Callable[..., BoxVerbs], verb: str) -> None:
    """A typing error must not be taken for something else."""
    with pytest.raises(VerbFailed, match="unknown arguments: x"):
        verbs().table()[verb]({"x": 1})


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"engine": "cpu", "rollback": True},
        {"rollback": False},
        {"engine": "none-such"},
        {"engine": "--sign"},
        {"engine": "../../etc/passwd"},
        {"engine": 7},
    ],
)
def test_only_an_engine_of_the_box_can_be_chosen(
    verbs: Callable[..., BoxVerbs], args: dict[str, Any]
) -> None:
    """By its name in the list, or cpu, or the one before."""
    with pytest.raises(VerbFailed):
        verbs().engine(args)


def test_a_box_without_engines_says_so(verbs: Callable[..., BoxVerbs]) -> None:
    """Not a mistake of ours."""
    with pytest.raises(VerbFailed, match="no store"):
        verbs(engines=None).engine({"engine": "cpu"})


def test_going_back_returns_to_the_engine_before(verbs: Callable[..., BoxVerbs], tmp_path: Path) -> None:
    """As the command line does it."""
    store = EngineStore(tmp_path, trusted=())
    store.activate("one")
    store.activate("two")

    assert "one" == verbs(engines=store).engine({"rollback": True})["active"]


def test_an_activation_that_fails_says_why(verbs: Callable[..., BoxVerbs]) -> None:
    """The command line's own words: here its configuration is missing."""
    with pytest.raises(VerbFailed, match="DSR-100"):
        verbs().engine({"engine": "cpu"})


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"remove": 7},
        {"remove": "--json"},
        {"remove": "a/b"},
        {"remove": "a", "replace": True},
        {"remove": "a", "bundle": "p.bundle", "sha256": "0" * 64},
        {"bundle": "p.bundle"},
        {"bundle": "p.bundle", "sha256": "0" * 63},
        {"bundle": "p.bundle", "sha256": "A" * 64},
        {"bundle": "../people.db", "sha256": "0" * 64},
        {"bundle": "/etc/passwd", "sha256": "0" * 64},
        {"bundle": "--replace", "sha256": "0" * 64},
        {"bundle": ".hidden", "sha256": "0" * 64},
        {"bundle": "", "sha256": "0" * 64},
        {"bundle": "p.bundle", "sha256": "0" * 64, "replace": 1},
        {"bundle": "p.bundle", "sha256": "0" * 64, "replace": "yes"},
    ],
)
def test_only_one_person_or_one_named_file_can_change_the_register(
    verbs: Callable[..., BoxVerbs], args: dict[str, Any]
) -> None:
    """No other file than one of the folder, by its digest; no option of the program behind it."""
    with pytest.raises(VerbFailed) as caught:
        verbs().gallery(args)
    assert "DSR-" not in str(caught.value)


def test_a_change_of_the_register_that_fails_says_why(verbs: Callable[..., BoxVerbs], tmp_path: Path) -> None:
    """The command line's own words: nobody is registered, no key for bundles."""
    write_config(tmp_path / "box.yaml")
    with pytest.raises(VerbFailed, match="nobody is registered"):
        verbs().gallery({"remove": "card-1"})
    with pytest.raises(VerbFailed, match="not started from a configuration file"):
        verbs(source=None).gallery({"remove": "card-1"})


def write_config(path: Path, **changes: Any) -> None:
    """Write the fixture's configuration with other sections."""
    tree = {
        "box": {"site": "north", "node": "box-1"},
        "cameras": [
            {"name": "cam", "zone": "z1", "source": {"kind": "folder", "path": str(path.parent / "x")}}
        ],
        "delivery": {"brokers": [{"host": "127.0.0.1"}], "outbox": str(path.parent / "o.db")},
        "presence": {},
        **changes,
    }
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")


def test_reload_takes_what_is_live_and_names_what_waits(
    verbs: Callable[..., BoxVerbs], tmp_path: Path
) -> None:
    """The judgements at once, the rest at the next start; asked again, nothing is new but what waits."""
    path = tmp_path / "box.yaml"
    write_config(path)
    taken: list[Config] = []
    made = verbs(config=load_config(path), take_over=lambda config: taken.append(config) or True)
    assert {"taken": [], "needs_restart": []} == made.reload({})

    write_config(
        path,
        recogniser={"threshold": 0.5, "model": "m.json"},
        quality={"max_yaw_deg": 10},
        log={"level": "debug"},
    )
    waits = ["log.level", "recogniser.model"]
    live = ["quality.max_yaw_deg", "recogniser.threshold"]
    assert {"taken": live, "needs_restart": waits} == made.reload({})
    assert {"taken": [], "needs_restart": waits} == made.reload({})
    (config,) = taken
    assert (0.5, 10.0, "info") == (config.recogniser.threshold, config.quality.max_yaw_deg, config.log.level)
    assert "dsr_inception" in str(config.recogniser.model)


def test_a_configuration_that_is_wrong_is_not_taken(verbs: Callable[..., BoxVerbs], tmp_path: Path) -> None:
    """The box goes on with what it has, and the answer says which key is wrong."""
    path = tmp_path / "box.yaml"
    write_config(path, quality={"min_face_px": -1})
    with pytest.raises(ConfigError, match="min_face_px"):
        verbs(take_over=lambda _config: pytest.fail("taken")).reload({})


def test_a_change_that_is_not_taken_in_time_is_a_failure(
    verbs: Callable[..., BoxVerbs], tmp_path: Path
) -> None:
    """And is tried again the next time."""
    path = tmp_path / "box.yaml"
    write_config(path)
    made = verbs(config=load_config(path), take_over=lambda _config: False)
    write_config(path, decide={"min_views": 7})
    for _ in range(2):
        with pytest.raises(VerbFailed, match="not taken in time"):
            made.reload({})
