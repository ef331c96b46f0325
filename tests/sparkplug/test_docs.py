"""The page about Sparkplug and the program say the same."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from edge_app.sparkplug.codec import DataType
from edge_app.sparkplug.metrics import DEVICE_METRICS, NODE_METRICS
from tests.sparkplug.conformance import read_table

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sparkplug.md").read_text(encoding="utf-8")
SHOWN = {
    DataType.INT64: "Int64",
    DataType.DOUBLE: "Double",
    DataType.BOOLEAN: "Boolean",
    DataType.STRING: "String",
    DataType.DATETIME: "DateTime",
}


@pytest.mark.parametrize(("what", "table"), [("node", NODE_METRICS), ("camera", DEVICE_METRICS)])
def test_the_tables_of_metrics_are_the_programs(
    what: str, table: tuple[tuple[str, DataType, str], ...]
) -> None:
    """To mend the page, copy what this test expects between the two marks."""
    match = re.search(rf"<!-- {what} metrics:[^>]*-->\n(.*?)\n<!-- /{what} metrics -->", PAGE, re.DOTALL)
    rows = ["| metric | type | meaning |", "|---|---|---|"]
    rows += [f"| `{name}` | {SHOWN[kind]} | {meaning} |" for name, kind, meaning in table]

    assert match
    assert "\n".join(rows) == match[1]


def test_the_numbers_of_assertions_are_the_tables() -> None:
    """As the page states them."""
    roles = Counter(role for role, _ in read_table().values())

    assert f"lists all {sum(roles.values())} assertions" in PAGE
    assert f"{roles['node']} of them bind an edge" in PAGE
    for role in ("host", "broker", "unused", "operator", "mqtt311", "may"):
        assert f"({roles[role]})" in PAGE
