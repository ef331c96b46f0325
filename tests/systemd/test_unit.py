"""The unit is valid, hardened, and keeps its promises, as systemd itself judges it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_app.daemon import STAGES
from edge_app.engines.rebuild import REQUEST

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = ROOT / "systemd"
UNIT = SYSTEMD / "dsr-edge.service"
BUILD, WAITS = SYSTEMD / "dsr-edge-build.service", SYSTEMD / "dsr-edge-build.path"
#: `systemd-analyze security`'s scale is 0 (safest) to 10; a bare unit scores 9.6.
HIGHEST_EXPOSURE = 2.0


def systemd_version() -> int:
    """Return the version of systemd on this machine, 0 where there is none."""
    if shutil.which("systemd-analyze") is None:
        return 0
    said = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[1].split(".")[0])


needs_systemd = pytest.mark.skipif(
    systemd_version() < 250, reason="systemd-analyze 250 or newer (Debian: apt-get install systemd)"
)


def settings(path: Path = UNIT) -> dict[str, list[str]]:
    """Return the unit's settings by name, in their order."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def image_with(folder: Path, unit_text: str) -> Path:
    """Return a system image that holds the unit, its program and systemd's own targets."""
    units = folder / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for target in Path("/usr/lib/systemd/system").glob("*.target"):
        shutil.copy(target, units)
    (units / UNIT.name).write_text(unit_text, encoding="utf-8")
    for unit in (BUILD, WAITS):
        shutil.copy(unit, units)
    for name in ("dsr-edge", "dsr-engine", "python"):
        program = folder / "opt/dsr-edge/venv/bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n", encoding="utf-8")
        program.chmod(0o755)
    return folder


def verify(image: Path, *units: str) -> subprocess.CompletedProcess[str]:
    """Let systemd read the units (the daemon's) and all that they pull in."""
    command = ["systemd-analyze", "verify", "--man=no", f"--root={image}", *(units or [UNIT.name])]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def exposure(tmp_path: Path, *drop_ins: str, unit: Path = UNIT) -> float:
    """Return the overall exposure that systemd gives the `unit` with `drop_ins`."""
    here = tmp_path / "-".join(["unit", *drop_ins])
    here.mkdir()
    unit = Path(shutil.copy(unit, here))
    for name in drop_ins:
        folder = here / f"{unit.name}.d"
        folder.mkdir(exist_ok=True)
        shutil.copy(SYSTEMD / "drop-ins" / name, folder)
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert match, said
    return float(match[1])


@needs_systemd
def test_systemd_accepts_the_unit_without_a_word(tmp_path: Path) -> None:
    """Unknown keys and missing programs are only warnings to systemd, so nothing may be printed."""
    said = verify(image_with(tmp_path, UNIT.read_text(encoding="utf-8")))
    assert (0, "") == (said.returncode, said.stderr)


@needs_systemd
@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (("KillMode=", "KillMod="), "Unknown key 'KillMod'"),
        (("/venv/bin/dsr-edge", "/venv/bin/absent"), "not executable"),
        (("RestartSec=5", "RestartSec=soon"), "Failed to parse"),
    ],
)
def test_the_verification_can_fail(tmp_path: Path, wrong: tuple[str, str], complaint: str) -> None:
    """The check above sees a misspelt key, a program that is not there and a value without sense."""
    said = verify(image_with(tmp_path, UNIT.read_text(encoding="utf-8").replace(*wrong)))
    assert complaint in said.stderr


@needs_systemd
def test_systemd_accepts_the_unit_of_the_surface_as_it_is_documented(tmp_path: Path) -> None:
    """The text of docs/surface.md, copied as a reader would."""
    text = (ROOT / "docs/surface.md").read_text(encoding="utf-8").split("```ini\n")[1].split("```")[0]
    image = image_with(tmp_path, UNIT.read_text(encoding="utf-8"))
    (image / "usr/lib/systemd/system/dsr-surface.service").write_text(text, encoding="utf-8")
    said = verify(image, "dsr-surface.service")
    assert (0, "") == (said.returncode, said.stderr)


