"""Ed25519 keys in PEM files: made once, kept closed, told apart by an id made from the public key.

Engines and commands are signed with such keys; each says in its own words what went wrong and how a
key is made. No key is ever overwritten: what was signed with it would be worthless without it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from edge_app.errors import DsrError

_ID_DIGITS: Final = 16
_FOR_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def key_id(public: Any) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the raw public key."""
    from cryptography.hazmat.primitives import serialization

    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:_ID_DIGITS]


def verifies(public: Any, signature: bytes, content: bytes) -> bool:
    """Return whether the owner of `public` made `signature` over `content`."""
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, content)
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Makes and reads keys; raises `error`, names the `command` that makes a key, and the `extra` needed."""

    error: type[DsrError]
    command: str
    extra: str

    def make(self, private: Path) -> Path:
        """Make a key: `private` (PEM, mode 0600) and ``.pub`` beside it, whose path is returned.

        Raises:
            DsrError: there is a key already, or the folder cannot be written.
        """
        serialization, ed25519 = self._library()
        public = private.with_suffix(".pub")
        key = ed25519.Ed25519PrivateKey.generate()
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        known = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for path in (private, public):
            if path.exists():
                raise self.error(f"there is a key already: {path}", fix="use it, or choose another name")
        try:
            private.parent.mkdir(parents=True, exist_ok=True)
            for path, content, mode in ((private, secret, 0o600), (public, known, 0o644)):
                _write_new(path, content, mode)
        except OSError as error:
            raise self.error(
                f"{error.filename} cannot be made: {error.strerror}",
                fix="choose another name; no key is overwritten",
            ) from error
        return public

    def public(self, path: Path) -> Any:
        """Return the public key in a PEM file.

        Raises:
            DsrError: it cannot be read, is no Ed25519 key, or the library is missing.
        """
        serialization, ed25519 = self._library()
        try:
            key = serialization.load_pem_public_key(self._read(path))
        except ValueError as error:
            raise self.error(f"{path} is no public key", fix="give the .pub file, PEM") from error
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise self.error(f"{path} is not an Ed25519 key", fix=f"make one: {self.command}")
        return key

    def private(self, path: Path) -> Any:
        """Return the private key in a PEM file.

        Raises:
            DsrError: it cannot be read, others may read it, or it is no Ed25519 key.
        """
        serialization, ed25519 = self._library()
        content = self._read(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _FOR_OTHERS:
            raise self.error(
                f"the key {path} can be read by others (mode {mode:04o})", fix=f"chmod 600 {path}"
            )
        try:
            key = serialization.load_pem_private_key(content, password=None)
        except (ValueError, TypeError) as error:
            raise self.error(f"{path} is no private key", fix=f"make one: {self.command}") from error
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise self.error(f"{path} is not an Ed25519 key", fix=f"make one: {self.command}")
        return key

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise self.error(
                f"the key {path} cannot be read: {error.strerror or error}", fix="check the path"
            ) from error

    def _library(self) -> tuple[Any, Any]:
        try:
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric import ed25519
        except ImportError as error:
            raise self.error(
                f"signatures cannot be checked here: {error}",
                fix=f'pip install "dsr-edge[{self.extra}]"; JetPack has it as python3-cryptography',
            ) from error
        return serialization, ed25519


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that was not there, and make it survive a power cut."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
