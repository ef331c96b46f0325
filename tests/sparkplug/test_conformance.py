"""The table of assertions is whole, and says what the tests say."""

from __future__ import annotations

from collections import Counter

from tests.sparkplug.conformance import NOT_OURS, TABLE, TOTAL, marks_of_tests, read_table, table_text


def test_every_assertion_of_the_specification_stands_in_the_table() -> None:
    """Version 3.0.0 has 299; 152 of them bind an edge node."""
    table = read_table()
    roles = Counter(role for role, _ in table.values())

    assert TOTAL == len(table)
    assert {"node", *NOT_OURS} == set(roles)
    assert 152 == roles["node"]


def test_every_assertion_that_binds_the_node_has_a_test() -> None:
    """None is left out for being hard."""
    marked = marks_of_tests()

    assert [] == [name for name, (role, _) in read_table().items() if role == "node" and name not in marked]


def test_no_test_is_about_an_assertion_that_does_not_exist_or_bind_the_node() -> None:
    """A typing error would make a claim of nothing."""
    table = read_table()

    assert [] == [name for name in marks_of_tests() if table.get(name, ("",))[0] != "node"]


def test_the_table_is_as_the_tests_say() -> None:
    """To mend it: python -m tests.sparkplug.conformance."""
    assert table_text() == TABLE.read_text(encoding="utf-8")
