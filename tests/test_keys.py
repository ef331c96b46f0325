"""One piece of code for the keys of engines and of commands; each says in its own words what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_app.errors import ConfigError, ModelError
from edge_app.keys import KeyFiles, key_id, verifies

if TYPE_CHECKING:
    from pathlib import Path

    from edge_app.errors import DsrError

ENGINE = KeyFiles(ModelError, command="dsr-edge engine key", extra="engine")
COMMAND = KeyFiles(ConfigError, command="dsr-edge command keygen", extra="commands")


def test_a_key_that_one_makes_the_other_reads(tmp_path: Path) -> None:
    """They are the same kind of key, with the same id; its owner signs, and nobody else."""
    public = ENGINE.make(tmp_path / "new" / "k.pem")
    private = COMMAND.private(tmp_path / "new" / "k.pem")

    assert (0o600, 0o644) == tuple(
        path.stat().st_mode & 0o777 for path in (public.with_suffix(".pem"), public)
    )
    assert key_id(ENGINE.public(public)) == key_id(private.public_key())
    assert verifies(COMMAND.public(public), private.sign(b"yes"), b"yes")
    assert not verifies(COMMAND.public(public), private.sign(b"yes"), b"no")


@pytest.mark.parametrize(("files", "error"), [(ENGINE, ModelError), (COMMAND, ConfigError)])
def test_each_says_what_is_wrong_in_its_own_kind(
    tmp_path: Path, files: KeyFiles, error: type[DsrError]
) -> None:
    """A missing file, a file of something else, and a half that is there already."""
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    (tmp_path / "k.pub").write_text("somebody's")
    with pytest.raises(error, match="cannot be read"):
        files.public(tmp_path / "gone")
    with pytest.raises(error, match="no private key") as caught:
        files.private(tmp_path / "text")
    assert files.command in caught.value.fix
    with pytest.raises(error, match="a key already"):
        files.make(tmp_path / "k.pem")
    assert not (tmp_path / "k.pem").exists()
