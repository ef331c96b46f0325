from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.faces.dustface import DustFace
from edge_app.faces.pair import PairDetector, Scale, combine, rescored
from edge_app.records import Box, Face
from tests.tiny_models import cell_network

if TYPE_CHECKING:
    from pathlib import Path

FIRST = Scale(begins=0.5, follows=0.15)
DUST = Scale(begins=0.7, follows=0.25)


def face(left: float, score: float, *, side: float = 40.0) -> Face:
    """Return a square face at `left`, its landmarks told by its score."""
    return Face(box=Box(left, 10, side, side), landmarks=np.full((5, 2), score, np.float32), score=score)


def both(first: list[Face], second: list[Face]) -> tuple[Face, ...]:
    """Return what the two say together."""
    return combine(first, second, scale=FIRST, second_scale=DUST)


@pytest.mark.parametrize(("score", "expected"), [(0.25, 0.15), (0.7, 0.5), (1.0, 1.0), (0.475, 0.325)])
def test_limits_of_one_scale_are_those_of_the_other(score: float, expected: float) -> None:
    """What begins a track begins one, what continues one continues one; straight between."""
    assert expected == pytest.approx(rescored(score, DUST, FIRST))


def test_face_that_only_the_second_finds_is_added() -> None:
    """With its own box and landmarks, its score on the first one's scale, best score first."""
    added, sure = face(200, 0.7), face(0, 0.9)
    assert [0.9, 0.5] == [pytest.approx(one.score) for one in both([sure], [added])]
    assert added.box == both([sure], [added])[1].box


def test_first_keeps_its_box_where_the_second_is_surer() -> None:
    """The same face is one face: box and landmarks of the first, the higher of the scores."""
    weak, strong = face(0, 0.2), face(4, 1.0)
    (found,) = both([weak], [strong])
    assert weak.box == found.box
    np.testing.assert_array_equal(weak.landmarks, found.landmarks)
    assert 1.0 == found.score


def test_second_never_lowers_a_score() -> None:
    """A face that the first is sure of stays as sure."""
    sure = face(0, 0.8)
    assert (sure,) == both([sure], [face(2, 0.3)])


def test_faces_side_by_side_stay_two() -> None:
    """A neighbour that overlaps little is somebody else; two of the second's never hide each other."""
    assert 3 == len(both([face(0, 0.8)], [face(32, 0.8), face(60, 0.8)]))


def test_pair_asks_both_and_frees_both(tmp_path: Path) -> None:
    """On real engines: a blue square of 200 of 255 begins a track for one scale, and not for the other."""
    engines = [OnnxEngine(cell_network(tmp_path / f"{name}.onnx")) for name in ("first", "second")]
    first = DustFace(engines[0], long_side=128, score_threshold=0.9)
    second = DustFace(engines[1], long_side=128, score_threshold=0.25)
    pair = PairDetector(first, second, scale=Scale(0.9, 0.9), second_scale=DUST)
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[:8, :8, 0] = 255
    picture[48:56, 64:72, 0] = 200
    scores = [one.score for one in pair.detect(picture)][:2]
    assert [pytest.approx(1.0), pytest.approx(0.9 + 0.1 * (200 / 255 - 0.7) / 0.3)] == scores
    assert first.backend == pair.backend
    pair.close()
    pair.close()
