"""What a box is given wrongly gives one clear message and an exit status; nothing is lost by it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tests.daemon.rig import MODEL

if TYPE_CHECKING:
    from tests.daemon.rig import BoxRig, Listener

pytestmark = pytest.mark.mosquitto


def refused(rig: BoxRig, status: int, *expected: str) -> None:
    """Check that the daemon refuses with `status`, says all of `expected`, and shows no traceback."""
    assert status == rig.start().wait(60), rig.log()
    for text in expected:
        assert text in rig.log()
    assert "Traceback" not in rig.log()


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "empty"), (b"not a video at all" * 100, "cannot be read"), (None, "No such file")],
    ids=["zero-byte", "garbage", "missing"],
)
def test_a_video_that_is_none_is_refused(
    rig: BoxRig, tmp_path: Path, content: bytes | None, expected: str
) -> None:
    """Corrupt, empty and missing files end the run with the source's status and the file's name."""
    video = tmp_path / "broken.mp4"
    if content is not None:
        video.write_bytes(content)
    rig.watch(video)
    refused(rig, 3, "broken.mp4", "fix")


def test_a_truncated_video_is_played_as_far_as_it_goes(
    rig: BoxRig, listener: Listener, clip: Path, tmp_path: Path
) -> None:
    """Half a recording is half a recording, not a crash."""
    whole = tmp_path / "whole.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 360))
    for picture in sorted(clip.glob("*.jpg")):
        writer.write(cv2.resize(cv2.imread(str(picture)), (640, 360)))
    writer.release()
    half = tmp_path / "half.avi"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    rig.watch(half, pace="every_frame")
    assert rig.start().wait(60) == 0, rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))
    assert listener.of("sighting")


@pytest.mark.parametrize("size", [(1, 1), (7680, 4320)], ids=["1x1", "8K"])
def test_tiny_and_huge_pictures_do_no_harm(
    rig: BoxRig, listener: Listener, tmp_path: Path, size: tuple[int, int]
) -> None:
    """A 1x1 picture has no face, an 8K one is scaled down; grey and RGBA ones are converted."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    noise = np.random.default_rng(1).integers(0, 255, (size[1], size[0]), np.uint8)
    cv2.imwrite(str(folder / "0.png"), noise)
    cv2.imwrite(str(folder / "1.png"), np.repeat(noise[..., None], 4, axis=2))
    rig.watch(folder, fps=10)
    assert rig.start().wait(90) == 0, rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))
    assert [] == [event for event in listener.of("sighting") if event["decision"] == "named"]


def test_a_picture_that_changes_its_size_sends_nobody_through_a_gate(
    rig: BoxRig, listener: Listener, clip: Path, tmp_path: Path
) -> None:
    """Half of the way the camera gives another resolution: the face is elsewhere, and nobody has gone out."""
    folder = tmp_path / "changing"
    folder.mkdir()
    for number, path in enumerate(sorted(clip.iterdir())[:24]):
        picture = cv2.imread(str(path))
        if number >= 12:
            side = picture.shape[1] // 2
            picture = cv2.copyMakeBorder(picture, 0, 0, side, side, cv2.BORDER_REPLICATE)
        cv2.imwrite(str(folder / path.name), picture)
    rig.watch(folder, fps=10)
    rig.config["cameras"][0]["portals"] = [
        {"name": "gate", "line": [[0.9, 0.0], [0.9, 1.0]], "inside": [0.1, 0.5]}
    ]
    assert rig.start().wait(90) == 0, rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))
    assert "picture_changed" in rig.log()
    assert listener.of("sighting")
    assert [] == [event for event in listener.of("presence") if event["change"] in ("left", "moved")]


def test_a_missing_model_is_named(rig: BoxRig, clip: Path, tmp_path: Path) -> None:
    """The message has the path and what to do."""
    rig.watch(clip)
    rig.config["recogniser"] = {"model": str(tmp_path / "none.json")}
    refused(rig, 4, "DSR-400", "none.json", "fix")


