"""The ledger's file."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import structlog

from edge_app.clock import WallQuality, WallTime
from edge_app.presence.place import Place
from edge_app.presence.store import Kept, LedgerFile
from edge_app.presence.watch import Dark
from edge_app.records import CameraState

S = 1_000_000_000
BOOT, NEXT = "boot-1", "boot-2"


class Clock:
    """A clock that stands where the test puts it."""

    def __init__(self, mono_s: float, wall_ms: int | None, quality: WallQuality = WallQuality.SYNC) -> None:
        self._mono_ns, self._wall_ms, self._quality = int(mono_s * S), wall_ms, quality

    def mono_ns(self) -> int:
        """Return it."""
        return self._mono_ns

    def wall(self) -> WallTime:
        """Return it."""
        return WallTime(self._wall_ms, WallQuality.NONE if self._wall_ms is None else self._quality)

    def sleep(self, seconds: float) -> None:
        """Go on."""
        self._mono_ns += int(seconds * S)


def file(
    path: Path,
    *,
    boot: str = BOOT,
    mono_s: float = 1000,
    wall_ms: int | None = 5_000_000,
    quality: WallQuality = WallQuality.SYNC,
) -> LedgerFile:
    """Return the file as seen in one run."""
    clock = Clock(mono_s, wall_ms, quality)
    return LedgerFile(path=path / "state" / "presence.json", boot=boot, clock=clock)


KEPT = Kept(
    people=(
        ("a", Place("drift", "cam", "t1", 900 * S, 990 * S, 0.7, since_ns=800 * S, inside_ns=700 * S)),
        ("b", Place(None, "by-hand", "by-hand", 950 * S, 950 * S, None, by_hand=True)),
        ("c", Place("drift", "cam", "t3", 900 * S, 910 * S, 0.7, perhaps_left_ns=950 * S)),
    ),
    strangers=(Place("shaft", "cam", "t2", 990 * S, 999 * S, None, through=True),),
    shift_ms=42,
    shift_ns=400 * S,
    dark=(Dark("drift", 500 * S, 600 * S), Dark(None, 100 * S, 200 * S)),
    blind=(CameraState("cam", "drift", blind_since_ns=980 * S, reason="covered"),),
)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """All of it, in the same run of the clock; readable for its owner alone."""
    assert file(tmp_path).save(KEPT)
    assert KEPT == file(tmp_path, mono_s=1100).load()
    assert 0o600 == stat.S_IMODE((tmp_path / "state" / "presence.json").stat().st_mode)


def test_file_of_a_box_that_knew_no_marks_is_read(tmp_path: Path) -> None:
    """After an update nobody is forgotten, and nobody has perhaps left."""
    file(tmp_path).save(KEPT)
    path = tmp_path / "state" / "presence.json"
    body = json.loads(path.read_text())
    for row in (*body["people"], *body["strangers"]):
        del row["perhaps_left_ns"]
    path.write_text(json.dumps({**body, "departures": {"drift": 1}}))
    people = file(tmp_path, mono_s=1100).load().people
    assert [("a", None), ("b", None), ("c", None)] == [(ref, one.perhaps_left_ns) for ref, one in people]


def test_no_file_is_nobody(tmp_path: Path) -> None:
    """The first start."""
    fresh = file(tmp_path)
    assert (Kept(), None) == (fresh.load(), fresh.problem)


def test_ages_are_carried_over_a_reboot_by_wall_time(tmp_path: Path) -> None:
    """Saved 10 s after the last sight, an hour off, 30 s up again: seen 3610 s ago."""
    file(tmp_path).save(KEPT)
    after = file(tmp_path, boot=NEXT, mono_s=30, wall_ms=5_000_000 + 3_600_000).load()
    place = after.people[0][1]
    assert -3580 * S == place.last_seen_ns
    assert (90, 190, 290) == tuple(
        (place.last_seen_ns - then) // S for then in (place.first_seen_ns, place.since, place.inside_since)
    )


@pytest.mark.parametrize("wall_ms", [None, 4_000_000])
def test_without_a_believable_clock_an_age_is_at_least_what_is_sure(
    tmp_path: Path, wall_ms: int | None
) -> None:
    """No wall time, or one before the save: the uptime is all that is known to have passed."""
    file(tmp_path).save(KEPT)
    place = file(tmp_path, boot=NEXT, mono_s=30, wall_ms=wall_ms).load().people[0][1]
    assert (30 + 10) * S == 30 * S - place.last_seen_ns


HOLDS, SYNC = WallQuality.HOLDOVER, WallQuality.SYNC


@pytest.mark.parametrize(
    ("then", "now", "away_h", "believed"),
    [(SYNC, SYNC, 24 * 365, True), (HOLDS, HOLDS, 48, True), (SYNC, HOLDS, 24 * 7, True),
     (HOLDS, SYNC, 24 * 8, False), (SYNC, HOLDS, 24 * 365, False), (HOLDS, HOLDS, 24 * 365, False)],
)  # fmt: skip
def test_clock_that_nothing_disciplines_is_believed_for_a_week(
    tmp_path: Path, then: WallQuality, now: WallQuality, away_h: int, *, believed: bool
) -> None:
    """A time source then and now is believed for any time; what only runs on for a week, and logged."""
    file(tmp_path, quality=then).save(KEPT)
    with structlog.testing.capture_logs() as lines:
        wall_ms = 5_000_000 + away_h * 3_600_000
        place = file(tmp_path, boot=NEXT, mono_s=30, wall_ms=wall_ms, quality=now).load().people[0][1]
    assert (10 + (away_h * 3600 if believed else 30)) * S == 30 * S - place.last_seen_ns
    assert (then is SYNC and now is SYNC) == (not lines)


@pytest.mark.parametrize(
    ("boot", "mono_s", "wall_ms", "dark"),
    [(BOOT, 1119, 5_000_000, None), (BOOT, 1120, 5_000_000, (1000, 1120)),
     (NEXT, 30, 5_000_000 + 3_600_000, (-3570, 30)), (NEXT, 30, None, (0, 30)), (NEXT, 30, 1, (0, 30))],
)  # fmt: skip
def test_time_in_which_the_box_did_not_run_was_dark(
    tmp_path: Path, boot: str, mono_s: float, wall_ms: int | None, dark: tuple[int, int] | None
) -> None:
    """From the last save to this start, but for a short restart; without a clock what is sure."""
    file(tmp_path).save(Kept())
    kept = file(tmp_path, boot=boot, mono_s=mono_s, wall_ms=wall_ms).load().dark
    assert (() if dark is None else (Dark(None, dark[0] * S, dark[1] * S),)) == kept


def test_dark_times_are_carried_over_a_reboot_as_ages_are(tmp_path: Path) -> None:
    """An hour off: what was dark 400 s before the save was so 4000 s ago. None lasts into the future."""
    future = Dark("shaft", 900 * S, 9_000_000 * S)
    file(tmp_path).save(Kept(dark=(*KEPT.dark, future)))
    after = file(tmp_path, boot=NEXT, mono_s=30, wall_ms=5_000_000 + 3_600_000).load()
    kept = after.dark
    assert Dark("drift", -4070 * S, -3970 * S) == kept[0]
    assert Dark("shaft", -3670 * S, 30 * S) == kept[2]


def test_file_of_a_box_that_knew_no_dark_times_is_read(tmp_path: Path) -> None:
    """After an update: as if all had been seen while the box ran."""
    file(tmp_path).save(KEPT)
    path = tmp_path / "state" / "presence.json"
    body = json.loads(path.read_text())
    for key in ("dark", "blind", "shift_ns", "wall_quality"):
        del body[key]
    path.write_text(json.dumps(body))
    kept = file(tmp_path, mono_s=1100).load()
    assert ((), (), None, 42) == (kept.dark, kept.blind, kept.shift_ns, kept.shift_ms)
    assert KEPT.people == kept.people


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b"{", b'{"v": 2}', b"\xff\xfe",
        b'{"v":1,"boot":"b","mono_ns":"x"}', b"[" * 100_000,
        b'{"v":1,"boot":"b","mono_ns":1,"wall_ms":null,"shift_ms":null,"people":[{"ref":"a"}],"strangers":[]}',
    ],
)  # fmt: skip
def test_damaged_file_is_set_aside_and_told(tmp_path: Path, content: bytes) -> None:
    """Never a start that fails, never a silent one."""
    path = tmp_path / "state" / "presence.json"
    path.parent.mkdir()
    path.write_bytes(content)
    broken = file(tmp_path)
    assert Kept() == broken.load(set_aside=False)
    assert path.exists()
    assert Kept() == broken.load()
    assert broken.problem
    assert content == path.with_name("presence.json.damaged").read_bytes()
    assert broken.save(KEPT)


def test_folder_that_cannot_be_written_does_not_stop_the_box(tmp_path: Path) -> None:
    """False, and no exception."""
    assert not LedgerFile(path=Path("/proc/none/presence.json"), boot=BOOT, clock=Clock(1, None)).save(KEPT)


def test_no_embedding_is_in_the_file(tmp_path: Path) -> None:
    """What a stranger looks like is written nowhere."""
    file(tmp_path).save(KEPT)
    body: dict[str, Any] = json.loads((tmp_path / "state" / "presence.json").read_text())
    assert {
        "zone",
        "camera",
        "track",
        "first_seen_ns",
        "last_seen_ns",
        "score",
        "since_ns",
        "inside_ns",
        "by_hand",
        "through",
        "perhaps_left_ns",
    } == set(body["strangers"][0])
