"""Each check of the doctor sees what is right and what is broken, on real files and real models."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_app.clock import WallQuality, WallTime
from edge_app.embedding.recogniser import Recogniser
from edge_app.errors import SourceError
from edge_app.faces.preprocess import PREPROCESS_SHA256
from edge_app.health.checks import table
from edge_app.health.checks.cameras import check_camera
from edge_app.health.checks.machine import check_clock, judge_service
from edge_app.health.checks.models import check_detector, check_recogniser
from edge_app.health.checks.people import check_people
from edge_app.health.checks.secrets import check_secrets
from edge_app.health.checks.software import check_software
from edge_app.health.checks.storage import check_disk, check_outbox
from edge_app.health.doctor import Check, Finding, State, examine
from edge_app.identity.gallery import Gallery
from edge_app.identity.people import NewPhoto
from edge_app.records import Embedding, Frame, Quality
from edge_app.wiring import build_detector
from field_test import assets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from edge_app.config import Config

    Box = Callable[..., tuple[Path, Config]]


def states(findings: Iterable[Finding]) -> list[State]:
    """Return the states only."""
    return [finding.state for finding in findings]


def the_bad(findings: Iterable[Finding]) -> list[str]:
    """Return what is not ok, with what to do."""
    return [f"{finding.what} -> {finding.fix}" for finding in findings if finding.state is not State.OK]


# -- models


def test_the_recogniser_runs_and_is_timed(box: Box, tiny_recogniser: Path) -> None:
    """Backend, speed, preprocessing and threshold stand in the finding."""
    _, config = box()
    first, second = check_recogniser(config, lambda: Recogniser.open(tiny_recogniser))
    assert "onnxruntime" in first.what
    assert "ms a face" in first.what
    assert "named from similarity 0.400 on" in second.what


def test_a_threshold_below_the_measured_one_is_a_warning(box: Box, tiny_recogniser: Path) -> None:
    """Lowering it by hand makes strangers into miners."""
    _, config = box(recogniser={"model": "models/tiny.json", "threshold": 0.2})
    (warning,) = the_bad(check_recogniser(config, lambda: Recogniser.open(tiny_recogniser)))
    assert "0.200, below the 0.400 measured" in warning


def test_an_altered_model_is_a_failure_with_its_code(box: Box, tiny_recogniser: Path) -> None:
    """The hash in the manifest tells."""
    network = tiny_recogniser.with_suffix(".onnx")
    content = bytearray(network.read_bytes())
    content[-1] ^= 1
    network.write_bytes(content)
    _, config = box()
    (finding,) = examine(
        [Check("recogniser", lambda: check_recogniser(config, lambda: Recogniser.open(tiny_recogniser)))]
    )
    assert State.FAIL is finding.state
    assert "[DSR-400]" in finding.what
    assert "expected sha256" in finding.what


def test_the_real_detectors_pass_and_see_nothing_in_grey(box: Box, centerface: Path) -> None:
    """CenterFace and the dust detector as the daemon opens them, on this machine's runtime."""
    _, config = box(detector=assets.detector_section(centerface))
    findings = list(check_detector(config, lambda: build_detector(config, tracked=True)))
    assert [State.OK] == states(findings)
    assert "centerface.json + dustface.json: " in findings[0].what
    assert "ms at 640x360" in findings[0].what


# -- people

QUALITY = Quality(face_px=90, sharpness=100, brightness=120, contrast=40, yaw=0, pitch=0, roll=0, score=0.9)


def register(path: Path, model_sha256: str, *refs: str) -> None:
    """Register people with one photo each, embedded by the model named."""
    gallery = Gallery(path=path)
    gallery.create()
    for i, ref in enumerate(refs):
        vector = np.zeros(16, dtype=np.float32)
        vector[i] = 1.0
        embedding = Embedding(vector=vector, model_sha256=model_sha256, preprocess_sha256=PREPROCESS_SHA256)
        photo = NewPhoto(
            source_name=f"{ref}.jpg",
            source_sha256=f"{i:064x}",
            quality=QUALITY,
            embedding=embedding,
            crop=None,
        )
        gallery.add(ref=ref, name=f"Person {i}", photos=[photo])


def test_a_register_that_fits_the_model_is_ok_and_names_nobody(box: Box, tiny_recogniser: Path) -> None:
    """How many, not who."""
    _, config = box()
    config.gallery.path.parent.mkdir()
    register(config.gallery.path, Recogniser.open(tiny_recogniser).model_sha256, "CARD-1", "CARD-2")
    (finding,) = check_people(config)
    assert State.OK is finding.state
    assert "2 people, 2 photos, version 2" in finding.what
    assert "Person" not in finding.what


