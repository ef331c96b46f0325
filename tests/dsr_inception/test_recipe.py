"""A recipe is checked before anything is read, and every refusal names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dsr_inception import recipe as rc
from dsr_inception.errors import RecipeError

RECIPES = Path(rc.__file__).parent / "recipes"


@pytest.fixture
def content() -> dict[str, Any]:
    """Return the smoke recipe as it stands in YAML."""
    loaded: dict[str, Any] = yaml.safe_load((RECIPES / "smoke.yaml").read_text())
    return loaded


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_recipes_load(path: Path) -> None:
    """Every recipe in the folder passes its own checks and ends at the whole run."""
    assert 1.0 == rc.load_recipe(path).phases[-1].until


def test_phase_follows_the_clock(content: dict[str, Any]) -> None:
    """A phase ends at its share; the end belongs to the last."""
    recipe = rc.recipe_from(content)
    assert [32, 32, 64, 64] == [recipe.phase(share).side for share in (0.0, 0.69, 0.7, 1.0)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rat": 1.0}, "unknown key learning_rat"),
        ({"minutes": None}, "minutes must be a number"),
        ({"minutes": -3}, "minutes must be above 0; received -3"),
        ({"minutes": True}, "minutes must be a number"),
        ({"seed": 1.5}, r"seed must be a number \(int\); received 1.5"),
        ({"loss": 3}, "loss must be a section of its own; received 3"),
        ({"phases": []}, "phases must be at least one"),
    ],
)
def test_wrong_values_are_named(content: dict[str, Any], change: dict[str, Any], message: str) -> None:
    """An unknown key, a wrong type or an impossible value names key and value."""
    with pytest.raises(RecipeError, match=message):
        rc.recipe_from(content | change)


def test_missing_key_is_named(content: dict[str, Any]) -> None:
    """A key that is not there is named with its section."""
    del content["loss"]["scale"]
    with pytest.raises(RecipeError, match=r"missing key loss.scale"):
        rc.recipe_from(content)


@pytest.mark.parametrize(
    ("key", "value"), [("side", 16), ("batch", 1), ("degraded", 1.2), ("until", 0), ("quantised", 2)]
)
def test_wrong_phase_is_named(content: dict[str, Any], key: str, value: float) -> None:
    """Every bound of a phase is checked."""
    content["phases"][0][key] = value
    with pytest.raises(RecipeError, match=f"{key} must be"):
        rc.recipe_from(content)


def test_rounding_is_off_where_a_recipe_says_nothing(content: dict[str, Any]) -> None:
    """`quantised` may be left out, and then the phase computes in float."""
    assert [0] * len(content["phases"]) == [phase.quantised for phase in rc.recipe_from(content).phases]
    content["phases"][-1]["quantised"] = 1
    assert 1 == rc.recipe_from(content).phases[-1].quantised


def test_file_is_named(tmp_path: Path) -> None:
    """A missing file, broken YAML and a list are told apart, with the path."""
    path = tmp_path / "r.yaml"
    with pytest.raises(RecipeError, match=r"r.yaml cannot be read"):
        rc.load_recipe(path)
    path.write_text("a: [1")
    with pytest.raises(RecipeError, match="is not YAML"):
        rc.load_recipe(path)
    path.write_text("- 1")
    with pytest.raises(RecipeError, match="is not a mapping"):
        rc.load_recipe(path)
