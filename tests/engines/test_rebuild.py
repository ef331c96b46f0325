"""The file by which the daemon asks, and how it is taken away."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from edge_app.engines.rebuild import OUTCOME, REQUEST, Outcome, Request, ask, last_outcome, note, take
from edge_app.engines.store import EngineStore
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

ASKED = Request(engine="dsr.int8-01234567", reason="it was built on L4T 36.3; this box has L4T 36.4.3")


def test_request_is_taken_once(tmp_path: Path) -> None:
    """What was asked comes out as it went in, and then there is nothing more to do."""
    assert ask(tmp_path, ASKED)
    assert ASKED == take(tmp_path)
    assert None is take(tmp_path)


def test_second_request_waits_for_nothing(tmp_path: Path) -> None:
    """A restarting daemon does not write over what is waiting already."""
    assert ask(tmp_path, ASKED)
    assert not ask(tmp_path, dataclasses.replace(ASKED, reason="another"))
    assert ASKED == take(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"engine": "a"}', b"\xff\xfe"])
def test_damaged_request_is_taken_away_and_told(tmp_path: Path, content: bytes) -> None:
    """It would start the unit for ever."""
    (tmp_path / REQUEST).write_bytes(content)
    with pytest.raises(ModelError, match="request for a rebuild was damaged"):
        take(tmp_path)
    assert not (tmp_path / REQUEST).exists()


def test_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A file stands where the engines' folder should."""
    (tmp_path / "engines").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        ask(tmp_path / "engines", ASKED)
    with pytest.raises(ModelError, match="cannot be read"):
        take(tmp_path / "engines")


def test_neither_file_is_taken_for_an_engine(tmp_path: Path) -> None:
    """The store lists manifests only."""
    ask(tmp_path, ASKED)
    note(tmp_path, Outcome(ASKED, built=None, in_use=False, said="no key"))
    assert () == EngineStore(tmp_path, trusted=()).ids()
    assert {REQUEST, OUTCOME} == {path.name for path in tmp_path.iterdir()}


def test_outcome_is_read_back_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    """It is there to be shown; nothing depends on it."""
    assert None is last_outcome(tmp_path)
    outcome = Outcome(ASKED, built="dsr.int8-89abcdef", in_use=True, said="taken into use")
    note(tmp_path, outcome)
    assert outcome == last_outcome(tmp_path)
    (tmp_path / OUTCOME).write_text('{"asked": null}')
    assert None is last_outcome(tmp_path)
