"""Simulated coal ash: seeded, bounded, darker, heavier by level, and unlike the yardstick in kind."""

from __future__ import annotations

import numpy as np
import pytest

from calibration import ash

FACE = (20.0, 12.0, 72.0, 88.0)
SEEDS = range(12)


@pytest.fixture
def bright() -> ash.Image:
    """Return an even, bright picture: what darkens it is the ash."""
    return np.full((112, 112, 3), 180, np.uint8)


@pytest.mark.parametrize("family", [*ash.FAMILIES, None])
@pytest.mark.parametrize("level", [1, 2])
def test_same_seed_same_ash(bright: ash.Image, family: str | None, level: int) -> None:
    """The generator is the only source of randomness, and the picture given stays as it was."""
    before = bright.copy()
    one, two, other = (
        ash.coal_ash(bright, level, np.random.default_rng(seed), face=FACE, family=family)
        for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    np.testing.assert_array_equal(before, bright)
    assert (np.uint8, bright.shape) == (one.dtype, one.shape)


def test_level_none_is_the_picture_itself(bright: ash.Image) -> None:
    """Level 0 changes nothing."""
    np.testing.assert_array_equal(bright, ash.coal_ash(bright, 0, np.random.default_rng(0)))


@pytest.mark.parametrize("family", ash.FAMILIES)
def test_heavy_covers_more_than_light(family: str) -> None:
    """Every family lays more ash at level 2 than at level 1, on average over seeds."""
    light, heavy = (
        np.mean([ash.ash_map((112, 112), FACE, n, np.random.default_rng(s), family).mean() for s in SEEDS])
        for n in (1, 2)
    )
    assert 0.01 < light < heavy < 0.9


def test_ash_darkens_a_bright_face_towards_coal(bright: ash.Image) -> None:
    """What is fully covered is a dark, nearly neutral grey."""
    found = [ash.coal_ash(bright, 2, np.random.default_rng(s), face=FACE, family="smears") for s in SEEDS]
    darkest = np.array([picture.reshape(-1, 3)[picture.sum(axis=2).argmin()] for picture in found], float)
    assert darkest.max() < 110
    assert (darkest.max(axis=1) - darkest.min(axis=1)).max() < 25


@pytest.mark.parametrize("family", ["patches", "grains", "smears"])
def test_ash_lies_on_the_face(family: str) -> None:
    """What sticks to skin is mostly within the face's box, wherever it stands in a large picture."""
    box = (200.0, 40.0, 80.0, 100.0)
    covered = np.mean(
        [ash.ash_map((240, 320), box, 2, np.random.default_rng(s), family) for s in SEEDS], axis=0
    )
    inside = covered[40:140, 200:280].mean()
    assert 3 * covered[:, :120].mean() < inside


def test_streaks_have_a_direction_the_yardstick_has_not() -> None:
    """Stretched noise is many times smoother along its direction than across it."""
    ratios = []
    for seed in SEEDS:
        field = ash.ash_map((112, 112), FACE, 2, np.random.default_rng(seed), "streaks").astype(float)
        dy, dx = np.gradient(field)
        tensor = np.array([[(dx * dx).sum(), (dx * dy).sum()], [(dx * dy).sum(), (dy * dy).sum()]])
        small, large = np.linalg.eigvalsh(tensor)
        ratios.append(large / max(small, 1e-9))
    assert 4 < np.median(ratios)


@pytest.mark.parametrize("size", [(1, 1), (8, 300), (720, 1280)])
def test_any_size_works(size: tuple[int, int]) -> None:
    """One pixel, a strip and a whole camera picture come back in their size."""
    picture = np.full((*size, 3), 128, np.uint8)
    for seed in range(4):
        assert picture.shape == ash.coal_ash(picture, 2, np.random.default_rng(seed)).shape


@pytest.mark.parametrize(
    ("picture", "level", "family", "message"),
    [
        (np.zeros((4, 4), np.uint8), 1, None, r"must be \(H, W, 3\) uint8 BGR; received \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), 1, None, r"received \(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), 1, None, "float32"),
        (np.zeros((4, 4, 3), np.uint8), 4, None, "level must be 0 to 3"),
        (np.zeros((4, 4, 3), np.uint8), 1, "snow", "received 1, 'snow'"),
    ],
)
def test_wrong_input_is_refused(picture: ash.Image, level: int, family: str | None, message: str) -> None:
    """Grey, RGBA and float pictures, unknown levels and families are named."""
    with pytest.raises(ValueError, match=message):
        ash.coal_ash(picture, level, np.random.default_rng(0), family=family)
