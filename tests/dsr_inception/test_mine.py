"""A mine's own folder PERSON/LEVEL/POSE: every fault named, gaps allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dsr_inception.datasets import POSES
from dsr_inception.errors import DataError
from dsr_inception.mine import mine_set

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

LEVELS = ("clean", "light", "heavy")


class _Detector:
    """Finds one face in bright pictures; a stand-in for the network only."""

    backend = "stand-in"

    def detect(self, pixels: npt.NDArray[np.uint8]) -> Any:
        from edge_app.records import Box, Face

        if pixels.mean() < 20:
            return ()
        marks = np.array([[40, 40], [70, 40], [55, 60], [42, 75], [68, 75]], np.float32)
        small = Face(box=Box(0, 0, 12, 12), landmarks=marks + 3, score=0.99)
        return (Face(box=Box(30, 25, 50, 65), landmarks=marks, score=0.9), small)

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def mine(tmp_path: Path, drawn: Any) -> Path:
    """Return a folder of two people in all poses and levels."""
    number = 0
    for who in "ab":
        for level in LEVELS:
            for pose in POSES:
                path = tmp_path / "mine" / who / level / f"{pose}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                number += 1
                path.write_bytes(drawn(number))
    return tmp_path / "mine"


def test_whole_folder_is_cut_level_by_level(mine: Path) -> None:
    """Two people, seven poses, three levels: fourteen crops each, all found."""
    found = mine_set(mine, _Detector())
    assert 2 * 7 == len(found.photos)
    assert dict.fromkeys(LEVELS, (14, 224, 224, 3)) == {k: v.crops.shape for k, v in found.crops.items()}
    assert all(crops.found.all() for crops in found.crops.values())
    assert "a" == found.photos[0].person


def test_missing_picture_is_a_warning_and_its_pose_is_left_out(
    mine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A pose that a person lacks at one level is not measured at the others."""
    (mine / "b" / "heavy" / "up_15.png").unlink()
    assert 13 == len(mine_set(mine, _Detector()).photos)
    assert "1 pictures are missing: b/heavy/up_15" in caplog.text


def test_dark_picture_counts_as_not_found(mine: Path) -> None:
    """Without a face the middle is taken, and the share of faces found says so."""
    import cv2

    cv2.imwrite(str(mine / "a" / "heavy" / "front.png"), np.zeros((128, 128, 3), np.uint8))
    assert 13 / 14 == pytest.approx(mine_set(mine, _Detector()).crops["heavy"].found.mean())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("a/clean/front.png", "a/clean/sideways.png"), r"a/clean/sideways.png: no such pose; .*front"),
        (("a/clean/front.png", "a/dusty/front.png"), "a/dusty/front.png: not PERSON/LEVEL/POSE"),
        (("a/clean/front.png", "front.png"), "front.png: not PERSON/LEVEL/POSE"),
        (("a/clean/front.png", "a/clean/up_15.jpg"), "a/clean/up_15 stands 2 times"),
    ],
)
def test_what_does_not_belong_is_named(mine: Path, change: tuple[str, str], message: str) -> None:
    """An unknown pose, an unknown level, a file outside, two pictures of one cell."""
    to = mine / change[1]
    to.parent.mkdir(exist_ok=True)
    (mine / change[0]).rename(to)
    with pytest.raises(DataError, match=message):
        mine_set(mine, _Detector())


def test_same_file_twice_is_named(mine: Path) -> None:
    """A copy under another level is no picture under ash."""
    (mine / "a" / "heavy" / "front.png").write_bytes((mine / "a" / "clean" / "front.png").read_bytes())
    with pytest.raises(DataError, match=r"a/heavy/front.png is the same file as a/clean/front.png"):
        mine_set(mine, _Detector())


def test_unreadable_picture_is_named(mine: Path) -> None:
    """A broken file ends it with its name."""
    (mine / "a" / "light" / "front.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a/light/front.png is no readable picture"):
        mine_set(mine, _Detector())


def test_folder_without_a_whole_pose_is_refused(mine: Path, tmp_path: Path) -> None:
    """One level alone cannot be compared; an empty and a missing folder say so."""
    import shutil

    shutil.rmtree(mine / "a" / "light")
    shutil.rmtree(mine / "b" / "light")
    with pytest.raises(DataError, match="nobody has a pose at all of clean, light, heavy"):
        mine_set(mine, _Detector())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no MF pictures"):
        mine_set(tmp_path / "empty", _Detector())
    with pytest.raises(DataError, match="there is no folder"):
        mine_set(tmp_path / "none", _Detector())
