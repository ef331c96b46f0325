"""The locks: one resolution, light where it must be, right for every machine that the project serves."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

from tooling.locks import LOCKS, Pin, read_lock

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
PYTHONS: Final = ("3.10", "3.11", "3.12", "3.13")
MACHINES: Final = ("x86_64", "aarch64")
HEAVY: Final = {
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "torch",
    "jax",
    "tf2onnx",
    "dlib-bin",
    "matplotlib",
    "scipy",
}


def installed(lock: str, python: str, machine: str) -> list[Pin]:
    """Return the pins that pip would install on `machine` with `python`."""
    where = {
        "python_version": python,
        "python_full_version": f"{python}.5",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    return [pin for pin in read_lock(ROOT / lock) if not pin.marker or Marker(pin.marker).evaluate(where)]


def project() -> dict[str, object]:
    """Return pyproject.toml's project table."""
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def asked(extras: tuple[str, ...]) -> Iterator[Requirement]:
    """Yield what pyproject.toml asks for with `extras`, those named by extras included."""
    table = project()
    yield from map(Requirement, table["dependencies"])
    for extra in extras:
        for text in table["optional-dependencies"][extra]:
            requirement = Requirement(text)
            if requirement.name == "dsr-edge":
                yield from asked(tuple(requirement.extras))
            else:
                yield requirement


@pytest.mark.parametrize("spec", LOCKS, ids=lambda spec: spec.path)
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_a_lock_has_one_version_of_all_that_is_asked_for(spec, machine: str, python: str) -> None:  # noqa: ANN001
    """Each requirement of pyproject.toml is met by exactly one pin, on every Python and machine."""
    chosen = installed(spec.path, python, machine)
    pins = {pin.name: pin.version for pin in chosen}

    assert len(chosen) == len(pins)
    for requirement in asked(spec.extras):
        where = {"platform_machine": machine, "python_version": python, "sys_platform": "linux"}
        if requirement.marker and not requirement.marker.evaluate(where):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pins
        assert requirement.specifier.contains(pins[name]), (requirement, pins[name])


@pytest.mark.parametrize("spec", LOCKS, ids=lambda spec: spec.path)
def test_every_pin_has_hashes_and_no_lock_names_a_registry(spec) -> None:  # noqa: ANN001
    """A pin without a hash could be anything; an address would tie the lock to one registry."""
    assert [] == [pin.name for pin in read_lock(ROOT / spec.path) if not pin.hashes]
    assert "://" not in (ROOT / spec.path).read_text(encoding="utf-8")


@pytest.mark.parametrize("part", ["locks/box.txt", "locks/demo.txt"])
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_light_locks_are_parts_of_the_whole(part: str, machine: str, python: str) -> None:
    """What a box installs is what the tests ran with: same versions, same hashes."""
    whole = {(pin.name, pin.version, pin.hashes) for pin in installed("locks/all.txt", python, machine)}

    assert {(pin.name, pin.version, pin.hashes) for pin in installed(part, python, machine)} <= whole


@pytest.mark.parametrize("lock", ["locks/box.txt", "locks/demo.txt", "locks/jetson.txt"])
def test_nothing_heavy_gets_onto_a_box(lock: str) -> None:
    """No lock of a box has a training framework or what comes with one."""
    assert set() == HEAVY & {pin.name for pin in read_lock(ROOT / lock)}


def test_the_box_has_nothing_that_nobody_asked_for() -> None:
    """The box's own lock has neither tools for tests nor the demo's broker."""
    names = {pin.name for pin in read_lock(ROOT / "locks/box.txt")}

    assert set() == names & {
        "iotcore",
        "onnx",
        "pytest",
        "ruff",
        "mypy",
        "hatchling",
        "setuptools",
        "opencv-python",
    }
    assert {"numpy", "onnxruntime", "opencv-python-headless", "paho-mqtt", "pydantic"} <= names


def test_a_jetson_keeps_its_own_opencv_and_runtimes() -> None:
    """JetPack's OpenCV needs NumPy 1, and no wheel shadows it or TensorRT."""
    pins = {pin.name: pin.version for pin in read_lock(ROOT / "locks/jetson.txt")}

    assert "1" == pins["numpy"].split(".")[0]
    assert [] == [name for name in pins if re.match(r"opencv|onnxruntime|tensorrt|openvino|iotcore", name)]


def test_read_lock_names_a_line_that_is_no_pin(tmp_path: Path) -> None:
    """A line that pip would read as something else is an error with its number."""
    lock = tmp_path / "lock.txt"
    lock.write_text("# a comment\nnumpy==2.0 \\\n    --hash=sha256:" + "a" * 64 + "\nrequests>=2\n")

    with pytest.raises(ValueError, match=r"lock\.txt:4: not a pin with hashes; received 'requests>=2'"):
        read_lock(lock)


def test_read_lock_reads_markers_and_hashes(tmp_path: Path) -> None:
    """A pin has its name in lower case, its version, its marker and all of its hashes."""
    lock = tmp_path / "lock.txt"
    hashes = "".join(f" \\\n    --hash=sha256:{letter * 64}" for letter in "ab")
    lock.write_text(f"PyYAML==6.0.3 ; python_full_version < '3.11'{hashes}\n    # via dsr-edge\n")

    expected = Pin("pyyaml", "6.0.3", "python_full_version < '3.11'", frozenset({"a" * 64, "b" * 64}))
    assert [expected] == read_lock(lock)
