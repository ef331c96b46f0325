"""Whose engines this box loads: those whose manifest its operator, or the box itself, has signed.

A plan is a program for the GPU: loading one is running it. So a plan is only loaded when its SHA-256
stands in a manifest with a valid Ed25519 signature, beside it in ``NAME.TAG.sig``, by one of two keys:
the operator's, for engines that were built elsewhere, and the box's own, made when it was installed,
for those that it built itself. The daemon reads public keys only. Whoever changes a byte of the
manifest, a verdict on its accuracy included, has to have it signed again.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_app import keys
from edge_app.engines.durable import replace_durably
from edge_app.errors import ModelError, NotSigned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: Stands before what is signed, so that no signature made for something else is valid here.
_DOMAIN: Final = b"dsr-edge engine manifest v1\n"
_ALGORITHM: Final = "ed25519"
_ID_DIGITS: Final = 16  # of a key, in a message
_FIELDS: Final = 3
_KEYS: Final = keys.KeyFiles(ModelError, command="dsr-edge engine key", extra="engine")


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
    return _KEYS.make(private)


def sign(manifest: Path, private: Path) -> Path:
    """Sign the manifest's bytes with the key in `private`; returns the signature's path.

    Raises:
        ModelError: the key or the manifest cannot be read, or the key is open to others.
    """
    content, key = _read(manifest), _KEYS.private(private)
    signature = base64.b64encode(key.sign(_DOMAIN + content)).decode()
    line = f"{_ALGORITHM} {keys.key_id(key.public_key())} {signature}\n"
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
        public = _KEYS.public(key.path)
        if keys.key_id(public) == fields[1] and _is_valid(public, fields[2], content):
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
    try:
        return keys.verifies(public, base64.b64decode(signature, validate=True), _DOMAIN + content)
    except ValueError:
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
