"""The doctor's frame: checks are independent, nothing is a traceback, everything says what to do."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from edge_app.errors import ModelError
from edge_app.health import doctor
from edge_app.health.doctor import Check, Finding, State, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator


def fine(name: str) -> Check:
    """Return a check that finds nothing wrong."""
    return Check(name, lambda: [ok(name, "fine")])


def test_every_check_is_looked_at_although_one_raises() -> None:
    """One broken part must not hide the others."""

    def broken() -> list[Finding]:
        msg = "no such thing"
        raise RuntimeError(msg)

    checks = [
        Check("a", lambda: [ok("a", "fine")]),
        Check("b", broken),
        Check("c", lambda: [ok("c", "fine")]),
    ]
    findings = list(doctor.examine(checks))
    assert [("a", State.OK), ("b", State.FAIL), ("c", State.OK)] == [(f.name, f.state) for f in findings]
    assert "the check itself failed: RuntimeError: no such thing" == findings[1].what


def test_an_error_of_ours_is_told_with_its_code_and_its_fix() -> None:
    """The code is what the troubleshooting page lists."""

    def refuse() -> list[Finding]:
        raise ModelError("the file is cut short", fix="copy it again")

    (finding,) = doctor.examine([Check("model", refuse)])
    assert fail("model", "[DSR-400] the file is cut short", fix="copy it again") == finding


def test_what_was_found_before_an_error_is_kept() -> None:
    """A check that yields, then raises, has seen something."""

    def half() -> Iterator[Finding]:
        yield ok("x", "first")
        raise ModelError("then it broke", fix="mend it")

    assert [State.OK, State.FAIL] == [finding.state for finding in doctor.examine([Check("x", half)])]


def test_a_check_that_hangs_is_a_failure_after_its_limit() -> None:
    """A camera's driver may never return; the others are looked at all the same."""
    release = threading.Event()

    def hang() -> list[Finding]:
        release.wait(30)
        return []

    start = time.monotonic()
    findings = list(doctor.examine([Check("a", hang, limit_s=0.2), fine("b")]))
    release.set()
    assert time.monotonic() - start < 5
    assert ["no answer within 0.2 s", "fine"] == [finding.what for finding in findings]


def test_findings_come_as_soon_as_they_are_there() -> None:
    """A person sees progress while a slow camera is tried."""
    late = threading.Event()
    stream = doctor.examine(
        [Check("a", lambda: [ok("a", "fine")]), Check("b", lambda: [ok("b", str(late.wait(9)))])]
    )
    assert "a" == next(stream).name
    late.set()
    assert "b" == next(stream).name


@pytest.mark.parametrize(
    ("expected", "findings"),
    [
        (0, []),
        (0, [ok("a", "x")]),
        (1, [ok("a", "x"), warn("b", "y", fix="z")]),
        (2, [warn("b", "y", fix="z"), fail("c", "y", fix="z"), ok("a", "x")]),
    ],
)
def test_the_exit_status_is_the_worst_finding(expected: int, findings: list[Finding]) -> None:
    """A script decides on it."""
    assert expected == doctor.exit_status(findings)


@pytest.mark.parametrize("state", [State.WARN, State.FAIL])
def test_what_is_not_ok_must_say_what_to_do(state: State) -> None:
    """The doctor does not only complain."""
    with pytest.raises(ValueError, match="needs a fix"):
        Finding(name="x", state=state, what="bad")


def test_the_text_is_aligned_and_wrapped() -> None:
    """Names in a column, continuation below the text, the fix behind an arrow."""
    text = doctor.as_text(fail("broker", "word " * 40, fix="first\nsecond"))
    lines = text.splitlines()
    assert lines[0].startswith("FAIL  broker           word")
    assert all(line.startswith(" " * 23) for line in lines[1:])
    assert [" " * 23 + "-> first", " " * 23 + "-> second"] == lines[-2:]
    assert max(len(line) for line in lines) <= 100


def test_the_summary_counts_the_worst_first() -> None:
    """The last line answers the question."""
    findings = [ok("a", "x"), fail("b", "x", fix="y"), ok("c", "x"), warn("d", "x", fix="y")]
    assert "1 to mend, 1 to look at, 2 ok" == doctor.summary(findings)
    assert "nothing was looked at" == doctor.summary([])


def test_json_carries_every_finding_and_the_status() -> None:
    """For a fleet's own scripts."""
    said = json.loads(doctor.as_json([warn("a", "überall", fix="z")]))
    assert {
        "exit_status": 1,
        "findings": [{"name": "a", "state": "warn", "what": "überall", "fix": "z"}],
    } == said