def test_look_alikes_are_a_warning_with_who_they_are(box: Box, tiny_recogniser: Path) -> None:
    """Somebody may be registered under two cards."""
    _, config = box()
    config.gallery.path.parent.mkdir()
    model = Recogniser.open(tiny_recogniser).model_sha256
    register(config.gallery.path, model, "CARD-1", "CARD-2")
    twin = Gallery(path=config.gallery.path)
    same = twin.snapshot(model_sha256=model, preprocess_sha256=PREPROCESS_SHA256).vectors[0]
    photo = NewPhoto("t.jpg", "9" * 64, QUALITY, Embedding(same, model, PREPROCESS_SHA256), None)
    twin.add(ref="CARD-3", name="Person 3", photos=[photo])
    well, alike = check_people(config)
    assert (State.OK, State.WARN) == (well.state, alike.state)
    assert "1 pair(s) look alike to the box: CARD-1 and CARD-3 (1.00)" == alike.what


def test_a_register_embedded_by_another_model_must_be_embedded_again(box: Box, tiny_recogniser: Path) -> None:
    """After a model change everybody would be unknown, silently."""
    _, config = box()
    config.gallery.path.parent.mkdir()
    register(config.gallery.path, "0" * 64, "CARD-1")
    (finding,) = examine([Check("people", lambda: check_people(config))])
    assert (State.FAIL, "run `dsr-edge people reembed`") == (finding.state, finding.fix)
    assert "[DSR-500]" in finding.what


@pytest.mark.parametrize("empty", [False, True])
def test_nobody_registered_is_a_warning(box: Box, tiny_recogniser: Path, empty: bool) -> None:
    """The box runs, and everybody is unknown."""
    _, config = box()
    if empty:
        config.gallery.path.parent.mkdir()
        Gallery(path=config.gallery.path).create()
    (finding,) = check_people(config)
    assert State.WARN is finding.state
    assert finding.fix.startswith("dsr-edge people add")


