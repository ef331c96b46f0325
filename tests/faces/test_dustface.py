from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.errors import ModelError
from edge_app.faces.dustface import DustFace
from tests.tiny_models import cell_network, mean_colour_network, recogniser

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def cells(tmp_path: Path) -> DustFace:
    """Return a detector that finds a face of one cell in every blue cell."""
    return DustFace(OnnxEngine(cell_network(tmp_path / "cells.onnx")), long_side=128)


def blue(*, left: int, top: int, side: int, size: tuple[int, int] = (96, 128)) -> Pixels:
    """Return a black picture, (height, width), with one blue square."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[top : top + side, left : left + side, 0] = 255
    return picture


@pytest.mark.parametrize("side", [8, 16, 32])
def test_cell_of_each_stride_becomes_a_face_where_it_lies(cells: DustFace, side: int) -> None:
    """Box and landmarks are the cell's, in pixels of the picture; smaller cells within it are suppressed."""
    faces = cells.detect(blue(left=2 * side, top=side, side=side))
    found = [face for face in faces if face.box.width == pytest.approx(side)]
    assert 1 == len(found)
    box = found[0].box
    np.testing.assert_allclose((2 * side, side, side, side), (box.x, box.y, box.width, box.height), atol=1e-3)
    shares = np.array([[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.75, 0.75]])
    np.testing.assert_allclose(shares * side + [2 * side, side], found[0].landmarks, atol=1e-3)
    assert found[0].score == pytest.approx(1.0)


def test_best_score_stands_first(cells: DustFace) -> None:
    """Two faces of different brightness come in the order of their scores."""
    picture = blue(left=0, top=0, side=8)
    picture[48:56, 64:72, 0] = 200
    scores = [face.score for face in cells.detect(picture)]
    assert [pytest.approx(1.0), pytest.approx(200 / 255)] == scores


def test_coordinates_scale_with_the_picture(cells: DustFace) -> None:
    """A picture of twice the network's size gives boxes of twice the size."""
    faces = cells.detect(blue(left=64, top=32, side=32, size=(192, 256)))
    assert (64, 32, 32, 32) in [(f.box.x, f.box.y, f.box.width, f.box.height) for f in faces]


def test_threshold_decides_and_nothing_is_found_in_black(tmp_path: Path, cells: DustFace) -> None:
    """A face below the score is none, and an empty answer is an empty tuple."""
    strict = DustFace(OnnxEngine(cell_network(tmp_path / "n.onnx")), score_threshold=1.01, long_side=128)
    assert () == strict.detect(blue(left=0, top=0, side=8))
    assert () == cells.detect(np.zeros((96, 128, 3), np.uint8))


def test_boxes_are_cut_at_the_border_and_landmarks_are_not(tmp_path: Path) -> None:
    """A face that reaches beyond the picture keeps its landmarks, as CenterFace's does."""
    large = DustFace(OnnxEngine(cell_network(tmp_path / "n.onnx", size=3.0)), long_side=128)
    face = large.detect(blue(left=0, top=0, side=8))[0]
    assert (0.0, 0.0) == (face.box.x, face.box.y)
    assert face.box.width < 3 * 8


def test_sizes_may_change_from_frame_to_frame(cells: DustFace) -> None:
    """The reused buffer forgets the last picture."""
    expected = cells.detect(blue(left=8, top=8, side=8))
    cells.detect(np.full((40, 128, 3), 255, np.uint8))
    again = cells.detect(blue(left=8, top=8, side=8))
    assert [face.box for face in expected] == [face.box for face in again]


def test_other_network_is_no_dust_detector(tmp_path: Path, centerface: Path) -> None:
    """A network with other outputs, CenterFace and a recogniser's manifest are refused when opened."""
    with pytest.raises(ModelError, match="not a dust detector"):
        DustFace(OnnxEngine(mean_colour_network(tmp_path / "t.onnx")))
    with pytest.raises(ModelError, match="not a dust detector") as caught:
        DustFace.open(centerface)
    assert "dsr-engine export --detector" in caught.value.fix
    with pytest.raises(ModelError, match="a detector is needed here; received the recogniser"):
        DustFace.open(recogniser(tmp_path))


def test_picture_of_another_kind_is_refused(cells: DustFace) -> None:
    """As by the other detectors."""
    with pytest.raises(ValueError, match=r"pixels must be \(H, W, 3\) uint8 BGR; received"):
        cells.detect(np.zeros((9, 9), np.uint8))
