"""``dsr-edge look``: one frame, what is on it, and what to change; on real photos and the real detector."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge_app.cli.look import ADVICE
from edge_app.cli.main import main
from edge_app.faces import quality
from edge_app.records import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy.typing as npt

    Look = Callable[[npt.NDArray[np.uint8]], tuple[int, str]]

CONFIG = """\
box: {{site: mine-1, node: box-01}}
cameras:
  - {{name: portal, zone: portal, source: {{kind: folder, path: pictures}}}}
  - {{name: heading, zone: heading, source: {{kind: v4l2, device: /dev/video99}}}}
detector: {{model: {detector}}}
delivery: {{brokers: [{{host: 127.0.0.1}}]}}
"""


@pytest.fixture
def config(tmp_path: Path, centerface: Path) -> Path:
    """Return a box of which one camera is a folder of pictures and one is not there."""
    path = tmp_path / "box.yaml"
    path.write_text(CONFIG.format(detector=centerface), encoding="utf-8")
    (tmp_path / "pictures").mkdir()
    return path


@pytest.fixture
def look(config: Path, capsys: pytest.CaptureFixture[str]) -> Look:
    """Return ``dsr-edge look portal`` on a picture: exit status and what was printed."""

    def run(picture: npt.NDArray[np.uint8]) -> tuple[int, str]:
        cv2.imwrite(str(config.parent / "pictures" / "0.png"), picture)
        out = config.parent / "look.jpg"
        status = main(["look", "portal", "--config", str(config), "--out", str(out)])
        assert out.is_file()
        return status, capsys.readouterr().out

    return run


@pytest.fixture
def portrait(demo_photos: Mapping[str, Path]) -> npt.NDArray[np.uint8]:
    """Return a public portrait, as high as a camera's picture."""
    photo = cv2.imread(str(demo_photos["obama"]))
    scale = 480 / photo.shape[0]
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def test_a_good_face_is_called_good_and_boxed(
    config: Path, look: Look, portrait: npt.NDArray[np.uint8]
) -> None:
    """Size, brightness and angle in numbers; status 0; the picture differs from the frame by the box."""
    status, said = look(portrait)
    assert 0 == status
    assert said.startswith(f"frame {portrait.shape[1]}x480, brightness ")
    assert "face 1: " in said
    assert ": good" in said
    written = cv2.imread(str(config.parent / "look.jpg")).astype(int)
    assert 50 < np.abs(written - portrait).max()


def test_a_dark_face_gets_advice_about_light(look: Look, portrait: npt.NDArray[np.uint8]) -> None:
    """Status 1: nobody would be recognised."""
    status, said = look((portrait * 0.03).astype(np.uint8))
    assert 1 == status
    assert "too_dark" in said
    assert f"advice: {ADVICE[Rejection.TOO_DARK]}" in said


def test_a_small_face_gets_advice_about_distance(look: Look, portrait: npt.NDArray[np.uint8]) -> None:
    """Somebody far away fills a few pixels."""
    far = cv2.resize(portrait, None, fx=0.12, fy=0.12, interpolation=cv2.INTER_AREA)
    room = np.full((360, 640, 3), 70, np.uint8)
    room[150 : 150 + far.shape[0], 300 : 300 + far.shape[1]] = far
    status, said = look(room)
    assert 1 == status
    assert "too_small" in said
    assert f"advice: {ADVICE[Rejection.TOO_SMALL]}" in said


@pytest.mark.parametrize(
    ("level", "advice"), [(2, "lens covered"), (250, "lamp shines into the lens")], ids=["black", "white"]
)
def test_a_black_or_white_picture_is_told(look: Look, level: int, advice: str) -> None:
    """The lamp or the lens, not the people."""
    status, said = look(np.full((360, 640, 3), level, np.uint8))
    assert 1 == status
    assert advice in said
    assert "no face found" in said


def test_every_reason_of_the_quality_check_has_advice() -> None:
    """A reason without advice would leave the engineer on the ladder."""
    source = inspect.getsource(quality)
    assert {reason for reason in Rejection if f"Rejection.{reason.name}" in source} == set(ADVICE)


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["nowhere"], 2, "the configuration has: portal, heading"),
        (["heading"], 3, "there is no device /dev/video99"),
        (["portal"], 3, "no pictures in it"),
    ],
    ids=["no-such-camera", "not-plugged-in", "empty-folder"],
)
def test_what_cannot_be_looked_at_is_told(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, expected: str
) -> None:
    """What happened, and a fix; no traceback."""
    assert status == main(["look", *words, "--config", str(config)])
    said = capsys.readouterr().err
    assert expected in said
    assert "\n  fix: " in said


def test_a_picture_that_cannot_be_written_is_told(
    config: Path, look: Look, portrait: npt.NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the endings that can be written."""
    with contextlib.suppress(AssertionError):
        look(portrait)
    capsys.readouterr()
    out = config.parent / "look.txt"
    assert 2 == main(["look", "portal", "--config", str(config), "--out", str(out)])
    assert "give --out a .jpg or .png" in capsys.readouterr().err
