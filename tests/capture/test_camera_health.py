from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_app.capture.camera_health import CameraHealth, Sight

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

S = 1_000_000_000


def noise(seed: int, *, low: int = 0, high: int = 255) -> np.ndarray:  # type: ignore[type-arg]
    """Return a noisy picture."""
    return np.random.default_rng(seed).integers(low, high, (360, 640, 3), np.uint8)


def test_capped_lens_is_dark() -> None:
    """Black with a sensor's noise is dark, and light again is clear."""
    health = CameraHealth()
    assert Sight.DARK is health.look(noise(1, high=16), 1 * S)
    assert Sight.CLEAR is health.look(noise(2), 2 * S)


def test_tunnel_with_one_lamp_is_not_dark() -> None:
    """Two per cent of the picture in lamp light is something to see."""
    tunnel = noise(1, high=10)
    tunnel[100:200, 300:360] = 120
    assert Sight.CLEAR is CameraHealth().look(tunnel, 0)


def test_real_photo_is_clear(demo_photos: Mapping[str, Path]) -> None:
    """An ordinary picture is, also at a fifth of its light."""
    from edge_app.capture.pixels import read_picture

    for path in demo_photos.values():
        pixels = read_picture(path)
        assert Sight.CLEAR is CameraHealth().look(pixels, 0)
        assert Sight.CLEAR is CameraHealth().look((pixels * 0.2).astype(np.uint8), 0)


def test_standing_picture_is_frozen() -> None:
    """Ten seconds without one changed bit are frozen; noise is not, and movement ends it."""
    health = CameraHealth(frozen_after_s=10)
    still = noise(1)
    assert [Sight.CLEAR] * 10 == [health.look(still, second * S) for second in range(10)]
    assert Sight.FROZEN is health.look(still, 10 * S)
    assert Sight.CLEAR is health.look(noise(2), 11 * S)
    assert [Sight.CLEAR] * 30 == [health.look(noise(second), (20 + second) * S) for second in range(30)]


def test_recording_may_stand_still() -> None:
    """A folder of one picture in a loop is no broken camera."""
    health = CameraHealth(frozen_after_s=None)
    still = noise(1)
    assert {Sight.CLEAR} == {health.look(still, second * S) for second in range(100)}


def test_looks_once_a_second() -> None:
    """Between two looks the last answer holds."""
    health = CameraHealth(every_s=1.0)
    health.look(noise(1), 0)
    assert Sight.CLEAR is health.look(np.zeros((9, 9, 3), np.uint8), S // 2)
    assert Sight.DARK is health.look(np.zeros((9, 9, 3), np.uint8), S)


@pytest.mark.parametrize("shape", [(1, 1, 3), (4320, 7680, 3)])
def test_any_size_is_looked_at(shape: tuple[int, ...]) -> None:
    """A dot and 8K are looked at alike."""
    health = CameraHealth()
    assert Sight.CLEAR is health.look(np.full(shape, 100, np.uint8), 0)
    assert 100.0 == health.brightness
