"""What the operating system refuses is one message with what to do, for every command, never a traceback."""

from __future__ import annotations

import codecs
import contextlib
import importlib
import os
import pkgutil
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import edge_app
from edge_app.cli.main import main
from edge_app.errors import AccessError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """\
box: {site: m, node: b}
cameras: [{name: c, zone: z, source: {kind: file, path: clip.mp4}}]
delivery: {brokers: [{host: 127.0.0.1, port: 9}]}
"""
NOBODY = 65534
#: Whoever mounts a box types these first, and forgets `sudo -u dsr-edge` first.
COMMANDS = (
    ["people", "list"],
    ["people", "show", "CARD-1"],
    ["people", "remove", "CARD-1"],
    ["people", "roster"],
    ["outbox", "status"],
    ["outbox", "peek"],
    ["outbox", "drain"],
    ["presence", "show"],
    ["presence", "muster"],
    ["engine", "list"],
    ["emit", "--test"],
)


@pytest.fixture
def box() -> Iterator[Path]:
    """Return a box's folder that anybody may enter; into its `state` only the owner may look."""
    folder = Path(tempfile.mkdtemp(prefix="dsr-access-"))
    folder.chmod(0o755)
    (folder / "box.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "state").mkdir(mode=0o700)
    (folder / "state" / "people.db").touch(mode=0o600)
    yield folder
    (folder / "state").chmod(0o700)
    shutil.rmtree(folder)


@pytest.fixture(autouse=True, scope="module")
def _everything_imported() -> None:
    """Import the box: somebody else may not even read the Python that runs the tests."""
    for module in pkgutil.walk_packages(edge_app.__path__, "edge_app."):
        importlib.import_module(module.name)
    codecs.lookup("ascii")


@contextlib.contextmanager
def somebody_else(box: Path) -> Iterator[None]:
    """Be a user who may not look into the box's state."""
    if os.geteuid() != 0:
        (box / "state").chmod(0)
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_somebody_who_may_not_is_told_so(
    box: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status as documented, the path, what to do; nothing that looks like a defect of the program."""
    words = [*command, "--config", str(box / "box.yaml")]
    with somebody_else(box):
        status = main(words)
    said = capsys.readouterr().err
    assert status in {2, 5, 6}
    assert str(box / "state") in said
    assert "Permission denied" in said
    assert "\n  fix: " in said


def test_the_owner_is_named(box: Path) -> None:
    """`sudo -u` needs a name; it is the owner of what could not be entered."""
    hidden = box / "state" / "people.db"
    with somebody_else(box), pytest.raises(PermissionError) as raised:
        hidden.open("rb")
    with somebody_else(box):
        error = AccessError.of(raised.value)
    owner = "root" if os.geteuid() == 0 else os.environ.get("USER", "")
    assert f"sudo -u {owner}" in error.fix
    assert f"{hidden} cannot be used: Permission denied" == error.what


@pytest.mark.parametrize(
    ("number", "fix"),
    [(28, "free space"), (30, "mounted read-only"), (13, "sudo -u"), (36, "check the path")],
    ids=["full", "read-only", "forbidden", "name-too-long"],
)
def test_each_reason_has_its_own_fix(tmp_path: Path, number: int, fix: str) -> None:
    """A full disk is not mended by another user."""
    error = AccessError.of(OSError(number, os.strerror(number), str(tmp_path)))
    assert fix in error.fix
    assert os.strerror(number) in error.what


def test_a_path_that_cannot_be_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the operating system's error comes from a place that expects none."""
    config = tmp_path / "box.yaml"
    config.write_text(f"{CONFIG}gallery: {{path: {'x' * 300}}}\n", encoding="utf-8")
    assert 2 == main(["people", "list", "--config", str(config)])
    assert "[DSR-001]" in capsys.readouterr().err
