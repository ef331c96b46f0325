"""Whose commands a box obeys: a name, and an Ed25519 key (see `edge_app.keys`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_app import keys
from edge_app.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_FILES: Final = keys.KeyFiles(ConfigError, command="dsr-edge command keygen", extra="commands")


@dataclass(frozen=True, slots=True)
class CommandKey:
    """Somebody who may give commands: a name for logs and events, the key's id, the public key."""

    name: str
    id: str
    public: Any

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Return whether this key made `signature` over `content`."""
        return keys.verifies(self.public, signature, content)


def make_key(private: Path) -> str:
    """Make a key: `private` (PEM, mode 0600) and ``.pub`` beside it; return its id.

    Raises:
        ConfigError: there is a key already (it is never overwritten), or the folder cannot be written.
    """
    return keys.key_id(_FILES.public(_FILES.make(private)))


def read_public(path: Path, *, name: str) -> CommandKey:
    """Return the key in a PEM file.

    Raises:
        ConfigError: it cannot be read, is no Ed25519 key, or the library is missing.
    """
    public = _FILES.public(path)
    return CommandKey(name=name, id=keys.key_id(public), public=public)


def read_private(path: Path) -> tuple[str, Any]:
    """Return the key's id and the private key in a PEM file.

    Raises:
        ConfigError: it cannot be read, others may read it, or it is no Ed25519 key.
    """
    private = _FILES.private(path)
    return keys.key_id(private.public_key()), private
