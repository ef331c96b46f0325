"""Receipts: what is authentic is taken, everything else is refused with a reason and does nothing."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from edge_app.delivery.receipts import ReceiptRefused, check_receipt, mac_of, make_receipt, read_key
from edge_app.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))
IDS = ["0197c1e4-9d21-7c3a-8f21-5b1de0a4c901", "0197c1e4-9d22-7c3a-8f21-5b1de0a4c902"]


def check(payload: bytes) -> tuple[str, list[bytes]]:
    """Check a payload as the box of the test."""
    return check_receipt(payload, site="north", node="box-1", keys={"surface": KEY})


def good(**changes: Any) -> bytes:
    """Return a receipt, with the changes made after it was signed."""
    body = json.loads(make_receipt(key=KEY, site="north", node="box-1", consumer="surface", ids=IDS))
    return json.dumps({**body, **changes}).encode()


def test_authentic_receipt_gives_consumer_and_ids() -> None:
    """The way it should be."""
    assert ("surface", [UUID(one).bytes for one in IDS]) == check(good())


def test_receipt_for_nothing_says_i_am_here() -> None:
    """No ids, authentic all the same."""
    assert ("surface", []) == check(
        make_receipt(key=KEY, site="north", node="box-1", consumer="surface", ids=[])
    )


def test_mac_is_the_one_that_openssl_makes() -> None:
    """An independent program agrees, so that others can write a consumer in their language."""
    made = mac_of(key=KEY, site="north", node="box-1", consumer="surface", ids=IDS[:1])
    assert made == openssl_mac(f"dsr-receipt-v1\nnorth\nbox-1\nsurface\n{IDS[0]}\n")


def openssl_mac(text: str) -> str:
    """Return the HMAC that the openssl program makes."""
    import subprocess

    words = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{KEY.hex()}"]
    done = subprocess.run(words, input=text.encode(), capture_output=True, check=True)
    return done.stdout.decode().split()[-1]


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (good(ids=IDS[:1]), "wrong MAC"),
        (good(mac="0" * 64), "wrong MAC"),
        (good(mac="\u00e4" * 64), "wrong MAC"),
        (good(consumer="other"), "unknown consumer"),
        (good(consumer=["surface"]), "wrong type"),
        (good(ids=[]), "wrong MAC"),
        (good(ids=IDS * 600), "wrong type or number"),
        (good(ids=[1]), "wrong type"),
        (good(ids="x"), "wrong type"),
        (good(v=2), "without exactly"),
        (good(extra=1), "without exactly"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"x" * 70_000, "at most 65536"),
        (b"null", "without exactly"),
        (b"1e999", "without exactly"),
    ],
)
def test_anything_else_is_refused_with_the_reason(payload: bytes, complaint: str) -> None:
    """Forged, foreign, malformed, huge and deep payloads."""
    with pytest.raises(ReceiptRefused, match=complaint):
        check(payload)


def test_signed_with_the_right_key_for_another_box_is_refused() -> None:
    """A receipt names its box inside the MAC."""
    payload = make_receipt(key=KEY, site="north", node="box-2", consumer="surface", ids=IDS)
    with pytest.raises(ReceiptRefused, match="wrong MAC"):
        check(payload)


def test_signed_nonsense_is_refused() -> None:
    """Also an authentic consumer must send ids."""
    payload = make_receipt(key=KEY, site="north", node="box-1", consumer="surface", ids=["no id"])
    with pytest.raises(ReceiptRefused, match="no id"):
        check(payload)


def test_a_line_feed_cannot_move_the_border_between_ids() -> None:
    """Two ids glued by a line feed have the MAC of two; they are not taken for one."""
    body = json.loads(good())
    body["ids"] = ["\n".join(IDS)]
    with pytest.raises(ReceiptRefused, match="wrong type"):
        check(json.dumps(body).encode())


def test_random_bytes_and_broken_receipts_raise_nothing_else() -> None:
    """5,000 fuzzed payloads: each is refused, none crashes, and none is taken."""
    rng = random.Random(3)
    taken = 0
    for _ in range(5000):
        payload = bytearray(good())
        for _ in range(rng.randint(1, 8)):
            payload[rng.randrange(len(payload))] = rng.randrange(256)
        if rng.random() < 0.2:
            payload = bytearray(rng.randbytes(rng.randrange(200)))
        try:
            taken += check(bytes(payload)) != check(good())
        except ReceiptRefused:
            continue
    assert 0 == taken


def test_key_that_others_may_read_is_refused(key_file: Path) -> None:
    """The message names the mode and the command that mends it."""
    assert bytes.fromhex("ab" * 32) == read_key(key_file, consumer="surface")
    key_file.chmod(0o640)
    with pytest.raises(ConfigError, match=r"mode 0640.*\n.*chmod 600"):
        read_key(key_file, consumer="surface")


@pytest.mark.parametrize("content", ["", "abcd", "zz" * 32])
def test_short_or_foreign_key_is_refused(content: str, key_file: Path) -> None:
    """Less than 32 bytes, or no hexadecimal digits."""
    key_file.write_text(content, encoding="ascii")
    with pytest.raises(ConfigError, match="64 or more hexadecimal digits"):
        read_key(key_file, consumer="surface")


def test_missing_key_is_refused(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(ConfigError, match="nowhere"):
        read_key(tmp_path / "nowhere", consumer="surface")
