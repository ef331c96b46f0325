"""A whole box in a folder, a real broker, and somebody who listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import pytest

from tests.daemon.rig import BoxRig, Listener

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.rig import Mosquitto


@pytest.fixture
def listener(broker: Mosquitto) -> Iterator[Listener]:
    """Return a subscriber to everything."""
    listener = Listener(broker.port)
    yield listener
    listener.close()


@pytest.fixture
def rig(tmp_path: Path, broker: Mosquitto, centerface: Path) -> Iterator[BoxRig]:
    """Return a box on that broker, without a camera yet."""
    rig = BoxRig(tmp_path, detector=centerface, port=broker.port)
    yield rig
    rig.close()


@pytest.fixture
def clip(tmp_path: Path, demo_photos: Mapping[str, Path]) -> Path:
    """Return a folder of 40 pictures in which one public person stands before the camera."""
    folder = tmp_path / "clip"
    folder.mkdir()
    photo = cv2.imread(str(demo_photos["obama2"]))
    height = 360
    width = round(photo.shape[1] * height / photo.shape[0])
    small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    for index in range(40):
        frame = cv2.copyMakeBorder(small, 0, 0, 40 + index, 200 - index, cv2.BORDER_REPLICATE)
        cv2.imwrite(str(folder / f"{index:03d}.jpg"), frame)
    return folder
