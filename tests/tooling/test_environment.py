"""The set-up: real environments made by real pip from a folder of wheels, without a network."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tooling import environment
from tooling.environment import Profile, SetupError

if TYPE_CHECKING:
    from pathlib import Path

MINI = Profile("mini", "locks/mini.txt", (3, 99), 0.01)
#: A build backend that needs nothing, so that the checkout installs itself without a registry.
BACKEND = """
import os, zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "tiny_checkout-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as out:
        out.writestr("tiny_checkout.pth", os.getcwd())
        info = "tiny_checkout-1.0.dist-info/"
        out.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: tiny-checkout\\nVersion: 1.0\\n")
        out.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        out.writestr(info + "RECORD", "")
    return name
"""


def make_wheel(folder: Path, name: str, version: str) -> str:
    """Write a wheel with one module into `folder` and return its SHA-256."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(path, "w") as out:
        for member, content in files.items():
            out.writestr(member, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
            record += f"{member},sha256={digest},{len(content)}\n"
        out.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout in miniature whose environment is made; tests that change it put it back."""
    root = tmp_path_factory.mktemp("checkout")
    with pytest.MonkeyPatch.context() as patch:
        offline(root, patch)
        write_lock(root, make_wheel(root / "wheels", "lamp", "1.0"))
        environment.ensure(root, MINI)
    return root


@pytest.fixture
def checkout(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the checkout in miniature, its environment complete, with pip cut off from any registry."""
    offline(made, monkeypatch)
    write_lock(made, make_wheel(made / "wheels", "lamp", "1.0"))
    environment.ensure(made, MINI)
    return made


def offline(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Let pip see nothing but the folder of wheels, and give the checkout its files."""
    (root / "wheels").mkdir(exist_ok=True)
    (root / "locks").mkdir(exist_ok=True)
    (root / "tiny_backend.py").write_text(BACKEND)
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "tiny_backend"\nbackend-path = ["."]\n'
        '[project]\nname = "tiny-checkout"\nversion = "1.0"\n'
    )
    patch.setenv("PIP_NO_INDEX", "1")
    patch.setenv("PIP_FIND_LINKS", str(root / "wheels"))
    patch.setenv("PIP_NO_CACHE_DIR", "1")


def write_lock(root: Path, sha256: str, version: str = "1.0") -> None:
    """Lock the one package at `version`."""
    (root / "locks" / "mini.txt").write_text(f"lamp=={version} \\\n    --hash=sha256:{sha256}\n")


def lamp_version(root: Path) -> str:
    """Return the version of the package that the environment imports."""
    command = [root / ".venv" / "bin" / "python", "-c", "import lamp; print(lamp.VERSION)"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_environment_has_what_the_lock_says(checkout: Path) -> None:
    """The package is installed, and the checkout itself."""
    assert "1.0" == lamp_version(checkout)
    listed = [checkout / ".venv" / "bin" / "python", "-m", "pip", "list", "--format=freeze"]
    assert "tiny-checkout==1.0" in subprocess.run(listed, check=True, capture_output=True, text=True).stdout


def test_the_second_set_up_does_nothing(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process is started and nothing is said."""
    capsys.readouterr()
    monkeypatch.setattr(environment.subprocess, "run", lambda *_args, **_kw: pytest.fail("started a process"))
    monkeypatch.setattr(
        environment.subprocess, "Popen", lambda *_args, **_kw: pytest.fail("started a process")
    )

    assert checkout / ".venv" / "bin" / "python" == environment.ensure(checkout, MINI)
    assert "" == capsys.readouterr().out


def test_a_changed_lock_is_installed(checkout: Path) -> None:
    """A new version in the lock gets into the environment."""
    write_lock(checkout, make_wheel(checkout / "wheels", "lamp", "2.0"), "2.0")

    environment.ensure(checkout, MINI)

    assert "2.0" == lamp_version(checkout)


def test_an_interrupted_set_up_starts_afresh(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the busy mark was left, half a package may lie about: all of it goes."""
    (checkout / ".venv" / environment._BUSY).touch()
    rubbish = checkout / ".venv" / "half-a-package"
    rubbish.touch()

    environment.ensure(checkout, MINI)

    assert "interrupted; starting afresh" in capsys.readouterr().out
    assert not rubbish.exists()
    assert "1.0" == lamp_version(checkout)


def test_an_altered_package_is_refused_and_the_environment_stays(checkout: Path) -> None:
    """Another hash than the lock's installs nothing; what worked before still works."""
    make_wheel(checkout / "wheels", "lamp", "2.0")
    write_lock(checkout, "0" * 64, "2.0")

    with pytest.raises(SetupError, match="not the one that was locked"):
        environment.ensure(checkout, MINI)

    assert "1.0" == lamp_version(checkout)
    assert not (checkout / ".venv" / environment._BUSY).exists()


def test_without_a_registry_the_error_says_how_to_do_without(checkout: Path) -> None:
    """A package that cannot be had gives the way to carry it in."""
    write_lock(checkout, "0" * 64, "3.0")

    with pytest.raises(SetupError, match=r"(?s)registry.*pip download.*PIP_FIND_LINKS=wheels"):
        environment.ensure(checkout, MINI)


def test_two_set_ups_at_once_wait_for_each_other(checkout: Path) -> None:
    """Two processes that set up the same checkout both end well."""
    write_lock(checkout, make_wheel(checkout / "wheels", "lamp", "2.0"), "2.0")
    code = (
        "import pathlib, sys; from tooling import environment as e; "
        "e.ensure(pathlib.Path(sys.argv[1]), e.Profile('mini', 'locks/mini.txt', (3, 99), 0.01))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(checkout)]) for _ in range(2)]

    assert [0, 0] == [process.wait(timeout=60) for process in both]
    assert "2.0" == lamp_version(checkout)


def test_a_python_without_wheels_is_told_which_to_use(tmp_path: Path) -> None:
    """Too new a Python is refused before anything is downloaded."""
    with pytest.raises(SetupError, match=r"(?s)all of locks/mini\.txt.*python3\.9"):
        environment.ensure(tmp_path, Profile("mini", "locks/mini.txt", (3, 9), 0.01))


def test_a_full_disk_is_told_before_the_download(tmp_path: Path) -> None:
    """Too little room is refused before anything is downloaded."""
    with pytest.raises(SetupError, match=r"needs about 1000000 GiB"):
        environment.ensure(tmp_path, Profile("mini", "locks/mini.txt", (3, 99), 1_000_000))
