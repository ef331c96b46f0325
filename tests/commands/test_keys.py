"""Keys: made once, kept closed, and refused in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge_app.commands.keys import make_key, read_private, read_public
from edge_app.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_is_made_closed_and_both_halves_have_one_id(tmp_path: Path) -> None:
    """The private half is its owner's alone."""
    path = tmp_path / "a.pem"
    made = make_key(path)

    assert 0o600 == path.stat().st_mode & 0o777
    assert made == read_private(path)[0] == read_public(tmp_path / "a.pub", name="a").id


def test_no_key_is_overwritten(tmp_path: Path) -> None:
    """Every box that knows it would have to be visited."""
    make_key(tmp_path / "a.pem")
    before = (tmp_path / "a.pem").read_bytes()
    with pytest.raises(ConfigError, match="a key already"):
        make_key(tmp_path / "a.pem")

    assert before == (tmp_path / "a.pem").read_bytes()


def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """And the message says what to do."""
    make_key(tmp_path / "a.pem")
    (tmp_path / "a.pem").chmod(0o640)
    with pytest.raises(ConfigError) as caught:
        read_private(tmp_path / "a.pem")

    assert "chmod 600" in caught.value.fix


def test_other_files_and_other_keys_are_refused(tmp_path: Path) -> None:
    """Text, nothing, the other half, another algorithm."""
    make_key(tmp_path / "a.pem")
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "ec.pub").write_bytes(pem)

    for name in ("text", "gone", "ec.pub", "a.pem"):
        with pytest.raises(ConfigError):
            read_public(tmp_path / name, name="x")
    for name in ("text", "gone"):
        with pytest.raises(ConfigError):
            read_private(tmp_path / name)
