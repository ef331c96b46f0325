"""The demo's clip, rendered once into the cache that the demo uses too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from field_test import assets, tunnel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.fixture(scope="session")
def photo_files(demo_photos: Mapping[str, Path]) -> dict[str, Path]:
    """Return the public photos by file name."""
    return {path.name: path for path in demo_photos.values()}


@pytest.fixture(scope="session")
def demo_clip(photo_files: dict[str, Path]) -> tuple[Path, tunnel.Truth]:
    """Return the demo's clip and its ground truth."""
    clip, truth = tunnel.make_clip(photo_files, assets.CACHE / "clips")
    return clip, tunnel.read_truth(truth)
