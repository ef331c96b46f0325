from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from dsr_inception.detector import CELL_VALUES, STRIDES, build_detector, unit_names, weights_of
from dsr_inception.dust_training import DustRecipe, DustTrainer, decode, encode, loss_of, targets_of
from dsr_inception.scenes import Scene
from tests.dsr_inception.test_scenes import portrait

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

BOX = np.array([10.0, 20.0, 30.0, 40.0], np.float32)
MARKS = np.array([[18, 35], [32, 35], [25, 42], [20, 50], [30, 50]], np.float32)


def scene(*boxes: npt.NDArray[np.float32], side: int = 96) -> Scene:
    """Return a scene whose picture does not matter."""
    pixels = np.zeros((side, side, 3), np.uint8)
    marks = np.array([MARKS for _ in boxes], np.float32).reshape(-1, 5, 2)
    return Scene(pixels, pixels, np.array(boxes, np.float32).reshape(-1, 4), marks)


def silent(side: int = 96) -> list[npt.NDArray[np.float32]]:
    """Return the maps of a teacher that sees nothing."""
    maps = [np.zeros((side // s, side // s, CELL_VALUES), np.float32) for s in STRIDES]
    for cells in maps:
        cells[..., :2] = -9.0
    return maps


@pytest.mark.parametrize("stride", STRIDES)
def test_what_is_encoded_is_decoded(stride: int) -> None:
    """Any cell can tell the box, and the decoder gets it back."""
    cells = np.zeros((12, 12, CELL_VALUES), np.float32)
    cells[1, 2, 2:] = encode(BOX, MARKS, 1, 2, stride)
    corners, _ = decode(cells, stride)
    np.testing.assert_allclose([10, 20, 40, 60], corners[1, 2], atol=1e-3)
    marks = np.add(cells[1, 2, 6:].reshape(5, 2), (2, 1)) * stride
    np.testing.assert_allclose(MARKS, marks, atol=1e-3)


def test_cells_are_the_teachers_where_it_is_right() -> None:
    """A sure cell on the face is the face's; one elsewhere is nobody's, however sure it is."""
    clean = silent()
    clean[1][2, 1, :2], clean[1][2, 1, 2:] = 3.0, encode(BOX, MARKS, 2, 1, 16)
    clean[0][0, 11, :2], clean[0][0, 11, 2:] = 5.0, encode(np.add(BOX, (60, -18, 0, 0)), MARKS, 0, 11, 8)
    targets = targets_of(scene(BOX), clean)
    assert [0, 1, 0] == [int(target[..., CELL_VALUES].sum()) for target in targets]
    assert targets[1][2, 1, 0] >= 0.95
    assert 0.0 == targets[0][0, 11, 0]


@pytest.mark.parametrize(("height", "level"), [(20.0, 0), (60.0, 1), (110.0, 2)])
def test_face_that_the_teacher_misses_has_the_cell_at_its_middle(height: float, level: int) -> None:
    """On the stride of its size, and with everything that the cell has to say."""
    box = np.array([4.0, 3.0, 0.75 * height, height], np.float32)
    targets = targets_of(scene(box), silent())
    assert [level] == [n for n, target in enumerate(targets) if target[..., CELL_VALUES].sum()]
    row, column = (int(v) for v in np.argwhere(targets[level][..., CELL_VALUES])[0])
    corners, _ = decode(targets[level][..., :CELL_VALUES], STRIDES[level])
    np.testing.assert_allclose([*box[:2], *(box[:2] + box[2:])], corners[row, column], atol=1e-3)


def test_loss_is_least_for_what_is_wanted() -> None:
    """The wanted answer costs almost nothing; a miss, a false face and a wrong box cost more."""
    clean = silent()
    targets = [target[None] for target in targets_of(scene(BOX), clean)]
    right = [np.array(target[..., :CELL_VALUES]) for target in targets]
    for one in right:
        one[..., :2] = np.where(one[..., :2] > 0, 1.8, -12.0)
    recipe = DustRecipe()

    def loss(change: object = None) -> float:
        outputs = [one.copy() for one in right]
        if change == "miss":
            outputs[0][..., :2] = outputs[1][..., :2] = outputs[2][..., :2] = -12.0
        elif change == "false":
            outputs[0][0, 0, 0, :2] = 4.0
        elif change == "box":
            outputs[0][..., 2:6] += 1.0
            outputs[1][..., 2:6] += 1.0
        return float(loss_of(outputs, targets, recipe))

    best = loss()
    assert best < 1.0
    assert all(loss(change) > best + 0.5 for change in ("miss", "false", "box"))


def test_training_learns_and_leaves_what_is_needed_to_go_on(tmp_path: Path) -> None:
    """A few steps on drawn faces lower the loss; weights and recipe stand in the folder."""
    keras.utils.set_random_seed(4)
    recipe = DustRecipe(minutes=2, steps=60, batch=4, side=64, rate=2e-3, warmup=2)
    first, teacher = build_detector(), build_detector()
    before = [np.array(w) for w in first.get_weights()]
    sources = {"portraits": [portrait()], "photos": [], "backgrounds": [np.zeros((64, 64, 3), np.uint8)]}
    trainer = DustTrainer(recipe=recipe, model=first, teacher=teacher, folder=tmp_path, **sources)
    path = trainer.run()
    assert {"dustface.keras", "recipe.json"} == {one.name for one in tmp_path.iterdir()}
    assert path == tmp_path / "dustface.keras"
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(before, first.get_weights(), strict=True))
    # Single steps see other pictures: compare several.
    assert 60 == len(trainer.losses)
    assert np.median(trainer.losses[-15:]) < np.median(trainer.losses[:15])


def test_table_of_layers_is_yunets() -> None:
    """53,104 weights in 53 convolutions, by name."""
    model = build_detector()
    assert 53_104 == model.count_params()
    assert 2 * len(unit_names()) + 1 == len(weights_of(model)) == 53


def test_yunets_own_weights_give_yunets_own_faces(data_dir: Path | None, tmp_path: Path) -> None:
    """Loaded into our network, written by our exporter, decoded by our box: the faces of OpenCV's YuNet.

    Needs the research data's YuNet file; without it only the refusal of a missing file is looked at.
    """
    from dsr_inception.detector import load_yunet
    from dsr_inception.errors import DataError

    model = build_detector()
    with pytest.raises(DataError, match="YuNet's file is missing"):
        load_yunet(model, tmp_path / "none.onnx")
    if data_dir is None:
        return
    import cv2

    from build_engine.dustface import dustface_from_keras
    from edge_app.faces.detect import YuNet
    from edge_app.faces.dustface import DustFace

    file = data_dir / "models" / "face_detection_yunet_2023mar.onnx"
    load_yunet(model, file)
    model.save(tmp_path / "dustface.keras")
    ours = DustFace.open(dustface_from_keras(tmp_path / "dustface.keras", tmp_path), score_threshold=0.7)
    frame = cv2.VideoCapture(str(data_dir / "clips" / "face-demographics-walking-and-pause.gif")).read()[1]
    pixels = np.asarray(frame, np.uint8)
    faces, theirs = ours.detect(pixels), YuNet(file).detect(pixels)
    assert 3 == len(theirs)
    for one, other in zip(faces, theirs, strict=True):
        assert one.box.iou(other.box) > 0.99
        np.testing.assert_allclose(other.landmarks, one.landmarks, atol=0.1)
