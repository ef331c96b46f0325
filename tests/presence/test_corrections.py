"""Requests of an operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_app.errors import ConfigError
from edge_app.presence.corrections import Correction, folder_of, put, take


def test_requests_arrive_in_their_order(tmp_path: Path) -> None:
    """As they were left, each with its file."""
    ledger = tmp_path / "state" / "presence.json"
    wanted = [
        Correction(what="inside", person_ref="a", zone="z", by="me"),
        Correction(what="left", person_ref="a"),
        Correction(what="forget_strangers"),
        Correction(what="muster"),
    ]
    files = [put(ledger, one) for one in wanted]
    assert list(zip(files, wanted, strict=True)) == list(take(ledger))


def test_no_folder_is_no_request(tmp_path: Path) -> None:
    """Nobody has asked anything yet."""
    assert [] == list(take(tmp_path / "presence.json"))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"7", b"{", b'{"what": "sing"}', b'{"what": "left"}', b'{"what": "left", "person_ref": 5}',
     b'{"what": "inside", "person_ref": "a"}', b'{"what": "muster", "by": []}', b'{"colour": "red"}',
     b"x" * 9999,     b'{"what": "left", "person_ref": "a\\n"}', b'{"what": "muster", "by": "\\u0000"}',
     b'{"what": "inside", "person_ref": "a", "zone": "a/b"}'],
)  # fmt: skip
def test_what_is_no_request_is_told(tmp_path: Path, content: bytes) -> None:
    """One reason each, and the others still arrive."""
    ledger = tmp_path / "presence.json"
    folder_of(ledger).mkdir()
    (folder_of(ledger) / "0.json").write_bytes(content)
    put(ledger, Correction(what="muster"))
    (_, reason), (_, request) = take(ledger)
    assert isinstance(reason, str)
    assert reason
    assert Correction(what="muster") == request


def test_folder_that_cannot_be_written_is_named() -> None:
    """With what to do."""
    with pytest.raises(ConfigError, match="cannot be written"):
        put(Path("/proc/none/presence.json"), Correction(what="muster"))


@pytest.mark.parametrize(
    "fields", [{"what": "left"}, {"what": "inside", "person_ref": "a"}, {"what": "muster", "person_ref": "a"}]
)
def test_half_a_request_is_refused(fields: dict[str, Any]) -> None:
    """Who and where belong together."""
    with pytest.raises(ValueError, match="correction"):
        Correction(**fields)
