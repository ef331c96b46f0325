from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge_app.capture.camera_health import CameraHealth, Sight

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Picture = npt.NDArray[np.uint8]

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
    assert Sight.FROZEN is not health.look(noise(2), 11 * S)
    health = CameraHealth(frozen_after_s=10)
    assert [Sight.CLEAR] * 30 == [health.look(noise(second), second * S) for second in range(30)]


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


@pytest.mark.parametrize("shape", [(2, 2, 3), (4320, 7680, 3)])
def test_any_size_is_looked_at(shape: tuple[int, ...]) -> None:
    """A few dots and 8K are looked at alike."""
    health = CameraHealth()
    picture = np.zeros(shape, np.uint8)
    picture[: shape[0] // 2] = 200
    assert Sight.CLEAR is health.look(picture, 0)
    assert Sight.COVERED is CameraHealth().look(np.full(shape, 100, np.uint8), 0)


def soft(picture: Picture, sigma: float) -> Picture:
    """Return it out of focus."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def hand(picture: Picture) -> Picture:
    """Return what a hand or a cloth on the lens leaves."""
    tiny = cv2.resize(picture, (8, 5), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(tiny, (640, 360), interpolation=cv2.INTER_CUBIC) * 0.3 + 10, np.uint8)


def mud(picture: Picture) -> Picture:
    """Return it behind spots of mud on the lens."""
    cloud = cv2.resize(np.random.default_rng(0).random((9, 16)), (640, 360), interpolation=cv2.INTER_CUBIC)
    cover = np.clip((0.8 - cloud) * 4, 0, 0.9)[..., None]
    return np.asarray(picture * (1 - cover) + cover * (0.25 * soft(picture, 12) + 30), np.uint8)


def half_lit(picture: Picture) -> Picture:
    """Return it with the lamp on the right out."""
    return np.asarray(picture * np.clip(np.linspace(1.5, -0.2, 640), 0.15, 1)[None, :, None], np.uint8)


def shifted(picture: Picture) -> Picture:
    """Return what a camera sees that was pushed aside."""
    wide = cv2.copyMakeBorder(picture, 40, 40, 80, 80, cv2.BORDER_REFLECT)
    return np.asarray(wide[55:415, 150:790], np.uint8)


FAULTS: dict[str, tuple[Sight, Callable[[Picture], Picture]]] = {
    "cap": (Sight.DARK, lambda picture: (picture * 0.02).astype(np.uint8)),
    "hand": (Sight.COVERED, hand),
    "focus": (Sight.BLURRED, lambda picture: soft(picture, 2.5)),
    "grease": (Sight.BLURRED, lambda picture: (soft(picture, 4) * 0.8 + picture * 0.2).astype(np.uint8)),
    "mud": (Sight.DIRTY, mud),
    "haze": (Sight.DIRTY, lambda picture: (picture * 0.3 + 110).astype(np.uint8)),
    "one lamp": (Sight.LAMP_OUT, half_lit),
    "all dimmed": (Sight.LAMP_OUT, lambda picture: (picture * 0.4).astype(np.uint8)),
    "pushed": (Sight.MOVED, shifted),
    "turned": (Sight.MOVED, lambda picture: np.ascontiguousarray(picture[:, ::-1])),
    "headlamp": (
        Sight.GLARE,
        lambda picture: np.asarray(
            cv2.circle(picture.copy(), (350, 150), 130, (255, 255, 255), -1), np.uint8
        ),
    ),
    "blown out": (
        Sight.BLINDED,
        lambda picture: np.clip(picture.astype(int) * 4 + 80, 0, 255).astype(np.uint8),
    ),
}


@pytest.fixture(scope="module")
def footage(data_dir: Path | None, demo_photos: Mapping[str, Path]) -> dict[str, list[Picture]]:
    """Return real clips of people at 640 x 360, every sixth frame; without them, two photos. With noise."""
    found: dict[str, list[Picture]] = {}
    for path in sorted((data_dir / "clips").glob("*.gif")) if data_dir else ():
        video = cv2.VideoCapture(str(path))
        frames = []
        while (read := video.read())[0]:
            frames.append(read[1])
        found[path.stem] = frames[::6]
    if not found:
        found = {name: [cv2.imread(str(demo_photos[name]))] * 4 for name in ("obama", "biden")}
    rng = np.random.default_rng(1)
    return {
        name: [
            np.clip(cv2.resize(frame, (640, 360)) + rng.normal(0, 2, (360, 640, 3)), 0, 255).astype(np.uint8)
            for frame in frames
        ]
        for name, frames in found.items()
    }


def test_clean_footage_raises_nothing(footage: dict[str, list[Picture]]) -> None:
    """Minutes of each clip in a loop, people walking, turning and standing close."""
    for name, frames in footage.items():
        health = CameraHealth()
        seen = {health.look(frames[second % len(frames)], second * S) for second in range(150)}
        assert {Sight.CLEAR} == seen, name


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named_within_four_seconds_and_ends(footage: dict[str, list[Picture]], fault: str) -> None:
    """By its own name, without a flicker, on every clip; five seconds after it is over all is well again."""
    expected, make = FAULTS[fault]
    for name, frames in footage.items():
        health = CameraHealth()
        for second in range(20):
            health.look(frames[second % len(frames)], second * S)
        bad = [make(frame) for frame in frames]
        seen = [health.look(bad[second % len(bad)], second * S) for second in range(20, 40)]
        assert {expected} == set(seen[4:]), name
        good = [health.look(frames[second % len(frames)], second * S) for second in range(40, 50)]
        assert {Sight.CLEAR} == set(good[5:]), name


def test_camera_that_stays_moved_is_how_it_is(footage: dict[str, list[Picture]]) -> None:
    """After a while it has been told, and the new view is learnt: another fault of it is noticed again."""
    frames = next(iter(footage.values()))
    health = CameraHealth(accept_after_s=30)
    for second in range(15):
        health.look(frames[second % len(frames)], second * S)
    moved = [shifted(frame) for frame in frames]
    seen = [health.look(moved[second % len(moved)], second * S) for second in range(15, 80)]
    assert (Sight.MOVED, Sight.CLEAR) == (seen[10], seen[-1])
    blurred = [soft(frame, 2.5) for frame in moved]
    assert Sight.BLURRED is [health.look(blurred[s % len(blurred)], s * S) for s in range(80, 90)][-1]


def test_lens_that_gets_dirty_over_days_is_noticed(footage: dict[str, list[Picture]]) -> None:
    """What is held to be sharp does not follow down: blur that grows over a thousand looks is told."""
    frame = next(iter(footage.values()))[0]
    health = CameraHealth(frozen_after_s=None)
    steps = [soft(frame, 0.3 + 0.1 * step) for step in range(40)]
    seen = [health.look(steps[look // 25], look * S) for look in range(1000)]
    assert [Sight.CLEAR, Sight.BLURRED] == list(dict.fromkeys(seen))[:2]
    assert seen[-1].blind


def test_another_resolution_is_learnt_anew(footage: dict[str, list[Picture]]) -> None:
    """The same view of another size and crop is no moved camera."""
    frames = next(iter(footage.values()))
    health = CameraHealth()
    for second in range(20):
        health.look(frames[second % len(frames)], second * S)
    smaller = [np.ascontiguousarray(shifted(frame)[:300, :400]) for frame in frames]
    seen = {health.look(smaller[second % len(smaller)], second * S) for second in range(20, 60)}
    assert {Sight.CLEAR} == seen


def test_another_resolution_ends_no_fault(footage: dict[str, list[Picture]]) -> None:
    """What the camera used to see counts on: larger pictures are still blurred, and sharp ones end it."""
    frames = next(iter(footage.values()))
    health = CameraHealth()
    watch(health, frames, range(20))
    blurred = [soft(frame, 4) for frame in frames]
    assert watch(health, blurred, range(20, 40))[-1].blind
    larger = [np.asarray(cv2.resize(frame, (1280, 720)), np.uint8) for frame in blurred]
    assert all(sight.blind for sight in watch(health, larger, range(40, 100)))
    assert Sight.CLEAR is watch(health, frames, range(100, 115))[-1]


def watch(health: CameraHealth, frames: list[Picture], seconds: range) -> list[Sight]:
    """Return what is seen in `frames`, in a loop, at each of `seconds`."""
    return [health.look(frames[second % len(frames)], second * S) for second in seconds]


def hidden(picture: Picture, share: float) -> Picture:
    """Return it with something dark before the right part of it."""
    left = picture.copy()
    left[:, round(640 * (1 - share)) :] = 18
    return left


LASTING: dict[str, tuple[Sight, Callable[[Picture], Picture]]] = {
    "most of it hidden": (Sight.COVERED, lambda picture: hidden(picture, 0.8)),
    "half hidden": (Sight.LAMP_OUT, lambda picture: hidden(picture, 0.5)),
    "lamps down": (Sight.LAMP_OUT, lambda picture: (picture * 0.3).astype(np.uint8)),
    "mud": (Sight.DIRTY, mud),
    "cloth, and gain turned up": (Sight.COVERED, lambda picture: np.clip(
        np.random.default_rng(int(picture.sum()) % 2**32).normal(24, 6, picture.shape), 0, 255
    ).astype(np.uint8)),
}  # fmt: skip


@pytest.mark.parametrize("fault", LASTING)
def test_fault_is_told_for_as_long_as_it_lasts(footage: dict[str, list[Picture]], fault: str) -> None:
    """An hour of it is no new normal, and the way back is found within fifteen seconds."""
    expected, make = LASTING[fault]
    for name, frames in list(footage.items())[:2]:
        health = CameraHealth()
        watch(health, frames, range(20))
        bad = [make(frame) for frame in frames]
        seen = [*watch(health, bad, range(20, 40)), *watch(health, bad, range(40, 3600, 17))]
        assert {expected} == set(seen[4:]), name
        back = watch(health, frames, range(3600, 3630))
        assert {Sight.CLEAR} == set(back[15:]), name


def test_camera_that_is_put_back_is_known_at_once(footage: dict[str, list[Picture]]) -> None:
    """It was moved, taken as it is after a while, and both views count from then on."""
    frames = next(iter(footage.values()))
    moved = [shifted(frame) for frame in frames]
    health = CameraHealth(accept_after_s=30)
    watch(health, frames, range(15))
    assert Sight.CLEAR is watch(health, moved, range(15, 80))[-1]
    assert Sight.MOVED not in watch(health, frames, range(80, 100))[5:]
    assert Sight.BLURRED is watch(health, [soft(frame, 2.5) for frame in frames], range(100, 120))[-1]


def test_moved_camera_stays_told_where_it_may_not_be_taken_as_it_is(
    footage: dict[str, list[Picture]],
) -> None:
    """A camera with portals, whose lines lie wrong; and one that sees worse where it looks now."""
    frames = next(iter(footage.values()))
    moved = [shifted(frame) for frame in frames]
    strict = CameraHealth(accept_after_s=None, frozen_after_s=None)
    worse = CameraHealth(accept_after_s=30, frozen_after_s=None)
    for health, pictures in ((strict, moved), (worse, [soft(frame, 1.2) for frame in moved])):
        watch(health, frames, range(15))
        assert {Sight.MOVED} == set(watch(health, pictures, range(15, 1500, 7))[5:])


def test_picture_that_is_richer_than_the_first_is_no_dirt(footage: dict[str, list[Picture]]) -> None:
    """Somebody stood before the lens while it learnt: when they are gone it is not blind for ever."""
    for name, frames in footage.items():
        health = CameraHealth()
        watch(health, [hidden(frame, 0.6) for frame in frames], range(15))
        assert not any(sight.blind for sight in watch(health, frames, range(15, 60))[4:]), name
