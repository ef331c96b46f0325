"""Receipts: how a consumer says that it has an event for good, so that the box may forget it.

A receipt is JSON on the box's topic ``.../rcpt``::

    {"v": 1, "consumer": "surface", "ids": ["0197c1e4-...", ...], "mac": "<64 hex digits>"}

`mac` is HMAC-SHA256, with the key that box and consumer share, over these lines, each ended by a line
feed: ``dsr-receipt-v1``, the site, the node, the consumer, then the ids as they stand in `ids`. A broker's
access list says who may publish there; the key says who did. Nothing counts receipts, because sending
one again does no harm: an id is never used twice. A receipt for no ids at all says "I am here": the box sends
again what it still has, without waiting for its next attempt.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from edge_app.secret_files import read_hex_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

VERSION: Final = 1
MAX_IDS: Final = 1000
MAX_BYTES: Final = 64 * 1024
_FIELDS: Final = frozenset({"v", "consumer", "ids", "mac"})


class ReceiptRefused(ValueError):
    """A message on the receipts' topic is no receipt of a known consumer."""


def mac_of(*, key: bytes, site: str, node: str, consumer: str, ids: Sequence[str]) -> str:
    """Return the 64 hex digits that authenticate a receipt for `ids`."""
    lines = ("dsr-receipt-v1", site, node, consumer, *ids)
    return hmac.new(key, "".join(f"{line}\n" for line in lines).encode("utf-8"), hashlib.sha256).hexdigest()


def make_receipt(*, key: bytes, site: str, node: str, consumer: str, ids: Sequence[str]) -> bytes:
    """Return the payload by which `consumer` receipts `ids` (at most 1,000) to the box `node`."""
    if len(ids) > MAX_IDS:
        msg = f"a receipt names at most {MAX_IDS} events; received {len(ids)}: send several"
        raise ValueError(msg)
    mac = mac_of(key=key, site=site, node=node, consumer=consumer, ids=ids)
    body = {"v": VERSION, "consumer": consumer, "ids": list(ids), "mac": mac}
    return json.dumps(body, separators=(",", ":")).encode("utf-8")


def check_receipt(
    payload: bytes, *, site: str, node: str, keys: Mapping[str, bytes]
) -> tuple[str, list[bytes]]:
    """Return the consumer and the ids (16 bytes each) of an authentic receipt.

    Args:
        payload: whatever arrived; it may be hostile.
        site: the mine of this box.
        node: this box.
        keys: the consumers' keys by their ids.

    Raises:
        ReceiptRefused: it is not one; the message says why, and repeats nothing of it beyond 40 characters.
    """
    body = _parsed(payload)
    consumer, ids, mac = body["consumer"], body["ids"], body["mac"]
    if consumer not in keys:
        msg = f"receipt of an unknown consumer {consumer!r:.40}"
        raise ReceiptRefused(msg)
    expected = mac_of(key=keys[consumer], site=site, node=node, consumer=consumer, ids=ids)
    if not hmac.compare_digest(expected.encode("ascii"), mac.encode("utf-8", "replace")):
        msg = f"receipt of {consumer} with a wrong MAC"
        raise ReceiptRefused(msg)
    try:
        return consumer, [UUID(text).bytes for text in ids]
    except ValueError as error:
        msg = f"receipt of {consumer} with something that is no id"
        raise ReceiptRefused(msg) from error


def _parsed(payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_BYTES:
        msg = f"receipt of {len(payload)} bytes; at most {MAX_BYTES} are read"
        raise ReceiptRefused(msg)
    try:
        body = json.loads(payload.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"receipt that is not JSON: {type(error).__name__}"
        raise ReceiptRefused(msg) from error
    if not isinstance(body, dict) or set(body) != _FIELDS or body["v"] != VERSION:
        raise ReceiptRefused("receipt without exactly v = 1, consumer, ids and mac")
    ids = body["ids"]
    well_formed = (
        isinstance(body["consumer"], str)
        and isinstance(body["mac"], str)
        and isinstance(ids, list)
        and len(ids) <= MAX_IDS
        and all(isinstance(one, str) and "\n" not in one and one.isascii() for one in ids)
    )
    if not well_formed:
        raise ReceiptRefused("receipt whose consumer, ids or mac have the wrong type or number")
    return body


def read_key(path: Path, *, consumer: str) -> bytes:
    """Return the key shared with `consumer`: the file holds 64 or more hexadecimal digits.

    Raises:
        ConfigError: it cannot be read, is too short, or is open to others.
    """
    return read_hex_key(path, what=f"the key of consumer {consumer}")