def test_a_damaged_register_is_a_failure(box: Box, tiny_recogniser: Path) -> None:
    """Pages overwritten in the middle of the file."""
    _, config = box()
    config.gallery.path.parent.mkdir()
    register(config.gallery.path, Recogniser.open(tiny_recogniser).model_sha256, "CARD-1", "CARD-2")
    content = bytearray(config.gallery.path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    config.gallery.path.write_bytes(content)
    assert [State.FAIL] == states(examine([Check("people", lambda: check_people(config))]))


# -- cameras


def frame_of(pixels: np.ndarray[Any, Any]) -> Callable[[object], Frame]:
    """Return an opener that gives one picture."""
    return lambda _camera: Frame(camera="in", index=0, mono_ns=0, pixels=pixels)


def scene(low: int, high: int) -> np.ndarray[Any, Any]:
    """Return noise between two grey levels."""
    return np.random.default_rng(3).integers(low, high, (120, 160, 1), dtype=np.uint8).repeat(3, axis=2)


@pytest.mark.parametrize(
    ("expected", "advice", "pixels"),
    [
        (State.OK, "", scene(0, 255)),
        (State.FAIL, "uncover the lens", np.zeros((120, 160, 3), np.uint8)),
        (State.FAIL, "uncover the lens", np.full((120, 160, 3), 255, np.uint8)),
        (State.WARN, "more light", scene(0, 30)),
        (State.WARN, "turn the camera away", scene(220, 255)),
    ],
)
def test_a_picture_is_judged_by_what_it_shows(
    box: Box, expected: State, advice: str, pixels: np.ndarray[Any, Any]
) -> None:
    """A covered lens gives frames too."""
    _, config = box()
    (finding,) = check_camera(config.cameras[0], frame_of(pixels))
    assert expected is finding.state
    assert advice in finding.fix
    assert "160x120" in finding.what


def test_a_camera_that_does_not_open_is_a_failure_of_its_own(box: Box) -> None:
    """With the source's own message."""
    _, config = box()

    def refuse(_camera: object) -> Frame:
        raise SourceError("no device at /dev/video0", fix="plug it in")

    (finding,) = examine([Check("camera in", lambda: check_camera(config.cameras[0], refuse))])
    assert ("camera in", "[DSR-200] no device at /dev/video0", "plug it in") == (
        finding.name,
        finding.what,
        finding.fix,
    )


def test_a_camera_that_the_running_daemon_holds_is_left_to_it(box: Box) -> None:
    """A V4L2 device has one reader; opening it would fail, and say nothing about the camera."""
    _, config = box()

    def refuse(_camera: object) -> Frame:
        pytest.fail("must not be opened")

    (finding,) = check_camera(config.cameras[0], refuse, daemon_runs=True)
    assert State.OK is finding.state
    assert "in the hands of the running daemon" in finding.what


# -- disk and outbox


def test_a_writable_folder_with_room_is_ok(box: Box) -> None:
    """And the test file is gone again."""
    path, config = box()
    before = sorted(path.parent.iterdir())
    (finding,) = check_disk(config)
    assert State.OK is finding.state
    assert "a durable write takes" in finding.what
    assert before == sorted(path.parent.iterdir())


def test_a_full_disk_is_a_failure(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a warning with advice that cannot be followed: nothing can be stored."""
    _, config = box()
    real = os.statvfs(config.delivery.outbox.parent.parent)
    full = os.statvfs_result((*real[:4], 0, *real[5:]))
    monkeypatch.setattr("os.statvfs", lambda _path: full)
    (problem,) = check_disk(config)
    assert State.FAIL is problem.state
    assert "0.0 MB free" in problem.what
    assert "free space: du" in problem.fix


def test_an_outbox_that_somebody_removed_is_a_failure(box: Box) -> None:
    """Its numbers are still reserved beside it: this box has recorded before."""
    _, config = box()
    path = config.delivery.outbox
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.seq").write_text("100003\n", encoding="ascii")
    (problem,) = check_outbox(config)
    assert State.FAIL is problem.state
    assert "up to number 100003 at most" in problem.what


def test_an_outbox_that_was_never_finished_is_told(box: Box) -> None:
    """The disk was full when it was made; that is no matter of permissions."""
    _, config = box()
    config.delivery.outbox.parent.mkdir(parents=True, exist_ok=True)
    sqlite3.connect(config.delivery.outbox).execute("PRAGMA journal_mode=WAL").connection.close()
    (finding,) = examine([Check("outbox", lambda: check_outbox(config))])
    assert "is not finished" in finding.what
    assert "room on the disk" in finding.fix


def test_a_bound_larger_than_the_disk_is_a_warning(box: Box) -> None:
    """The outbox would fill the disk before it reaches its bound."""
    _, config = box(delivery={"max_mb": 1_000_000, "brokers": [{"host": "h"}]})
    (warning,) = the_bad(check_disk(config))
    assert "may grow to 1000000 MB" in warning


def test_a_folder_that_cannot_be_written_is_a_failure(box: Box, tmp_path: Path) -> None:
    """Here /proc, which root cannot write into either."""
    _, config = box(delivery={"outbox": "/proc/sys/kernel/outbox.db", "brokers": [{"host": "h"}]})
    (problem,) = the_bad(check_disk(config))
    assert "cannot write into /proc/sys/kernel" in problem


def test_an_outbox_says_what_waits(box: Box) -> None:
    """Counted without disturbing its owner."""
    from edge_app.delivery.database import open_database

    _, config = box()
    config.delivery.outbox.parent.mkdir()
    db = open_database(config.delivery.outbox, max_mb=8)
    db.execute("UPDATE tally SET n = 12345 WHERE priority = 1")
    db.close()
    findings = list(check_outbox(config))
    assert "no daemon runs, 12345 events wait" in findings[0].what
    assert ["12345 events wait: they arrive faster"] == [w[:37] for w in the_bad(findings)]


def test_the_owner_of_the_outbox_is_named(box: Box) -> None:
    """A running daemon is not a problem."""
    import os

    from edge_app.delivery.database import open_database
    from edge_app.delivery.lock import OutboxLock

    _, config = box()
    config.delivery.outbox.parent.mkdir()
    open_database(config.delivery.outbox, max_mb=8).close()
    lock = OutboxLock(config.delivery.outbox)
    findings = list(check_outbox(config))
    lock.release()
    assert [] == the_bad(findings)
    assert f"process {os.getpid()} owns it" in findings[0].what


def test_a_file_that_is_no_outbox_is_a_failure(box: Box) -> None:
    """Another program's database under that name."""
    _, config = box()
    config.delivery.outbox.parent.mkdir()
    db = sqlite3.connect(config.delivery.outbox)
    db.execute("CREATE TABLE cats (name)")
    db.commit()
    db.close()
    (finding,) = examine([Check("outbox", lambda: check_outbox(config))])
    assert State.FAIL is finding.state
    assert "[DSR-6" in finding.what


# -- machine


class Clock:
    """A clock that stands still."""

    def __init__(self, ms: int | None, quality: WallQuality) -> None:
        self._wall = WallTime(ms=ms, quality=quality)

    def mono_ns(self) -> int:
        """Return 0."""
        return 0

    def wall(self) -> WallTime:
        """Return the given time."""
        return self._wall

    def sleep(self, seconds: float) -> None:
        """Do not wait."""


@pytest.mark.parametrize(
    ("expected", "clock"),
    [
        (State.OK, Clock(1_790_000_000_000, WallQuality.SYNC)),
        (State.WARN, Clock(1_790_000_000_000, WallQuality.HOLDOVER)),
        (State.FAIL, Clock(None, WallQuality.NONE)),
    ],
)
def test_the_clocks_quality_is_the_finding(expected: State, clock: Clock) -> None:
    """A box in a tunnel has no time of its own."""
    assert [expected] == states(check_clock(clock))


UNIT = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "UnitFileState": "enabled",
    "WatchdogUSec": "30s",
    "NRestarts": "0",
    "StatusText": "running, 6 stages alive",
}


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ([State.OK], {}),
        ([State.WARN], {"LoadState": "not-found"}),
        ([State.WARN, State.OK], {"WatchdogUSec": "infinity"}),
        ([State.WARN, State.OK], {"UnitFileState": "disabled"}),
        ([State.WARN], {"ActiveState": "failed"}),
    ],
)
def test_the_service_is_judged_by_what_systemd_says(expected: list[State], changes: dict[str, str]) -> None:
    """Installed, enabled, watched, running."""
    assert expected == states(judge_service({**UNIT, **changes}))


