from __future__ import annotations

import numpy as np
import pytest

from dsr_inception import scenes
from dsr_inception.scenes import Portrait, Scene, background, likeness, make_scene


def portrait(side: int = 128, *, whole: bool = False) -> Portrait:
    """Return a drawn face: a light square with the five landmarks marked by their colours."""
    pixels = np.full((side, side, 3), 90, np.uint8)
    box = np.array([[0.2, 0.15, 0.6, 0.7]], np.float32) * side
    shares = np.array([[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.4, 0.72], [0.6, 0.72]], np.float32)
    x, y, w, h = (int(v) for v in box[0])
    pixels[y : y + h, x : x + w] = 200
    for number, (u, v) in enumerate((shares * side).astype(int)):
        pixels[v - 3 : v + 4, u - 3 : u + 4] = (0, 0, 40 + 40 * number)
    return Portrait(pixels, box, (shares * side)[None], whole)


def scene(seed: int, **changed: object) -> Scene:
    """Return one scene of drawn faces."""
    rng = np.random.default_rng(seed)
    walls = [np.full((96, 96, 3), 30, np.uint8)]
    given: dict[str, object] = {"portraits": [portrait()], "photos": [portrait(240, whole=True)], **changed}
    return make_scene(rng, given["portraits"], given["photos"], walls, side=96)  # type: ignore[arg-type]


def test_same_generator_same_scene() -> None:
    """Training can be repeated: the seed decides every pixel."""
    one, other = scene(3), scene(3)
    np.testing.assert_array_equal(one.seen, other.seen)
    np.testing.assert_array_equal(one.boxes, other.boxes)


def test_landmarks_follow_their_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scaled, turned and mirrored, the marked places are where the scene says, in the picture's order."""
    monkeypatch.setattr(scenes, "LEAST", 60.0)
    seen = 0
    for seed in range(40):
        made = scene(seed)
        for box, marks in zip(made.boxes, made.marks, strict=True):
            if not (box[:2] > 4).all() or (box[:2] + box[2:] > 92).any():
                continue
            seen += 1
            reds = [int(made.clean[round(float(y)), round(float(x)), 2]) for x, y in marks]
            blues = [int(made.clean[round(float(y)), round(float(x)), 0]) for x, y in marks]
            assert max(blues) < 100, seed
            assert marks[0, 0] < marks[1, 0]
            assert marks[3, 0] < marks[4, 0]
            assert len(set(reds)) >= 4
    assert seen >= 5


def test_pictures_without_faces_are_among_them() -> None:
    """A detector that only ever saw faces would find them everywhere."""
    counts = {len(scene(seed, photos=[]).boxes) for seed in range(30)}
    assert {0, 1} <= counts


def test_faces_do_not_cover_each_other() -> None:
    """Two faces in a picture stand apart."""
    for seed in range(60):
        boxes = scene(seed, photos=[]).boxes
        if len(boxes) == 2:
            gap = np.abs((boxes[0, :2] + boxes[0, 2:] / 2) - (boxes[1, :2] + boxes[1, 2:] / 2)) * 2
            assert (gap > (boxes[0, 2:] + boxes[1, 2:]) * 0.9).any()


def test_face_that_nobody_could_see_is_none() -> None:
    """What is left of a face is its correlation; of one that is gone nothing is."""
    face = portrait()
    black, dim = np.zeros_like(face.pixels), (face.pixels // 4).astype(np.uint8)
    assert 0.0 == likeness(face.pixels, black, face.boxes[0])
    assert likeness(face.pixels, dim, face.boxes[0]) > 0.95
    assert likeness(face.pixels, face.pixels, face.boxes[0]) == pytest.approx(1.0)


def test_background_is_square_whatever_its_source() -> None:
    """A strip and a large picture give the size that is asked for."""
    rng = np.random.default_rng(1)
    for shape in ((40, 300, 3), (500, 500, 3)):
        assert (64, 64, 3) == background(rng, np.zeros(shape, np.uint8), 64).shape
