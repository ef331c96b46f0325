"""A run that stands is scored only if it was made with what is asked for now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_app.errors import ConfigError
from field_test import standing
from field_test.truth import Clip, Truth

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    """Return the folder of a shot with a clip, with photos, two models and a calibration beside it."""
    for name in ("shot/a.mp4", "registration/C-1/1.jpg", "first.json", "second.json", "c.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    return tmp_path / "shot"


def made(shot: Path, port: int = 1, **sections: dict[str, Any]) -> dict[str, Any]:
    """Return what a run of now would be made with."""
    document = {
        "cameras": [{"name": "a", "zone": "z", "source": {"kind": "file", "path": f"/{port}/a.mp4"}}],
        "recogniser": {"model": str(shot.parent / "first.json")},
        "delivery": {"brokers": [{"port": port}]},
        **sections,
    }
    truth = Truth(clips=[Clip(camera="a", file="a.mp4", fps=5, size=(64, 48))])
    folder = shot.parent
    return standing.made_with(
        document, shot, truth, photos=folder / "registration", calibration=folder / "c.json"
    )


def kept(shot: Path, content: dict[str, Any]) -> Path:
    """Return the folder of a run that came to its end."""
    run = shot.parent / "run" / "shot"
    run.mkdir(parents=True)
    (run / "done").write_text(json.dumps(content), encoding="utf-8")
    return run


def test_run_of_the_same_stands_wherever_its_clips_lie(shot: Path) -> None:
    """Another port and another folder are no other configuration; one that has not ended does not stand."""
    run = kept(shot, made(shot))
    assert (True, "stands") == standing.stands(run, made(shot, port=2))
    assert (False, "") == standing.stands(run.parent / "other", made(shot))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"recogniser": {"threshold": 0.99}}, "recogniser.model, recogniser.threshold"),
        ({"decide": {"margin": 0.1}}, "decide"),
        ({"cameras": [{"name": "a", "zone": "other", "source": {"kind": "file"}}]}, "cameras"),
    ],
)
def test_run_of_another_configuration_is_refused(shot: Path, change: dict[str, Any], says: str) -> None:
    """Its figures would stand under the name of the new one: somebody who compares finds no difference."""
    run = kept(shot, made(shot))
    with pytest.raises(ConfigError, match=f"another configuration: {says}\n") as caught:
        standing.stands(run, made(shot, **change))
    assert "give another --out" in caught.value.fix


@pytest.mark.parametrize(
    ("changed", "says"),
    [("first.json", r"recogniser\.model"), ("registration/C-1/1.jpg", "people"), ("c.json", "calibration")],
)
def test_run_with_another_model_or_other_people_is_refused(shot: Path, changed: str, says: str) -> None:
    """Also where the path is the same."""
    run = kept(shot, made(shot))
    (shot.parent / changed).write_text("other", encoding="utf-8")
    with pytest.raises(ConfigError, match=f"another configuration: {says}\n"):
        standing.stands(run, made(shot))


def test_shot_whose_clips_were_made_again_is_run_again(shot: Path) -> None:
    """And of a run by other code that is said; it stands, for it takes hours."""
    run = kept(shot, made(shot))
    now = {**made(shot), "code": "other"}
    assert (True, "stands, of another version of the box's code") == standing.stands(run, now)
    (shot / "a.mp4").write_text("other", encoding="utf-8")
    assert standing.stands(run, made(shot)) == (
        False,
        "its clips are others than those that were run: run again",
    )


def test_run_of_an_older_version_is_judged_by_its_configuration(shot: Path) -> None:
    """It kept no more than that."""
    run = kept(shot, {})
    (run / "done").write_text("", encoding="utf-8")
    document = {"cameras": [], "decide": {"margin": 0.1}}
    (run / "box.yaml").write_text(json.dumps(document), encoding="utf-8")
    now = {**made(shot), "configuration": standing.plain(document)}
    assert standing.stands(run, now)[1].startswith("stands, of an older version")
    with pytest.raises(ConfigError, match="recogniser"):
        standing.stands(run, made(shot))
