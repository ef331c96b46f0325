"""Files that hold a password or a key: readable by their owner alone, or not used at all."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from edge_app.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_MIN_KEY_BYTES: Final = 32


def read_secret(path: Path, *, what: str) -> bytes:
    """Return the content of a secret file without its last line end.

    Raises:
        ConfigError: it cannot be read, or others than its owner may read it.
    """
    refuse_open(path, what=what)
    try:
        return path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise _unreadable(path, what, error) from error


def refuse_open(path: Path, *, what: str) -> None:
    """Look whether a secret file, which somebody else will read, is closed to all but its owner.

    Raises:
        ConfigError: it is not there, or others than its owner may read it.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unreadable(path, what, error) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"{what} {path} may be read by others than its owner (mode {stat.S_IMODE(mode):04o})",
            fix=f"chmod 600 {path}",
        )


def _unreadable(path: Path, what: str, error: OSError) -> ConfigError:
    return ConfigError(f"{what} {path} cannot be read: {error.strerror}", fix="check the path and its owner")


def read_hex_key(path: Path, *, what: str) -> bytes:
    """Return a key of 32 bytes or more: the file holds 64 or more hexadecimal digits.

    Raises:
        ConfigError: it cannot be read, is too short, or is open to others.
    """
    text = read_secret(path, what=what)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) < _MIN_KEY_BYTES:
        raise ConfigError(
            f"{what} in {path} is not 64 or more hexadecimal digits", fix=f"openssl rand -hex 32 > {path}"
        )
    return key
