"""Each effect of light, air and camera does what it is called, seeded and in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from calibration import conditions
from calibration.sheet import contact_sheet
from edge_app.errors import PhotoError

if TYPE_CHECKING:
    from pathlib import Path

    from calibration.ash import Image


@pytest.fixture
def picture() -> Image:
    """Return a smooth coloured pattern with detail, 96x80."""
    rng = np.random.default_rng(1)
    smooth = cv2.resize(
        rng.integers(40, 220, (6, 5, 3), dtype=np.uint8), (80, 96), interpolation=cv2.INTER_CUBIC
    )
    return np.asarray(np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255), np.uint8)


def _many(name: str, picture: Image, count: int = 10) -> list[Image]:
    return [conditions.EFFECTS[name](picture, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("name", conditions.EFFECTS)
def test_effect_is_seeded_and_keeps_shape(name: str, picture: Image) -> None:
    """Same seed, same picture; shape and type stay; the input stays; something happens."""
    before = picture.copy()
    one, two = (conditions.EFFECTS[name](picture, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(before, picture)
    assert (picture.shape, np.uint8) == (one.shape, one.dtype)
    assert any((found != picture).any() for found in _many(name, picture))


@pytest.mark.parametrize("name", ["led_cone", "brim_shadow", "flicker_bands", "darkness"])
def test_takes_light_away(name: str, picture: Image) -> None:
    """These darken on average."""
    assert np.mean([found.mean() for found in _many(name, picture)]) < picture.mean()


@pytest.mark.parametrize("name", ["glare"])
def test_adds_light(name: str, picture: Image) -> None:
    """A lamp in the lens only adds."""
    assert all((found.astype(int) - picture >= 0).all() for found in _many(name, picture))


@pytest.mark.parametrize("name", ["motion_blur", "defocus", "low_resolution"])
def test_takes_detail_away(name: str, picture: Image) -> None:
    """These lower the energy of the second derivative."""
    detail = cv2.Laplacian(picture, cv2.CV_64F).var()
    assert all(cv2.Laplacian(found, cv2.CV_64F).var() < detail for found in _many(name, picture))


def test_flicker_is_the_same_across_a_row() -> None:
    """A rolling shutter makes horizontal bands: rows differ, columns do not."""
    flat = np.full((64, 48, 3), 200, np.uint8)
    found = conditions.flicker_bands(flat, np.random.default_rng(0)).astype(int)
    assert 0 == found.std(axis=1).max() < found.std(axis=0).max()


def test_backscatter_lowers_contrast(picture: Image) -> None:
    """Dust lit by the camera's lamp veils the picture."""
    soft = cv2.GaussianBlur(picture, (0, 0), 4)
    assert np.mean([f.std() for f in _many("backscatter", soft)]) < soft.std() + 5


@pytest.mark.parametrize("severity", conditions.SEVERITIES)
def test_degrade_is_seeded(severity: str, picture: Image) -> None:
    """A composed severity is a function of picture and seed."""
    found = [conditions.degrade(picture, severity, np.random.default_rng(s)) for s in (7, 7)]
    np.testing.assert_array_equal(found[0], found[1])


def test_camera_lays_no_ash_and_mine_does(picture: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ash levels come as often as the severity says."""
    levels: list[int] = []

    def noted(image: Image, level: int, rng: np.random.Generator, **_: object) -> Image:
        levels.append(level)
        return image

    monkeypatch.setattr(conditions, "coal_ash", noted)
    for seed in range(200):
        conditions.degrade(picture, "camera", np.random.default_rng(seed))
    assert {0} == set(levels)
    levels.clear()
    for seed in range(400):
        conditions.degrade(picture, "mine", np.random.default_rng(seed))
    shares = [levels.count(level) / len(levels) for level in (0, 1, 2)]
    np.testing.assert_allclose([0.2, 0.3, 0.5], shares, atol=0.08)


@pytest.mark.parametrize("size", [(1, 1, 3), (7, 300, 3), (480, 640, 3)])
def test_any_size_works(size: tuple[int, int, int]) -> None:
    """One pixel, a strip and a camera picture survive every effect."""
    image = np.full(size, 90, np.uint8)
    for effect in conditions.EFFECTS.values():
        assert size == effect(image, np.random.default_rng(0)).shape


def test_unknown_severity_is_named(picture: Image) -> None:
    """The message lists what there is."""
    with pytest.raises(ValueError, match=r"one of .*dark_dust.*received 'fog'"):
        conditions.degrade(picture, "fog", np.random.default_rng(0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"light_ash": 0.7, "heavy_ash": 0.7, "effects": {}},
        {"light_ash": -0.1, "heavy_ash": 0.2, "effects": {}},
        {"light_ash": 0, "heavy_ash": 0, "effects": {"snow": 0.1}},
        {"light_ash": 0, "heavy_ash": 0, "effects": {"noise": 1.5}},
    ],
)
def test_impossible_severity_is_refused(wrong: dict[str, object]) -> None:
    """Unknown effects and numbers that are no probabilities are refused when made."""
    with pytest.raises(ValueError, match="effects must be among"):
        conditions.Severity(**wrong)  # type: ignore[arg-type]


def test_contact_sheet_has_a_row_for_everything(picture: Image, tmp_path: Path) -> None:
    """One row a family, one mixed, one an effect, one a severity; six columns."""
    from calibration.ash import FAMILIES

    cv2.imwrite(str(tmp_path / "face.png"), picture)
    contact_sheet(tmp_path / "face.png", tmp_path / "out" / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "out" / "sheet.png"))
    rows = len(FAMILIES) + 1 + len(conditions.EFFECTS) + len(conditions.SEVERITIES)
    assert sheet is not None
    assert (rows * 112, 6 * 112, 3) == sheet.shape


@pytest.mark.parametrize("name", ["sheet", "sheet.txt"])
def test_contact_sheet_without_a_pictures_ending_is_refused(
    picture: Image, tmp_path: Path, name: str
) -> None:
    """Not by a traceback of OpenCV's."""
    cv2.imwrite(str(tmp_path / "face.png"), picture)
    with pytest.raises(PhotoError, match=f"{name} is no picture's name"):
        contact_sheet(tmp_path / "face.png", tmp_path / name)


def test_contact_sheet_of_nothing_is_refused(tmp_path: Path) -> None:
    """A file that is no picture is named."""
    (tmp_path / "face.png").write_bytes(b"")
    with pytest.raises(PhotoError, match=r"face.png is no readable picture"):
        contact_sheet(tmp_path / "face.png", tmp_path / "sheet.png")
