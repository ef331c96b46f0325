r"""People on their way from one box to another: an encrypted file that is whole, or is refused.

::

    b"DSRB1\n"   16 random bytes   then records: 4 bytes of length, AES-256-GCM ciphertext

Each file has a key of its own, made from the operator's key and the random bytes (HKDF-SHA256). A
record's nonce is its number; its associated data are the file's beginning, its number, and whether it
is the last. So no record can be altered, left out, doubled, moved, or taken from another file, and a
file that breaks off is known for one. The first record says what follows; every other is one photo.
"""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import ConfigError, GalleryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

MAGIC: Final = b"DSRB1\n"
_SALT: Final = 16
_TAG: Final = 16
#: A crop is 150 kB at most as PNG; an embedding has a few kB.
_MAX_RECORD: Final = 4 << 20
_INFO: Final = b"dsr-edge people bundle v1"
_ALTERED: Final = "copy it again; see that both boxes have the same gallery.bundle_key"


class BundleWriter:
    """Writes records to `file`; `end` writes the last one, without which the file is refused."""

    def __init__(self, file: BinaryIO, *, key: bytes) -> None:
        self._file = file
        self._head = MAGIC + os.urandom(_SALT)
        self._cipher = _cipher(key, self._head)
        self._number = 0
        self._held: bytes | None = None
        file.write(self._head)

    def write(self, fields: dict[str, Any], blob: bytes = b"") -> None:
        """Write one record: a JSON object, and bytes beside it."""
        text = json.dumps(fields, separators=(",", ":")).encode("utf-8")
        if self._held is not None:
            self._seal(self._held, last=False)
        self._held = struct.pack(">I", len(text)) + text + blob

    def end(self) -> None:
        """Write the last record."""
        if self._held is not None:
            self._seal(self._held, last=True)
            self._held = None

    def _seal(self, plain: bytes, *, last: bool) -> None:
        nonce, about = _about(self._head, self._number, last=last)
        sealed = self._cipher.encrypt(nonce, plain, about)
        self._file.write(struct.pack(">I", len(sealed)) + sealed)
        self._number += 1


def read_records(file: BinaryIO, *, key: bytes, name: str) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield every record of a bundle; only when it has ended without an error is the whole of it sound.

    Args:
        file: at its beginning.
        key: the operator's.
        name: what messages call it.

    Raises:
        GalleryError: it is no bundle, was made with another key, is altered, or breaks off.
    """
    head = file.read(len(MAGIC) + _SALT)
    if not head.startswith(MAGIC) or len(head) != len(MAGIC) + _SALT:
        raise GalleryError(f"{name} is no bundle of people", fix="make one: dsr-edge people export")
    cipher = _cipher(key, head)
    number, sealed, following = 0, _sealed(file, name), b""
    while True:
        following = _sealed(file, name)
        plain = _opened(cipher, sealed, _about(head, number, last=not following), name)
        yield _parted(plain, name)
        if not following:
            return
        number, sealed = number + 1, following


def _sealed(file: BinaryIO, name: str) -> bytes:
    """Return the next ciphertext, empty at the end of the file."""
    prefix = file.read(4)
    if not prefix:
        return b""
    length = struct.unpack(">I", prefix)[0] if len(prefix) == 4 else 0  # noqa: PLR2004 - bytes of a length
    sealed = file.read(length) if _TAG <= length <= _MAX_RECORD else b""
    if not sealed or len(sealed) != length:
        raise GalleryError(f"{name} breaks off or is altered", fix=_ALTERED)
    return sealed


def _opened(cipher: Any, sealed: bytes, about: tuple[bytes, bytes], name: str) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        plain: bytes = cipher.decrypt(about[0], sealed, about[1])
    except (InvalidTag, ValueError) as error:
        raise GalleryError(
            f"{name} was made with another key, breaks off or is altered", fix=_ALTERED
        ) from error
    return plain


def _parted(plain: bytes, name: str) -> tuple[dict[str, Any], bytes]:
    try:
        (length,) = struct.unpack_from(">I", plain)
        fields = json.loads(plain[4 : 4 + length])
    except (struct.error, ValueError, RecursionError) as error:
        raise GalleryError(f"{name} is of another version", fix="update this box's software") from error
    if not isinstance(fields, dict):
        raise GalleryError(f"{name} is of another version", fix="update this box's software")
    return fields, plain[4 + length :]


def _about(head: bytes, number: int, *, last: bool) -> tuple[bytes, bytes]:
    """Return the nonce and the associated data of a record."""
    place = struct.pack(">Q", number)
    return b"\0\0\0\0" + place, head + place + (b"\1" if last else b"\0")


def _cipher(key: bytes, head: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise ConfigError(
            f"bundles of people cannot be read here: {error}",
            fix='pip install "dsr-edge[commands]"; JetPack has it as python3-cryptography',
        ) from error
    made = HKDF(algorithm=hashes.SHA256(), length=32, salt=head, info=_INFO).derive(key)
    return AESGCM(made)
