"""Ground truth on disk: what was written is read, what is broken is refused with its line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_app.errors import ConfigError
from field_test.assets import ROOT
from field_test.truth import Clip, FrameTruth, Passage, TrueFace, read_truth, write_line

if TYPE_CHECKING:
    from pathlib import Path

CLIP = {"kind": "clip", "camera": "c", "file": "c.gif", "fps": 12, "size": [480, 270]}
PASSAGE = {"kind": "passage", "id": 0, "camera": "c", "who": "a", "ref": None}
PASSAGE |= {"ash": "clean", "first_s": 0, "last_s": 1}
FRAME = {"kind": "frame", "camera": "c", "index": 0, "t": 0, "faces": [{"passage": 0, "box": [1, 2, 30, 40]}]}


def written(tmp_path: Path, *lines: dict[str, Any] | str) -> Path:
    """Return a truth file with these lines."""
    path = tmp_path / "truth.jsonl"
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Every field, in both directions."""
    clip = Clip(camera="c", file="c.mp4", fps=12.5, size=(640, 360), zone="z", light="cone", portal=True)
    passage = Passage(
        id=4, camera="c", who="w", ref="P1", ash="heavy", first_s=1.0, last_s=2.0, way="in", crossed_s=1.5
    )
    face = TrueFace(passage=4, box=(1.0, 2.0, 3.0, 4.0), pose="yaw_45", hidden=0.25)
    frame = FrameTruth(camera="c", index=7, t=0.56, faces=(face,), present=(4,))
    path = tmp_path / "truth.jsonl"
    with path.open("w", encoding="utf-8") as out:
        write_line(out, "clip", clip)
        write_line(out, "passage", passage)
        write_line(out, "frame", frame)

    truth = read_truth(path)

    assert ([clip], {4: passage}, {("c", 7): frame}) == (truth.clips, truth.passages, truth.frames)


def test_a_truth_by_hand_needs_only_what_nobody_can_guess(tmp_path: Path) -> None:
    """Pose, cover and who is there have defaults; empty lines are passed over."""
    truth = read_truth(written(tmp_path, CLIP, "", PASSAGE, FRAME))
    assert [(0,)] == [frame.present for frame in truth.of("c")]
    assert ("unknown", 0.0) == (truth.of("c")[0].faces[0].pose, truth.of("c")[0].faces[0].hidden)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([CLIP, "{"], "line 2 is no JSON"),
        ([CLIP, {"kind": "moon"}], "line 2 is no ground truth"),
        ([{**CLIP, "colour": 1}], "line 1 is no ground truth"),
        ([CLIP, {**PASSAGE, "id": "x"}], "line 2 is no ground truth"),
        (
            [CLIP, PASSAGE, {**FRAME, "faces": [{"passage": 0, "box": [1, 2, 3]}]}],
            "line 3 is no ground truth",
        ),
        ([CLIP, FRAME], r"passages that are not described: \[0\]"),
        ([PASSAGE], "no clip"),
    ],
)
def test_a_broken_truth_is_refused_with_its_line(
    tmp_path: Path, lines: list[dict[str, Any] | str], says: str
) -> None:
    """What is wrong, where, and what to do."""
    with pytest.raises(ConfigError, match=says) as caught:
        read_truth(written(tmp_path, *lines))
    assert "fix:" in str(caught.value)


def test_a_missing_truth_is_said_to_be_missing(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_truth(tmp_path / "truth.jsonl")


@pytest.mark.parametrize(
    ("name", "frames", "people"), [("walking", 41, 3), ("both", 56, 2), ("woman", 23, 1), ("man", 62, 1)]
)
def test_the_real_clips_truth_is_whole(name: str, frames: int, people: int) -> None:
    """Every frame has everybody, within the picture."""
    truth = read_truth(ROOT / "field_test" / "real" / name / "truth.jsonl")
    assert (frames, people) == (len(truth.frames), len(truth.passages))
    for frame in truth.of("real"):
        assert people == len(frame.faces)
        assert all(
            x >= 0 and y >= 0 and x + w <= 480 and y + h <= 270 for x, y, w, h in (f.box for f in frame.faces)
        )
