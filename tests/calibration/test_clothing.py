"""Hood and helmet: around the face, not on it, and not twice the same."""

from __future__ import annotations

import numpy as np
import pytest

from calibration import conditions
from calibration.clothing import worn

FACE = (12.0, 6.0, 76.0, 85.0)


def drawn(count: int = 40) -> np.ndarray:
    """Return what is drawn around the face of a plain bright picture, (count, 100, 100, 3)."""
    plain = np.full((100, 100, 3), 180, np.uint8)
    return np.stack([worn(plain, FACE, np.random.default_rng(seed)) for seed in range(count)])


def test_it_is_seeded_and_leaves_its_input_alone() -> None:
    """Same seed, same clothes; another seed, others."""
    plain = np.full((80, 64, 3), 120, np.uint8)
    one, same, other = (worn(plain, (8, 5, 48, 66), np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert (plain == 120).all()
    assert one.shape == plain.shape
    assert one.dtype == np.uint8


def test_the_face_stays_and_what_is_around_it_goes() -> None:
    """Cheeks, nose and mouth are as they were, in most pictures; the corners hardly ever are."""
    pictures = drawn().astype(int)
    middle = np.abs(pictures[:, 50:75, 38:62] - 180).mean(axis=(1, 2, 3))
    assert np.median(middle) < 6
    corners = np.abs(pictures[:, -10:, :10] - 180).mean(axis=(1, 2, 3))
    assert (corners > 40).mean() > 0.7


def test_the_helmet_covers_the_top_and_shades_the_brow() -> None:
    """The top row is a helmet's; right below the brim it is darker than on the cheeks."""
    pictures = drawn().astype(float)
    assert np.median(np.abs(pictures[:, 0, 40:60] - 180).mean(axis=(1, 2))) > 25
    brow = pictures[:, 32:36, 45:55].mean(axis=(1, 2, 3))
    cheeks = pictures[:, 60:70, 45:55].mean(axis=(1, 2, 3))
    assert np.median(brow - cheeks) < -5


@pytest.mark.parametrize("name", [name for name in conditions.SEVERITIES if name != "miner"])
def test_no_other_severity_wears_anything(name: str) -> None:
    """Calibration sets and the conditions that figures are reported under stay what they were."""
    severity = conditions.SEVERITIES[name]
    assert severity.worn == 0
    assert severity.effects["lamp_colour"] == 0
