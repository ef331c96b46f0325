"""The table of the specification's assertions: which apply to an edge node, and which test is about each.

`assertions.txt` lists all 299 ids of Sparkplug 3.0.0. One that binds the node names its tests; any
other says whom it binds instead. The tests say it themselves, by ``@pytest.mark.tck``; this module
reads that from their source. ``python -m tests.sparkplug.conformance`` writes the table anew.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
TABLE: Final = HERE / "assertions.txt"
TOTAL: Final = 299
#: Why an assertion does not bind this node.
NOT_OURS: Final = {
    "host": "binds host applications",
    "broker": "binds MQTT servers",
    "unused": "about templates, data sets or properties, of which the node sends none",
    "operator": "about names in the whole mine, which the operator gives",
    "mqtt311": "about MQTT 3.1.1; the node speaks MQTT 5 only",
    "may": "permits something to the operator",
}


def marks_of_tests() -> dict[str, list[str]]:
    """Return the tests about each assertion, as ``module::test``, in the order of the source."""
    found: dict[str, list[str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else []:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.tck":
                    for argument in mark.args:
                        where = f"{path.stem}::{node.name}"  # type: ignore[union-attr]
                        found.setdefault(f"tck-id-{ast.literal_eval(argument)}", []).append(where)
    return found


def read_table() -> dict[str, tuple[str, str]]:
    """Return id -> (role, rest of the line); the role is ``node`` or a key of `NOT_OURS`."""
    rows = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, role, rest = (part.strip() for part in line.split("|"))
            assert name not in rows, f"{name} stands twice"
            rows[name] = (role, rest)
    return rows


def table_text() -> str:
    """Return the table as it must stand, from the ids and roles in it and the tests' own marks."""
    tests = marks_of_tests()
    head = "# The assertions of Sparkplug 3.0.0: id | whom it binds | its tests, or why there is none.\n"
    rows = [
        f"{name} | {role} | {', '.join(tests.get(name, ['NO TEST'])) if role == 'node' else NOT_OURS[role]}"
        for name, (role, _) in read_table().items()
    ]
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table_text(), encoding="utf-8")
