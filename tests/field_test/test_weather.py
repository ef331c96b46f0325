"""What the tunnel's light, air and camera do to a picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from field_test import scene
from field_test.light import LAYOUTS
from field_test.miner import SIZES, Outfit, figure_from_behind, figure_from_face
from field_test.weather import Air, Weather


def seen(light: str, seconds: float = 1.0, *, seed: int = 3, **air: float) -> np.ndarray:
    """Return the empty tunnel under `light` as the camera delivers it."""
    tunnel = scene.make_scene(seed, LAYOUTS[light])
    weather = Weather(tunnel, seed=seed, air=Air(**air))  # type: ignore[arg-type]
    picture = tunnel.rock.copy()
    weather.add_far_air(picture, seconds)
    weather.add_near_air(picture, seconds)
    return weather.expose(picture, seconds)


@pytest.mark.parametrize("light", sorted(LAYOUTS))
def test_every_light_leaves_a_dark_tunnel_that_is_not_black(light: str) -> None:
    """Mean grey between 10 and 100 of 255, with something bright and something dark in it."""
    grey = cv2.cvtColor(seen(light), cv2.COLOR_BGR2GRAY)
    assert 10 < grey.mean() < 100
    assert np.percentile(grey, 5) < 45
    assert grey.max() > 150


def test_the_same_seed_gives_the_same_picture() -> None:
    """And another seed another one."""
    assert np.array_equal(seen("row"), seen("row"))
    assert not np.array_equal(seen("row"), seen("row", seed=4))


def test_sodium_light_is_yellow_and_the_lens_lamp_dazzles() -> None:
    """Red over blue under the one, a burnt-out disc with the other."""
    blue, _, red = seen("cast").reshape(-1, 3).mean(axis=0)
    assert red > 1.2 * blue
    assert (seen("glare").min(axis=2) > 235).sum() > 3 * (seen("row").min(axis=2) > 235).sum() + 200


def test_flicker_makes_bands_that_creep() -> None:
    """The rows' brightness swings, and swings elsewhere later."""
    steady, now, later = seen("row"), seen("flicker"), seen("flicker", 1.5)
    ratio, other = ((one.mean(axis=(1, 2)) + 1) / (steady.mean(axis=(1, 2)) + 1) for one in (now, later))
    assert ratio.max() / ratio.min() > 1.1
    assert np.abs(ratio - other).max() > 0.05


@pytest.mark.parametrize(
    ("worse", "better"),
    [({"noise": 3.0}, {"noise": 0.0}), ({"codec": 1.0}, {"codec": 0.0})],
)
def test_noise_and_a_thin_wire_leave_less_of_the_picture(
    worse: dict[str, float], better: dict[str, float]
) -> None:
    """Farther from the picture without either."""
    clean = seen("row", noise=0.0).astype(np.float32)
    assert np.abs(seen("row", **worse) - clean).mean() > 1.5 * np.abs(seen("row", **better) - clean).mean()


def test_dirt_on_the_lens_grows_and_flattens_the_picture() -> None:
    """Contrast falls from the first minute to the third."""
    spreads = [seen("glare", 60.0 * minute, dirt=0.1, dirt_grows=0.4).std() for minute in (0, 2)]
    assert spreads[1] < 0.9 * spreads[0]


def test_dust_lifts_the_dark() -> None:
    """Haze is light that the air sends."""
    assert seen("cone", dust=5.0).mean() > seen("cone", dust=0.0).mean() + 0.5


def test_a_figure_has_no_hard_edge_and_its_face_where_it_says() -> None:
    """Alpha is full in the middle of the face, nothing at the borders, and rises softly between."""
    photo = np.full((200, 200, 3), 150, np.uint8)
    figure = figure_from_face(photo, (60.0, 50.0, 76.0, 100.0), clean=None, outfit=Outfit(lamp=True))
    alpha = figure.layers[0][:, :, 3]
    x, y, w, h = figure.face

    assert SIZES[0] == h
    assert 0.999 < alpha[round(y + h / 2), round(x + w / 2)] <= 1.0001
    assert max(alpha[:, 0].max(), alpha[:, -1].max(), alpha[-1].max()) < 0.01
    assert np.abs(np.diff(alpha[round(y + 2 * h)])).max() < 0.6
    assert all(layer.max() < 1.2 for layer in figure.layers)


def test_a_photos_own_exposure_is_taken_out() -> None:
    """A dark and a bright photo of the same face give faces of about the same brightness."""
    rng = np.random.default_rng(0)
    face = cv2.resize(rng.integers(90, 160, (20, 20, 3), dtype=np.uint8), (200, 200))
    box, means = (60.0, 50.0, 76.0, 100.0), []
    for factor in (0.75, 1.4):
        photo = np.clip(face * factor, 0, 255).astype(np.uint8)
        figure = figure_from_face(photo, box, clean=None, outfit=Outfit())
        x, y, w, h = map(round, figure.face)
        means.append(float(figure.layers[0][y + h // 3 : y + h, x + w // 4 : x + 3 * w // 4, :3].mean()))
    assert 1.0 == pytest.approx(means[0] / means[1], abs=0.15)


def test_who_is_seen_from_behind_has_no_face() -> None:
    """And no burning lamp."""
    figure = figure_from_behind(outfit=Outfit(lamp=True), ash=2)
    assert not figure.has_face
    assert not figure.lit
