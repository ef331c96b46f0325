"""The keys that sign commands: Ed25519, PEM files, told apart by an id made from the public key."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_ID_DIGITS: Final = 16
_INSTALL: Final = 'pip install "dsr-edge[commands]"; JetPack has it as python3-cryptography'


@dataclass(frozen=True, slots=True)
class CommandKey:
    """Somebody who may give commands: a name for logs and events, the key's id, the public key."""

    name: str
    id: str
    public: Any

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Return whether this key made `signature` over `content`."""
        from cryptography.exceptions import InvalidSignature

        try:
            self.public.verify(signature, content)
        except InvalidSignature:
            return False
        return True


def make_key(private: Path) -> str:
    """Make a key: `private` (PEM, mode 0600) and ``.pub`` beside it; return its id.

    Raises:
        ConfigError: there is a key already (it is never overwritten), or the folder cannot be written.
    """
    serialization, ed25519 = _library()
    key = ed25519.Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        for path, content, mode in ((private, secret, 0o600), (private.with_suffix(".pub"), public, 0o644)):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
    except OSError as error:
        raise ConfigError(
            f"{error.filename} cannot be made: {error.strerror}",
            fix="choose another name; no key is overwritten",
        ) from error
    return _key_id(key.public_key())


def read_public(path: Path, *, name: str) -> CommandKey:
    """Return the key in a PEM file.

    Raises:
        ConfigError: it cannot be read, is no Ed25519 key, or the library is missing.
    """
    serialization, ed25519 = _library()
    try:
        public = serialization.load_pem_public_key(_read(path))
    except ValueError as error:
        raise ConfigError(f"{path} is no public key", fix="give the .pub file of a keygen") from error
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise ConfigError(f"{path} is not an Ed25519 key", fix="make one: dsr-edge command keygen")
    return CommandKey(name=name, id=_key_id(public), public=public)


def read_private(path: Path) -> tuple[str, Any]:
    """Return the key's id and the private key in a PEM file.

    Raises:
        ConfigError: it cannot be read, others may read it, or it is no Ed25519 key.
    """
    serialization, ed25519 = _library()
    content = _read(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(f"the key {path} can be read by others (mode {mode:04o})", fix=f"chmod 600 {path}")
    try:
        private = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is no private key", fix="make one: dsr-edge command keygen") from error
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise ConfigError(f"{path} is not an Ed25519 key", fix="make one: dsr-edge command keygen")
    return _key_id(private.public_key()), private


def _key_id(public: Any) -> str:
    serialization, _ = _library()
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:_ID_DIGITS]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the key {path} cannot be read: {error.strerror}", fix="check the path") from error


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ConfigError(f"signatures cannot be checked here: {error}", fix=_INSTALL) from error
    return serialization, ed25519