def test_the_software_here_is_enough(box: Box) -> None:
    """The tests run with it; versions stand in the finding."""
    _, config = box()
    findings = list(check_software(config))
    assert [] == the_bad(findings)
    assert any("onnxruntime" in finding.what for finding in findings)
    assert any(finding.what.startswith("OpenCV") for finding in findings)


def test_a_gstreamer_camera_without_gstreamer_is_a_failure(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel's OpenCV has none."""
    import cv2

    camera = {"name": "csi", "zone": "z", "source": {"kind": "gstreamer", "pipeline": "x ! appsink"}}
    _, config = box(cameras=[camera])
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  Video I/O:\n    GStreamer:     NO\n")
    (problem,) = the_bad(check_software(config))
    assert "camera csi has a GStreamer source" in problem
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:     YES (1.20.3)\n")
    assert [] == the_bad(check_software(config))


# -- secrets


def test_secrets_that_others_can_read_are_failures(box: Box, tmp_path: Path) -> None:
    """Each with the command that mends it."""
    secret = tmp_path / "mqtt-password"
    secret.write_text("pw\n", encoding="utf-8")
    secret.chmod(0o640)
    path, config = box(
        delivery={"brokers": [{"host": "h", "username": "u", "password_file": str(secret)}]},
    )
    (problem,) = the_bad(check_secrets(path, config))
    assert f"delivery.brokers[0].password_file {secret} has mode 0640" in problem
    assert f"chmod 600 {secret}" in problem
    secret.chmod(0o600)
    assert [] == the_bad(check_secrets(path, config))


def test_a_cameras_password_in_a_public_configuration_is_a_failure(box: Box) -> None:
    """The address of an RTSP camera carries it."""
    camera = {"name": "c", "zone": "z", "source": {"kind": "rtsp", "url": "rtsp://u:pw@cam/1"}}
    path, config = box(cameras=[camera])
    path.chmod(0o644)
    (problem,) = the_bad(check_secrets(path, config))
    assert "pw@" not in problem
    path.chmod(0o640)
    assert [] == the_bad(check_secrets(path, config))


# -- the table


def test_a_broken_configuration_is_told_and_the_machine_still_looked_at(tmp_path: Path) -> None:
    """The clock and the temperatures need no configuration."""
    clock = Clock(1_790_000_000_000, WallQuality.SYNC)
    checks = table.broken_config_checks(tmp_path / "box.yaml", ValueError("x"), clock)
    assert ["config", "clock", "heat", "service"] == [check.name for check in checks]


def test_a_missing_file_is_told_with_its_key(box: Box) -> None:
    """The model that is not there yet."""
    path, config = box()
    problems = the_bad(table.check_config(path, config))
    assert any(problem.startswith("recogniser.model: cannot read") for problem in problems)
