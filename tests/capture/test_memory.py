"""What a camera used to see, kept over a restart."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from structlog.testing import capture_logs

from edge_app.capture.camera_health import CameraHealth, Memory
from edge_app.capture.memory import CameraMemory, path_beside
from edge_app.capture.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]

S = 1_000_000_000


def tunnel(seed: int, *, blur: float = 0.0) -> Picture:
    """Return a picture with many edges, its own noise, and out of focus by `blur`."""
    rng = np.random.default_rng(7)
    picture = np.full((360, 640, 3), 60, np.uint8)
    for _ in range(120):
        x, y, w, h = (int(v) for v in rng.integers((0, 0, 10, 10), (620, 340, 90, 70)))
        picture[y : y + h, x : x + w] = int(rng.integers(20, 220))
    seen = cv2.GaussianBlur(picture, (0, 0), blur) if blur else picture
    noise = np.random.default_rng(seed).normal(0, 2, seen.shape)
    return np.clip(seen + noise, 0, 255).astype(np.uint8)


def watch(health: CameraHealth, seconds: Iterable[int], *, blur: float = 0.0) -> list[Sight]:
    """Return what is seen at each of `seconds`."""
    return [health.look(tunnel(second, blur=blur), second * S) for second in seconds]


def memory_at(path: Path, **changes: Any) -> CameraMemory:
    """Return the memory of one camera in `path`."""
    known = {"camera": "cam1", "source": "/dev/video0", "view": 1, "boot": "b1", **changes}
    return CameraMemory(path, **known)


@pytest.fixture
def blurred(tmp_path: Path) -> Path:
    """Return the file of a camera that saw well and is out of focus now."""
    path = path_beside(tmp_path / "presence.json", "cam1")
    memory, health = memory_at(path), CameraHealth()
    watch(health, range(20))
    assert Sight.CLEAR is health.sight
    assert memory.keep(health.memory, 20 * S)
    watch(health, range(20, 30), blur=5)
    assert health.sight.blind
    assert memory.keep(health.memory, 30 * S)
    return path


def test_restart_before_a_bad_picture_gives_no_all_clear(blurred: Path) -> None:
    """It stays what it was, from the first look on; a good picture ends it within seconds."""
    known = memory_at(blurred).load()
    assert (True, 21, 0o600) == (known.sight.blind, known.since_ns // S, blurred.stat().st_mode & 0o777)
    health = CameraHealth(memory=known)
    assert all(sight.blind for sight in watch(health, range(40, 100), blur=5))
    assert Sight.CLEAR is watch(health, range(100, 105))[-1]


def test_file_holds_what_was_seen(blurred: Path) -> None:
    """Every measure, as near as counts; of another boot it is only known that it began before this one."""
    one = memory_at(blurred).load()
    two = memory_at(blurred, boot="b2").load()
    assert (one.sight, one.held, 0) == (two.sight, two.held, two.since_ns)
    health = CameraHealth()
    watch(health, range(8))
    for name in (each.name for each in fields(health.memory.views[0].usual)):
        expected, found = (getattr(known.views[0].usual, name) for known in (health.memory, one))
        assert np.allclose(expected, found, rtol=0.05, atol=0.02), name


@pytest.mark.parametrize("change", [{"source": "/dev/video1"}, {"view": 2}])
def test_another_source_or_view_is_learnt_anew(blurred: Path, change: dict[str, Any]) -> None:
    """Only who has looked says so: then the picture as it is now is the usual one."""
    with capture_logs() as logs:
        known = memory_at(blurred, standing="blurred", **change).load()
    assert (Memory(), ["camera_learns_anew"]) == (known, [line["event"] for line in logs])


BAD = (b"", b"[]", b"{", b'{"v": 1}', b"\xff", b'{"v": 1, "source": "/dev/video0", "view": 1}')


@pytest.mark.parametrize("content", [*BAD, None])
def test_alarm_stands_on_where_what_was_seen_is_lost(blurred: Path, content: bytes | None) -> None:
    """Damaged is said and set aside; nothing ends the alarm but a raised view, also after another restart."""
    blurred.unlink()
    if content is not None:
        blurred.write_bytes(content)
    with capture_logs() as logs:
        known = memory_at(blurred, standing="blurred").load()
    assert (Sight.BLURRED, Sight.BLURRED) == (known.sight, known.held)
    events = [line["event"] for line in logs]
    assert events == (["camera_memory_damaged"] if content is not None else []) + ["camera_stays_as_told"]
    assert (content is not None) == blurred.with_name("cam1.json.damaged").exists()
    health = CameraHealth(memory=known)
    assert {Sight.BLURRED} == set(watch(health, range(60)))
    assert memory_at(blurred).keep(health.memory, 60 * S)
    assert Sight.BLURRED is memory_at(blurred).load().held
    assert Memory() == memory_at(blurred, view=2).load()


@pytest.mark.parametrize("standing", [None, "no_frames", "dark", "frozen", "glare"])
def test_what_a_picture_tells_by_itself_needs_no_memory(tmp_path: Path, standing: str | None) -> None:
    """Without a file, and without an alarm that only a comparison ends, the first looks are learnt."""
    assert Memory() == memory_at(tmp_path / "cam1.json", standing=standing).load()


@pytest.mark.parametrize(
    "change",
    [{"views": "x"}, {"sight": "odd"}, {"brightness": [[1]]}, {"edges": None}, {"mean": float("nan")}],
)
def test_edited_file_is_checked(blurred: Path, change: dict[str, Any]) -> None:
    """Another shape, no number, an unknown name: damaged."""
    body = json.loads(blurred.read_bytes())
    (body if set(change) & set(body) else body["views"][0]).update(change)
    blurred.write_text(json.dumps(body))
    assert Memory() == memory_at(blurred).load()
    assert blurred.with_name("cam1.json.damaged").exists()


def test_flicker_does_not_wear_out_the_disk_and_a_failure_is_said_once(tmp_path: Path) -> None:
    """At most every five seconds, views every ten minutes; the log has one line for a disk that refuses."""
    path = tmp_path / "cameras" / "cam1.json"
    memory = memory_at(path)
    sights = [Memory(sight=sight) for sight in (Sight.CLEAR, Sight.BLURRED)]
    written = 0
    for second in range(60):
        before = path.stat().st_mtime_ns if path.exists() else 0
        memory.keep(sights[second % 2], second * S)
        written += path.stat().st_mtime_ns != before
    assert 8 <= written <= 12
    path.unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"in the way")
    with capture_logs() as logs:
        assert [False, False] == [memory.keep(sights[s % 2], (100 + 7 * s) * S) for s in (2, 3)]
    assert ["camera_memory_not_written"] == [line["event"] for line in logs]
