"""Scenarios: what is wrong in a file is said with its place, and the project's own files are good."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge_app.errors import ConfigError
from field_test.scenario import FOLDER, load_scenario

if TYPE_CHECKING:
    from pathlib import Path

SHOT = {"name": "a", "seconds": 3}


def written(tmp_path: Path, **keys: Any) -> Path:
    """Return a scenario file with `keys`."""
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"name": "s", "shots": [SHOT], **keys}), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_projects_scenarios_are_good(path: Path) -> None:
    """Each can be read and carries the name of its file."""
    assert path.stem == load_scenario(path).name


def test_reported_figures_use_the_yardsticks_ash_and_choices_do_not() -> None:
    """A network must not be tested on the ash that choices were made on."""
    assert ("own", "yardstick") == tuple(
        load_scenario(FOLDER / f"{name}.yaml").ash for name in ("development", "test")
    )


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"shots": []}, "shots"),
        ({"fps": 0}, "fps"),
        ({"sped": 1}, "sped"),
        ({"shots": [SHOT, SHOT]}, "two shots have one name"),
        ({"shots": [{"name": "a"}]}, "nothing happens"),
        ({"shots": [{"name": "a", "comings": {}}]}, "set portal: true"),
        ({"shots": [{**SHOT, "cameras": [{"light": "moon"}]}]}, "there is no light 'moon'"),
        ({"shots": [{**SHOT, "cameras": [{"air": {"dust": -1}}]}]}, "shots[0].cameras[0].air.dust (line "),
        ({"shots": [{**SHOT, "cameras": [{"name": "x"}, {"name": "x"}]}]}, "two cameras have one name"),
        (
            {"shots": [{**SHOT, "passages": [{"who": "registered:9", "start_s": 1}]}]},
            "there is no registered:9",
        ),
        (
            {"shots": [{**SHOT, "passages": [{"who": "nobody", "start_s": 1}]}]},
            "passages[0].who (line ",
        ),
        (
            {"shots": [{**SHOT, "passages": [{"who": "stranger:0", "start_s": 1, "near_m": 5}]}]},
            "must be less than far_m",
        ),
        (
            {"shots": [{**SHOT, "passages": [{"who": "stranger:0", "start_s": 1, "camera": "y"}]}]},
            "not in the shot: y",
        ),
        ({"shots": [{**SHOT, "seconds": math.inf}]}, "shots[0].seconds (line 4): received inf"),
        ({"shots": [{**SHOT, "seconds": 0.01}]}, "shot a: 0.01 s at 12.5 frames a second is no frame"),
        ({"shots": [{**SHOT, "name": "registration"}]}, "cannot be called registration"),
        ({"shots": [{**SHOT, "name": "run"}]}, "cannot be called run"),
        ({"shots": [{**SHOT, "clock_jump": {"at_s": 1, "by_s": math.nan}}]}, "clock_jump.by_s"),
        ({"shots": [{**SHOT, "resize": {"at_s": 1, "size": [100_000, 100_000]}}]}, "resize.size[0]"),
        ({"shots": [{**SHOT, "traffic": {"speed": [2, 1]}}]}, "speed goes from 2 to 1"),
        ({"shots": [{**SHOT, "traffic": {"speed": [0.0001, 1]}}]}, "traffic.speed[0]"),
        ({"shots": [{**SHOT, "cameras": [{"lights": "cone"}]}]}, "no such key; did you mean light?"),
        ({"shots": [{**SHOT, "cameras": [{"light": "cones"}]}]}, "did you mean cone? known are cast, cone"),
        ({"people": {"strangers": 0}, "shots": [{**SHOT, "traffic": {"strangers": 2}}]}, "strangers is 0"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, keys: dict[str, Any], place: str) -> None:
    """The place, the fault and what to do."""
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        load_scenario(written(tmp_path, **keys))
    assert place in str(caught.value)
    assert "fix:" in str(caught.value)


def test_nothing_is_said_that_only_follows(tmp_path: Path) -> None:
    """A shot that is refused does not make the list of shots too short as well."""
    with pytest.raises(ConfigError) as caught:
        load_scenario(written(tmp_path, shots=[{**SHOT, "seconds": -1}]))
    assert 1 == caught.value.what.count("\n")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[1, 2]", "must hold keys and values at its top; received list"),
        ("a: [", "is not valid YAML"),
        ("name: a\nname: b\n", "line 2, column 1 is not valid YAML: name stands twice"),
    ],
)
def test_a_file_that_is_no_scenario_is_refused(tmp_path: Path, content: str, says: str) -> None:
    """Neither a traceback nor a guess."""
    path = tmp_path / "s.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        load_scenario(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    """The path stands in the message."""
    with pytest.raises(ConfigError, match=r"cannot read the scenario .*none\.yaml"):
        load_scenario(tmp_path / "none.yaml")
