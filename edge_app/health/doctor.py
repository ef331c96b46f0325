"""What works on this box and what does not, each with what to do about it.

Every check looks at one thing the daemon needs, with the daemon's own code, and gives findings: *ok*,
*warn* (it runs, but not as it should) or *fail* (it will not run, or runs in vain). Checks know
nothing of one another: one that raises becomes a failure with its error, one that hangs (a camera's
driver, a broker behind a dead link) becomes a failure after its time limit, and the rest go on.
"""

from __future__ import annotations

import json
import textwrap
import threading
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from edge_app.errors import AccessError, DsrError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_WIDTH: Final = 100
_NAME_WIDTH: Final = 16


class State(str, Enum):
    """How a thing is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: `what` is there, and `fix` says what to do unless it is ok."""

    name: str
    state: State
    what: str
    fix: str = ""

    def __post_init__(self) -> None:
        """Whatever is not ok comes with what to do."""
        if self.state is not State.OK and not self.fix:
            msg = f"a finding that is not ok needs a fix; received {self!r}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at: its name, the call that looks, and how many seconds it may take."""

    name: str
    look: Callable[[], Iterable[Finding]]
    limit_s: float = 20.0


def ok(name: str, what: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(name=name, state=State.OK, what=what)


def warn(name: str, what: str, *, fix: str) -> Finding:
    """Return the finding that something runs, but not as it should."""
    return Finding(name=name, state=State.WARN, what=what, fix=fix)


def fail(name: str, what: str, *, fix: str) -> Finding:
    """Return the finding that something does not work."""
    return Finding(name=name, state=State.FAIL, what=what, fix=fix)


def examine(checks: Sequence[Check]) -> Iterator[Finding]:
    """Yield the findings of all checks, in their order, each as soon as it is there."""
    for check in checks:
        yield from _look(check)


def exit_status(findings: Iterable[Finding]) -> int:
    """Return 2 if anything fails, 1 if there are warnings only, 0 if all is well."""
    states = {finding.state for finding in findings}
    return 2 if State.FAIL in states else 1 if State.WARN in states else 0


def as_text(finding: Finding) -> str:
    """Return the finding for a person: state, name, what, and what to do on lines of its own."""
    state = finding.state.value if finding.state is not State.FAIL else "FAIL"
    head = f"{state:<5} {finding.name:<{_NAME_WIDTH}} "
    lines = [
        _wrapped(line, head if i == 0 else " " * len(head)) for i, line in enumerate(_lines(finding.what))
    ]
    if finding.fix:
        lines += [_wrapped(line, " " * len(head) + "-> ") for line in _lines(finding.fix)]
    return "\n".join(lines)


def summary(findings: Sequence[Finding]) -> str:
    """Return how many findings there are of each state, the worst first."""
    counts = [(sum(f.state is state for f in findings), word) for state, word in _WORDS]
    return ", ".join(f"{count} {word}" for count, word in counts if count) or "nothing was looked at"


def as_json(findings: Sequence[Finding]) -> str:
    """Return all findings as one JSON object, for a program."""
    rows = [{"name": f.name, "state": f.state.value, "what": f.what, "fix": f.fix} for f in findings]
    return json.dumps({"exit_status": exit_status(findings), "findings": rows}, indent=2, ensure_ascii=False)


def from_error(name: str, error: BaseException) -> Finding:
    """Return the failure that an exception stands for."""
    if isinstance(error, OSError) and error.filename:
        error = AccessError.of(error)
    if isinstance(error, DsrError):
        return fail(name, f"[{error.code}] {error.what}", fix=error.fix or "see docs/troubleshooting.md")
    return fail(
        name,
        f"the check itself failed: {type(error).__name__}: {error}",
        fix="report this with the output of `dsr-edge doctor --json`",
    )


_WORDS: Final = ((State.FAIL, "to mend"), (State.WARN, "to look at"), (State.OK, "ok"))


def _look(check: Check) -> list[Finding]:
    found: list[Finding] = []

    def look() -> None:
        try:
            found.extend(check.look())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding and not a traceback
            found.append(from_error(check.name, error))

    thread = threading.Thread(target=look, name=f"doctor-{check.name}", daemon=True)
    thread.start()
    thread.join(check.limit_s)
    if thread.is_alive():
        late = fail(
            check.name,
            f"no answer within {check.limit_s:g} s",
            fix="a device or a link hangs: unplug and plug it, or restart what it talks to, and look again",
        )
        return [*found, late]
    return found


def _lines(text: str) -> list[str]:
    return text.splitlines() or [""]


def _wrapped(line: str, head: str) -> str:
    return textwrap.fill(
        line,
        width=_WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
