"""JetPack 6 has Python 3.10: what came later is not used by the box, nor by what sets it up.

The type checker and the tests run with a newer Python, which would not notice.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
#: What must run with the oldest Python.
BOX: Final = ("edge_app", "surface", "field_test", "tooling")
#: Names that came with Python 3.11 or 3.12, by module; ``*`` is the module itself.
LATER: Final = {
    "asyncio": {"Runner", "TaskGroup", "timeout"},
    "datetime": {"UTC"},
    "enum": {"EnumCheck", "ReprEnum", "StrEnum", "verify"},
    "itertools": {"batched"},
    "tomllib": {"*"},
    "typing": {"LiteralString", "Never", "Self", "Unpack", "assert_never", "override", "reveal_type"},
    "wsgiref.types": {"*"},
}
#: Bases that take a parameter in Python 3.10.
GENERIC: Final = {"Generic", "Protocol", "TypedDict", "NamedTuple", "dict", "list", "set", "tuple", "type"}


def later_than_310(source: str) -> list[str]:
    """Return what in `source` Python 3.10 lacks, as ``line: what``; nothing that only the types need."""
    found: list[str] = []

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    walk(other)
                continue
            found.extend(f"{child.lineno}: {what}" for what in _later(child))  # type: ignore[attr-defined]
            walk(child)

    walk(ast.parse(source))
    return found


def _later(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if "*" in LATER.get(alias.name, set())]
    if isinstance(node, ast.ImportFrom):
        names = LATER.get(node.module or "", set())
        return [f"{node.module}.{alias.name}" for alias in node.names if names & {alias.name, "*"}]
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return [ast.unparse(node)] if node.attr in LATER.get(node.value.id, set()) else []
    if isinstance(node, ast.ClassDef):
        taken = [base for base in node.bases if isinstance(base, ast.Subscript)]
        return [ast.unparse(base) for base in taken if ast.unparse(base.value).split(".")[-1] not in GENERIC]
    return ["except*"] if type(node).__name__ == "TryStar" else []


@pytest.mark.parametrize("package", BOX)
def test_nothing_newer_than_python_310_is_used(package: str) -> None:
    """A box with Python 3.10 loads every module."""
    wrong = [
        f"{path.relative_to(ROOT)}:{what}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for what in later_than_310(path.read_text(encoding="utf-8"))
    ]

    assert [] == wrong


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("class H(logging.StreamHandler[TextIO]): ...", ["1: logging.StreamHandler[TextIO]"]),
        ("from enum import StrEnum", ["1: enum.StrEnum"]),
        ("import datetime\nnow = datetime.UTC", ["2: datetime.UTC"]),
        ("import tomllib", ["1: tomllib"]),
        ("class Slot(Generic[T]): ...", []),
        ("if TYPE_CHECKING:\n    from typing import Self", []),
    ],
)
def test_what_is_newer_is_seen(source: str, what: list[str]) -> None:
    """The look finds what the first box with Python 3.10 stumbled over."""
    assert what == later_than_310(source)