@needs_systemd
def test_systemd_accepts_the_units_that_build_engines(tmp_path: Path) -> None:
    """The path unit starts the service of its name, and neither is complained about."""
    said = verify(image_with(tmp_path, UNIT.read_text(encoding="utf-8")), BUILD.name, WAITS.name)
    assert (0, "") == (said.returncode, said.stderr)
    assert (BUILD.stem, ".path") == (WAITS.stem, WAITS.suffix)


@needs_systemd
def test_building_reaches_less_than_the_daemon(tmp_path: Path) -> None:
    """No camera and no network: its state and the GPU."""
    assert exposure(tmp_path, unit=BUILD) <= HIGHEST_EXPOSURE


def test_the_path_unit_waits_for_the_file_that_the_daemon_leaves() -> None:
    """In the engines' folder of an installed box, by the name that the program gives it."""
    assert [f"/var/lib/dsr-edge/engines/{REQUEST}"] == settings(WAITS)["PathExists"]


def test_a_build_that_cannot_even_start_is_not_tried_for_ever() -> None:
    """The request is still there when the program is not: a few starts an hour, then the units say so."""
    keys = settings(BUILD)
    assert ("oneshot", "1h", "3") == (
        keys["Type"][0],
        keys["StartLimitIntervalSec"][0],
        keys["StartLimitBurst"][0],
    )
    assert "Restart" not in keys


@needs_systemd
def test_the_exposure_is_low_with_gpu_cameras_and_network(tmp_path: Path) -> None:
    """What the service may reach is its state, cameras, the GPU and TCP."""
    assert exposure(tmp_path) <= HIGHEST_EXPOSURE


@needs_systemd
def test_the_cpu_only_drop_in_hardens_further(tmp_path: Path) -> None:
    """No GPU, no memory that is both written and run."""
    assert exposure(tmp_path, "cpu-only.conf") < exposure(tmp_path)


@needs_systemd
def test_a_bare_unit_would_fail_the_exposure_test(tmp_path: Path) -> None:
    """The figure measures the unit's settings, not this machine."""
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(bare)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("Type", "notify"),
        ("WatchdogSec", "30"),
        ("Restart", "always"),
        ("StartLimitIntervalSec", "0"),
        ("User", "dsr-edge"),
        ("LimitCORE", "0"),
        ("UMask", "0077"),
        ("StateDirectoryMode", "0700"),
    ],
)
def test_what_the_unit_promises(key: str, expected: str) -> None:
    """Watched, started again for ever, with nobody's rights, and its files its own."""
    assert [expected] == settings()[key]


def test_the_backoff_never_ends_in_giving_up() -> None:
    """A growing delay with an upper bound, for systemd 254 and later."""
    backoff = settings(SYSTEMD / "drop-ins" / "backoff.conf")
    assert (["2"], ["60"]) == (backoff["RestartSec"], backoff["RestartMaxDelaySec"])
    assert "RestartSteps" in backoff


def test_reading_the_clocks_state_stays_allowed() -> None:
    """Wall time's quality needs adjtimex; without it every event would read holdover."""
    keys = settings()
    assert "ProtectClock" not in keys
    assert any("adjtimex" in calls for calls in keys["SystemCallFilter"])


def test_every_stage_may_start_before_systemd_gives_up_waiting() -> None:
    """The start timeout is longer than any start-up limit that the daemon grants."""
    assert int(settings()["TimeoutStartSec"][0]) >= 2 * max(first for *_, first in STAGES)


def test_no_stage_may_be_silent_for_longer_than_the_watchdog_waits() -> None:
    """A frozen stage is found and the daemon restarted within a minute."""
    silence = max(silence for _, _, silence, _ in STAGES)
    assert silence + int(settings()["WatchdogSec"][0]) <= 60
