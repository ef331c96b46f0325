"""Every error has a code of its own, a message and a fix."""

from __future__ import annotations

import re

from edge_app import errors


def tree(base: type[errors.DsrError]) -> list[type[errors.DsrError]]:
    """Return `base` and all below it that the module draws; rooms may refine one for themselves."""
    below = (kind for child in base.__subclasses__() for kind in tree(child))
    return [kind for kind in (base, *below) if kind.__module__ == errors.__name__]


def test_codes_are_unique_and_drawn_in_the_docstring() -> None:
    """A code in a log names one class; the tree in the module's docstring has them all."""
    kinds = tree(errors.DsrError)
    assert len(kinds) == len({kind.code for kind in kinds})
    for kind in kinds:
        assert re.fullmatch(r"DSR-\d{3}", kind.code)
        assert kind.__name__ in (errors.__doc__ or "")


def test_a_child_keeps_its_parents_exit_status() -> None:
    """The exit status tells the family apart; the code tells the member."""
    for kind in tree(errors.DsrError)[1:]:
        parent = kind.__mro__[1]
        if parent is not errors.DsrError:
            assert parent.exit_status == kind.exit_status  # type: ignore[attr-defined]


def test_text_holds_code_what_and_fix() -> None:
    """One line says what happened, the next what to do."""
    assert "[DSR-100] no such key\n  fix: remove it" == str(
        errors.ConfigError("no such key", fix="remove it")
    )
    assert "[DSR-601] locked" == str(errors.OutboxLocked("locked"))


def test_what_may_be_retried_is_a_type() -> None:
    """Only these four are worth another try."""
    retryable = {kind.__name__ for kind in tree(errors.DsrError) if kind.retryable}
    assert {"SourceLost", "OutboxFull", "OutboxCorrupt", "LinkError"} == retryable
