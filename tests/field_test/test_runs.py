"""The whole way, with public portraits: clips are made, the real box runs over them, its word is scored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from field_test.assets import ROOT
from field_test.cli import main
from field_test.score import read_rows

if TYPE_CHECKING:
    from pathlib import Path

WALK = {"start_s": 0.5, "far_m": 2.6, "near_m": 1.5, "speed": 0.55, "side_m": 0.3, "to_side_m": 0.15}
SCENARIO = {
    "name": "small",
    "people": {"registered": 1, "photos": 2, "strangers": 1},
    "shots": [
        {
            "name": "both",
            "passages": [
                {"who": "registered:0", **WALK},
                {"who": "stranger:0", **WALK, "side_m": -0.6, "to_side_m": -0.35},
            ],
            "clock_jump": {"at_s": 1.5, "by_s": -7200},
        },
        {
            "name": "resized",
            "passages": [{"who": "registered:0", **WALK, "stops_s": 0.5}],
            "resize": {"at_s": 1.0, "size": [960, 540]},
        },
    ],
}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make and score the small scenario once, with the box's own commands; return the clips' folder."""
    folder = tmp_path_factory.mktemp("field")
    (folder / "s.yaml").write_text(yaml.safe_dump(SCENARIO), encoding="utf-8")
    clips = folder / "clips"
    assert 0 == main(["make", "--scenario", str(folder / "s.yaml"), "--out", str(clips)])
    assert 0 == main(["score", str(clips)])
    return clips


def figures(clips: Path) -> dict[str, Any]:
    """Return what was found."""
    found: dict[str, Any] = json.loads((clips / "run" / "score.json").read_text(encoding="utf-8"))
    return found


def test_the_registered_is_named_and_the_stranger_is_not(scored: Path) -> None:
    """Nobody gets a wrong name, and hardly a face is missed."""
    found = figures(scored)
    answers = {one["passage"]: one["answer"] for one in read_rows(scored / "run" / "passages.jsonl")}
    named = {one["answer"] for one in read_rows(scored / "run" / "passages.jsonl") if one["ref"] == "C-2001"}

    assert {"both/0", "both/1", "resized/0"} == set(answers)
    assert "right" in named
    assert "wrong" not in named
    assert (1, 0.0) == (found["strangers"]["passages"], found["strangers"]["ever_named"]["share"])
    assert 1.0 == found["faces"]["precision"]["share"]
    assert found["faces"]["miss"]["share"] < 0.2


def test_a_camera_that_changes_its_resolution_is_followed(scored: Path) -> None:
    """The same person is found before and after, where the truth says, in the new pixels."""
    (row,) = (one for one in read_rows(scored / "run" / "passages.jsonl") if one["passage"] == "resized/0")
    widths = [
        face["box"][2]
        for one in read_rows(scored / "run" / "resized" / "trace.jsonl")
        for face in one.get("faces", ())
    ]

    assert row["missed"] <= 3
    assert row["faces"] > 20
    assert max(widths) > 1.5 * min(widths)


def test_every_frame_of_the_clips_went_through_the_box(scored: Path) -> None:
    """Nothing was dropped, however slow the machine."""
    for shot in ("both", "resized"):
        frames = [row for row in read_rows(scored / shot / "truth.jsonl") if row["kind"] == "frame"]
        rows = [row for row in read_rows(scored / "run" / shot / "trace.jsonl") if "camera" in row]
        assert [frame["index"] for frame in frames] == [row["index"] for row in rows]
        assert [frame["t"] for frame in frames] == pytest.approx([row["t"] for row in rows], abs=0.08)


def test_the_figures_say_what_made_them(scored: Path) -> None:
    """Models with their hashes, threshold, people, seed, definitions; plots and tables beside them."""
    about = figures(scored)["about"]
    model = json.loads((ROOT / "models" / "dsr_inception.json").read_text(encoding="utf-8"))
    assert (model["sha256"], pytest.approx(model["threshold"], abs=1e-3)) == (
        about["recogniser"]["sha256"],
        about["threshold"],
    )
    assert ("small", "public", "own", 1) == (about["scenario"], about["people"], about["ash"], about["seed"])
    text = (scored / "run" / "score.md").read_text(encoding="utf-8")
    assert "| C-2001 |" in text
    assert "simulated ash: own" in text
    assert 5 == len(list((scored / "run").glob("*.png")))


def test_a_wall_clock_that_is_set_back_disturbs_nothing(scored: Path) -> None:
    """Two hours back in the middle: wall times follow, decisions and their order do not care."""
    events = read_rows(scored / "run" / "both" / "events.jsonl")
    monos = [event["mono_ns"] for event in events if event["kind"] == "sighting"]
    walls = [event["wall_ms"] for event in sorted(events, key=lambda event: event["seq"])]

    assert monos == sorted(monos)
    assert min(walls) < walls[0] - 7_000_000


def test_scoring_again_scores_what_stands(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No box is run twice; another bar for faces gives other figures of the same run."""
    before = figures(scored)["faces"]["faces"]
    assert 0 == main(["score", str(scored), "--min-px", "55"])
    assert "both: stands" in capsys.readouterr().out
    assert 0 < figures(scored)["faces"]["faces"] < before
    assert 0 == main(["score", str(scored)])
    other = scored.parent / "other.yaml"
    other.write_text("recogniser: {threshold: 0.99}\n", encoding="utf-8")
    capsys.readouterr()
    assert 2 == main(["score", str(scored), "--box", str(other)])
    assert "made with another configuration: recogniser.threshold" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["score", "{tmp}"], "holds no shot"),
        (["score", "{clips}", "--shots", "moon"], "has no shot moon"),
        (["score", "{clips}", "--box", "{tmp}/none.yaml"], "cannot read the part of a configuration"),
        (["score", "{clips}", "--out", "{clips}/scenario.json"], "scenario.json cannot be used"),
        (["make", "--scenario", "{clips}/../s.yaml", "--out", "{clips}/scenario.json"], "is no folder"),
        (["make", "--scenario", "{clips}/../s.yaml", "--out", "{clips}/scenario.json/x"], "Not a directory"),
        (["make", "--scenario", "{tmp}/none.yaml", "--out", "{tmp}/o"], "cannot read the scenario"),
    ],
)
def test_wrong_arguments_end_with_what_to_do(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    """A message and a status, no traceback."""
    status = main([one.format(tmp=tmp_path, clips=scored) for one in arguments])
    told = capsys.readouterr().err
    assert 2 == status
    assert says in told
    assert "fix:" in told
