"""From when until when the certificates in a PEM file are valid.

Python's `ssl` says so only of a connection's peer, and the box need not have a library for certificates,
so the dates are read out of the DER encoding itself: the validity is the fifth field of what is signed
(RFC 5280, 4.1: version where it is given, serial number, algorithm, issuer, validity).
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from edge_app.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_LONG: Final = 0x80
#: Two digits of a year from here on are of the last century (RFC 5280, 4.1.2.5.1).
_CENTURY: Final = 50
#: Where the validity stands after the version, and the issuer before it.
_VALIDITY: Final = 3


@dataclass(frozen=True, slots=True)
class Validity:
    """From `begins` to `ends` (UTC, both included) a certificate is valid."""

    begins: datetime
    ends: datetime


def validities(path: Path) -> list[Validity]:
    """Return the dates of every certificate in a PEM file, in their order.

    Raises:
        ConfigError: it cannot be read, or holds no certificate that can be understood.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", fix="check the path and its owner"
        ) from error
    try:
        found = [validity_of(binascii.a2b_base64(text)) for text in _PEM.findall(content)]
    except (ValueError, IndexError) as error:
        raise ConfigError(
            f"a certificate in {path} is damaged: {error}", fix="copy the file again"
        ) from error
    if not found:
        raise ConfigError(f"there is no certificate in {path}", fix="give a PEM file: BEGIN CERTIFICATE")
    return found


def expired_on(path: Path | None, now: datetime) -> datetime | None:
    """Return since when the certificate at `path` is of no use; None if it is, or if its file cannot tell."""
    try:
        ends = None if path is None else min(one.ends for one in validities(path))
    except ConfigError:  # the connection itself says what is wrong with the file
        return None
    return ends if ends is not None and ends < now else None


def validity_of(der: bytes) -> Validity:
    """Return the dates of one certificate in DER.

    Raises:
        ValueError: it is none.
        IndexError: it is cut short.
    """
    _, start, _ = _element(der, 0, _SEQUENCE)
    _, at, _ = _element(der, start, _SEQUENCE)
    if der[at] == _VERSION:
        _, _, at = _element(der, at)
    for _ in range(_VALIDITY):
        _, _, at = _element(der, at)
    _, at, _ = _element(der, at, _SEQUENCE)
    begins, at = _time(der, at)
    ends, _ = _time(der, at)
    return Validity(begins, ends)


def _element(der: bytes, at: int, wanted: int | None = None) -> tuple[int, int, int]:
    """Return the tag of the element at `at`, where its content begins, and where it ends."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length >= _LONG:
        start += length - _LONG
        length = int.from_bytes(der[at + 2 : start], "big")
    if start + length > len(der) or tag != (tag if wanted is None else wanted):
        raise ValueError("not a certificate's DER encoding")
    return tag, start, start + length


def _time(der: bytes, at: int) -> tuple[datetime, int]:
    tag, start, end = _element(der, at)
    text = der[start:end].decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= _CENTURY else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("a date of another kind than a certificate has")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc), end
