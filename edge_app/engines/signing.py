"""Whose engines this box loads: those whose manifest its operator, or the box itself, has signed.

A plan is a program for the GPU: loading one is running it. So a plan is only loaded when its SHA-256
stands in a manifest with a valid Ed25519 signature, beside it in ``NAME.TAG.sig``, by one of two keys:
the operator's, for engines that were built elsewhere, and the box's own, made when it was installed,
for those that it built itself. The daemon reads public keys only. Whoever changes a byte of the
manifest, a verdict on its accuracy included, has to have it signed again.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_app.engines.durable import replace_durably
from edge_app.errors import ModelError, NotSigned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: Stands before what is signed, so that no signature made for something else is valid here.
_DOMAIN: Final = b"dsr-edge engine manifest v1\n"
_ALGORITHM: Final = "ed25519"
_ID_DIGITS: Final = 16
_FIELDS: Final = 3
_INSTALL: Final = 'pip install "dsr-edge[engine]"; JetPack has it as python3-cryptography'


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key: whose it is (``operator``, ``box``), and its PEM file."""

    whose: str
    path: Path


def signature_path(manifest: Path) -> Path:
    """Return where the signature of the manifest in this file lies."""
    return manifest.with_suffix(".sig")


def make_key(private: Path) -> Path:
    """Make an Ed25519 key: `private` (PEM, mode 0600) and ``.pub`` beside it, whose path is returned.

    Raises:
        ModelError: there is a key already (it is never overwritten), or the folder cannot be written.
    """
    serialization, ed25519 = _library()
    if private.exists():
        raise ModelError(
            f"there is a key already: {private}",
            fix="use it; engines signed with it would be worthless without it",
        )
    key = ed25519.Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    replace_durably(private, secret, mode=0o600)
    public = private.with_suffix(".pub")
    replace_durably(
        public,
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )
    return public


def sign(manifest: Path, private: Path) -> Path:
    """Sign the manifest's bytes with the key in `private`; returns the signature's path.

    Raises:
        ModelError: the key or the manifest cannot be read, or the key is open to others.
    """
    serialization, ed25519 = _library()
    content, secret = _read(manifest), _read(private)
    if private.stat().st_mode & 0o077:
        raise ModelError(f"the key {private} can be read by others", fix=f"chmod 600 {private}")
    try:
        key = serialization.load_pem_private_key(secret, password=None)
    except (ValueError, TypeError) as error:
        raise ModelError(f"{private} is no private key: {error}", fix="dsr-edge engine key") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ModelError(f"{private} is not an Ed25519 key", fix="dsr-edge engine key")
    line = (
        f"{_ALGORITHM} {_key_id(key.public_key())} {base64.b64encode(key.sign(_DOMAIN + content)).decode()}\n"
    )
    path = signature_path(manifest)
    replace_durably(path, line.encode())
    return path


def check_signature(manifest: Path, content: bytes, trusted: Sequence[TrustedKey]) -> str:
    """Return whose key signed `content`, the bytes that were read from the file `manifest`.

    Raises:
        NotSigned: there is no signature, or none of the `trusted` keys made it for these bytes.
        ModelError: a key file cannot be read, or the library is missing.
    """
    path = signature_path(manifest)
    try:
        fields = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise NotSigned(
            f"the engine {manifest.stem} is not signed: {path} cannot be read", fix=_sign_fix(manifest)
        ) from error
    if len(fields) != _FIELDS or fields[0] != _ALGORITHM:
        raise NotSigned(f"{path} is no Ed25519 signature", fix=_sign_fix(manifest))
    for key in trusted:
        public = _public(key.path)
        if _key_id(public) == fields[1] and _is_valid(public, fields[2], content):
            return key.whose
    names = ", ".join(key.whose for key in trusted) or "none"
    raise NotSigned(
        f"the engine {manifest.stem} has no valid signature of a key that this box trusts ({names}); "
        f"received one by key {fields[1][:_ID_DIGITS]}",
        fix=_sign_fix(manifest),
    )


def _sign_fix(manifest: Path) -> str:
    return f"if it was built on this box: dsr-edge engine activate {manifest.stem} --sign"


def _is_valid(public: Any, signature: str, content: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(base64.b64decode(signature, validate=True), _DOMAIN + content)
    except (InvalidSignature, ValueError):
        return False
    return True


def _public(path: Path) -> Any:
    serialization, ed25519 = _library()
    try:
        key = serialization.load_pem_public_key(_read(path))
    except ValueError as error:
        raise ModelError(f"{path} is no public key: {error}", fix="give a PEM file (.pub)") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise ModelError(f"{path} is not an Ed25519 key", fix="make one: dsr-edge engine key")
    return key


def _key_id(public: Any) -> str:
    serialization, _ = _library()
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:_ID_DIGITS]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ModelError(f"signatures cannot be checked here: {error}", fix=_INSTALL) from error
    return serialization, ed25519
