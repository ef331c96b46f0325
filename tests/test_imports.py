"""Imports run one way, without cycles, and what is heavy stays where it is used."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("edge_app", "calibration", "dsr_inception", "build_engine", "field_test", "surface")
#: Which package may import which others (DESIGN: the house); each may import itself.
MAY_IMPORT: Final = {
    "edge_app": set[str](),
    "calibration": {"edge_app"},
    "dsr_inception": {"edge_app", "calibration"},
    "build_engine": {"edge_app", "calibration", "dsr_inception"},
    "field_test": {"edge_app", "calibration", "dsr_inception", "build_engine"},
    "surface": {"edge_app"},
}
#: The rooms of a frame's way through the box; a room may import those before it, never those after.
WAY: Final = ("capture", "faces", "embedding", "identity", "presence", "delivery")
#: What everything may know, and what knows nothing but each other.
GROUND: Final = ("errors", "clock", "records", "config")
TRAINING: Final = {"keras", "tensorflow", "torch", "jax", "tf2onnx", "dlib"}
#: Imported where they are used, never at the top of a module.
LATE: Final = {"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "pycuda"}


@dataclass(frozen=True, slots=True)
class Import:
    """One import: who imports what, whether when the module is loaded, whether for types alone."""

    module: str
    target: str
    at_top: bool
    types_only: bool

    @property
    def package(self) -> str:
        """The target's first name."""
        return self.target.split(".")[0]


def modules() -> dict[str, Path]:
    """Return every module of the project by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES: Final = modules()


def imports_of(module: str) -> list[Import]:
    """Return every import of a module, inside functions and for types as well."""
    found: list[Import] = []

    def walk(node: ast.AST, *, at_top: bool, types_only: bool) -> None:
        for child in ast.iter_child_nodes(node):
            inside = at_top and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            typed = types_only
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                typed = True
            if isinstance(child, ast.Import):
                found.extend(Import(module, alias.name, at_top, typed) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                for alias in child.names:
                    whole = f"{base}.{alias.name}"
                    found.append(Import(module, whole if whole in MODULES else base, at_top, typed))
            walk(child, at_top=inside, types_only=typed)

    walk(ast.parse(MODULES[module].read_text(encoding="utf-8")), at_top=True, types_only=False)
    return found


IMPORTS: Final = [one for module in MODULES for one in imports_of(module)]
OURS: Final = [one for one in IMPORTS if one.package in PACKAGES]


def room(module: str) -> str:
    """Return the room of the box that a module is in: the name after ``edge_app``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "edge_app" else ""


def test_the_walk_sees_the_imports() -> None:
    """The test would be empty if it saw none: a known late import and a known early one are among them."""
    assert len(MODULES) > 50
    late = [
        one for one in IMPORTS if one.module == "edge_app.engines.onnx_engine" and one.target == "onnxruntime"
    ]
    assert late
    assert not any(one.at_top and not one.types_only for one in late)
    assert any(one.target == "edge_app.errors" and one.at_top for one in OURS)


def test_no_relative_imports() -> None:
    """A module says in full what it imports; the checks below read it so."""
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}:{node.lineno}"


def test_there_are_no_cycles() -> None:
    """Modules that load each other when they are loaded would depend on who comes first."""
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for one in OURS:
        if one.at_top and not one.types_only and one.target != one.module:
            graph[one.module].add(one.target)

    assert list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_one_way(package: str) -> None:
    """A package imports itself and those before it in the house, for types as well."""
    targets = {one.package for one in OURS if one.module.split(".")[0] == package}

    assert set() == targets - MAY_IMPORT[package] - {package}


def test_training_is_kept_to_what_the_house_allows() -> None:
    """Calibration and training see the faces, the engines and the ground of the box, and no more of it."""
    allowed = {"faces", "engines", "embedding", "identity", *GROUND}
    wrong = [
        one
        for one in OURS
        if one.module.split(".")[0] in ("calibration", "dsr_inception")
        and one.package == "edge_app"
        and room(one.target) not in allowed
    ]

    assert [] == wrong


def test_the_surface_knows_the_box_by_its_events_alone() -> None:
    """The other end shares the schema of events, the form of logs and of secrets, and nothing else."""
    wrong = [
        one
        for one in OURS
        if one.module.startswith("surface")
        and room(one.target) not in ("delivery", "errors", "clock", "log", "secret_files", "")
    ]

    assert [] == wrong


def test_rooms_import_one_way() -> None:
    """No room imports one that comes after it on a frame's way."""
    wrong = [
        one
        for one in OURS
        if room(one.module) in WAY
        and room(one.target) in WAY
        and WAY.index(room(one.target)) > WAY.index(room(one.module))
    ]

    assert [] == wrong


def test_the_ground_knows_nothing_of_the_rooms() -> None:
    """Records, errors, clocks and configuration import each other at most."""
    wrong = [one for one in OURS if room(one.module) in GROUND and room(one.target) not in GROUND]

    assert [] == wrong


def test_identity_knows_no_mqtt() -> None:
    """Who somebody is does not depend on whom it is told."""
    wrong = [
        one
        for one in IMPORTS
        if room(one.module) == "identity" and (one.package == "paho" or room(one.target) == "delivery")
    ]

    assert [] == wrong


def test_delivery_knows_no_faces() -> None:
    """Events are delivered whatever they are about."""
    away = {"capture", "faces", "embedding", "engines", "identity", "presence"}
    wrong = [
        one
        for one in IMPORTS
        if room(one.module) == "delivery" and (one.package == "cv2" or room(one.target) in away)
    ]

    assert [] == wrong


def test_only_the_command_line_and_the_field_test_import_the_daemon() -> None:
    """The wiring is at the end: nothing that it wires knows it."""
    importers = {one.module for one in OURS if one.target == "edge_app.daemon"}

    assert [] == [
        one
        for one in sorted(importers)
        if room(one) not in ("cli", "daemon") and not one.startswith("field_test")
    ]


def test_the_box_never_imports_a_training_framework() -> None:
    """Not even late, and not for types: it is not installed there."""
    assert [] == [one for one in IMPORTS if one.module.startswith("edge_app") and one.package in TRAINING]


def test_heavy_modules_are_imported_where_they_are_used() -> None:
    """Nobody pays for a runtime that is not used, and help needs none."""
    assert [] == [one for one in IMPORTS if one.at_top and not one.types_only and one.package in LATE]


#: Refuses to import what a bare machine lacks, then runs the command line.
BARE: Final = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (kept away by the test)")
sys.meta_path.insert(0, Missing())
from edge_app.cli.main import main
sys.argv = ["dsr-edge", *{arguments}]
sys.exit(main())
"""


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["people", "--help"]], ids=" ".join)
def test_help_needs_neither_a_gpu_nor_a_runtime_nor_opencv(arguments: list[str]) -> None:
    """Help is printed on a machine that lacks OpenCV and every inference runtime."""
    code = BARE.format(names=repr(TRAINING | LATE | {"cv2"}), arguments=repr(arguments))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert "usage: dsr-edge" in done.stdout