def test_an_altered_model_is_refused(rig: BoxRig, clip: Path, tmp_path: Path) -> None:
    """One flipped bit changes the hash; such a model is never run."""
    model = json.loads(MODEL.read_text(encoding="utf-8"))
    weights = bytearray(MODEL.with_name(model["file"]).read_bytes())
    weights[len(weights) // 2] ^= 1
    (tmp_path / model["file"]).write_bytes(weights)
    shutil.copy(MODEL, tmp_path / "altered.json")
    rig.watch(clip)
    rig.config["recogniser"] = {"model": str(tmp_path / "altered.json")}
    refused(rig, 4, "DSR-400", "sha256")


def test_a_model_of_another_preprocessing_is_refused(rig: BoxRig, clip: Path, tmp_path: Path) -> None:
    """It would give bad embeddings silently."""
    model = json.loads(MODEL.read_text(encoding="utf-8"))
    shutil.copy(MODEL.with_name(model["file"]), tmp_path)
    model["preprocess"]["sha256"] = "0" * 64
    (tmp_path / "other.json").write_text(json.dumps(model), encoding="utf-8")
    rig.watch(clip)
    rig.config["recogniser"] = {"model": str(tmp_path / "other.json")}
    refused(rig, 4, "DSR-401")


def test_the_second_daemon_on_one_outbox_refuses(rig: BoxRig, listener: Listener, clip: Path) -> None:
    """Two writers would tear the store apart; the message names the first one's process."""
    rig.watch(clip, fps=10, loop=True)
    first = rig.start()
    listener.wait_for(lambda: listener.of("box_start"))
    second = subprocess.run(
        rig.command("run"), cwd=Path.cwd(), capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 6
    assert "DSR-601" in second.stderr
    assert str(first.pid) in second.stderr
    assert first.poll() is None


def test_a_data_folder_that_cannot_be_written_is_named(rig: BoxRig, clip: Path) -> None:
    """A read-only disk is found at the start, not at the first event."""
    rig.watch(clip)
    rig.config["delivery"]["outbox"] = "/proc/outbox/outbox.db"
    refused(rig, 6, "DSR-600", "/proc/outbox", "fix")


def test_a_damaged_register_is_refused_not_forgotten(rig: BoxRig, clip: Path, tmp_path: Path) -> None:
    """Starting with nobody registered would call everybody unknown."""
    (tmp_path / "people.db").write_bytes(b"damaged" * 1000)
    rig.config["gallery"] = {"path": str(tmp_path / "people.db")}
    rig.watch(clip)
    refused(rig, 5, "DSR-500", "people.db")


def test_people_registered_while_it_runs_are_recognised(
    rig: BoxRig, listener: Listener, clip: Path, demo_photos: dict[str, Path]
) -> None:
    """The register is followed: an unknown track becomes a name, and the old word is taken back."""
    rig.watch(clip, fps=10, loop=True)
    rig.start()
    listener.wait_for(lambda: [e for e in listener.of("sighting") if e["decision"] == "unknown"])
    rig.register("CARD-1", [demo_photos["obama"], demo_photos["obama3"]])
    listener.wait_for(lambda: listener.of("gallery_changed"))
    listener.wait_for(lambda: [e for e in listener.of("sighting") if e.get("person_ref") == "CARD-1"])
    assert listener.of("gallery_changed")[0]["registered"] == 1


def test_a_camera_that_is_not_there_is_blind_and_the_box_goes_on(rig: BoxRig, listener: Listener) -> None:
    """No device: the box starts, keeps trying, and says that it is blind."""
    rig.config["cameras"] = [
        {
            "name": "cam",
            "zone": "z1",
            "blind_after_s": 1,
            "source": {"kind": "v4l2", "device": "/dev/video99"},
        }
    ]
    daemon = rig.start()
    listener.wait_for(lambda: listener.of("box_start"))
    began = time.monotonic()
    listener.wait_for(lambda: listener.of("camera_blind"))
    assert time.monotonic() - began < 10
    alarm = listener.of("camera_blind")[0]["alarm"]
    assert (alarm["id"], alarm["state"]) == ("camera_blind.cam", "active")
    retained = [arrival for arrival in listener.arrivals if "/alarms/" in arrival.topic]
    assert retained
    assert daemon.poll() is None
