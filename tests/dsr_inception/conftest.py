"""Small face sets made of drawn pictures: nothing here needs the research data."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Maker = Callable[[str, dict[str, bytes]], None]


def picture(seed: int, side: int = 128) -> bytes:
    """Return a PNG of a smooth random pattern."""
    grid = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    image = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".png", image)[1])


@pytest.fixture
def make_tar(tmp_path: Path) -> Maker:
    """Return a function that writes NAME.tar of the given files into the test's folder."""

    def make(name: str, files: dict[str, bytes]) -> None:
        with tarfile.open(tmp_path / f"{name}.tar", "w") as archive:
            for path, content in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))

    return make


@pytest.fixture
def drawn() -> Callable[[int], bytes]:
    """Return `picture`: a PNG by its number."""
    return picture


@pytest.fixture
def small_set(make_tar: Maker, tmp_path: Path) -> Path:
    """Return a folder with a CelebA of six people, three photos each, and splits.json."""
    files = {f"{p:05d}/{k}.png": picture(10 * p + k) for p in range(6) for k in range(3)}
    make_tar("celeba_train", files)
    splits = {
        "celeba_development": ["00005"],
        "celeba_deep": ["00004"],
        "mf_development": ["a"],
        "mf_test": ["b"],
    }
    (tmp_path / "splits.json").write_text(json.dumps(splits))
    return tmp_path
