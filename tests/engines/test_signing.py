from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_app.engines.signing import TrustedKey, check_signature, make_key, sign, signature_path
from edge_app.errors import ModelError, NotSigned

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b'{"file": "x.plan"}'


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, TrustedKey]:
    """Return the public keys of the operator, the box and a stranger; the private ones lie beside them."""
    names = ("operator", "box", "stranger")
    return {name: TrustedKey(name, make_key(tmp_path / f"{name}.key")) for name in names}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return a manifest's file."""
    path = tmp_path / "net.int8-1234.json"
    path.write_bytes(CONTENT)
    return path


def private(key: TrustedKey) -> Path:
    """Return the private key that belongs to `key`."""
    return key.path.with_suffix(".key")


@pytest.mark.parametrize("whose", ["operator", "box"])
def test_either_key_is_told_by_whose_it_is(keys: dict[str, TrustedKey], manifest: Path, whose: str) -> None:
    """Engines come from the operator or were built here."""
    assert manifest.with_suffix(".sig") == sign(manifest, private(keys[whose]))
    trusted = [keys["box"], keys["operator"]]
    assert whose == check_signature(manifest, CONTENT, trusted)


def test_strangers_signature_is_none(keys: dict[str, TrustedKey], manifest: Path) -> None:
    """A valid signature by a key that nobody here trusts."""
    sign(manifest, private(keys["stranger"]))
    with pytest.raises(NotSigned, match=r"no valid signature of a key that this box trusts \(box\)"):
        check_signature(manifest, CONTENT, [keys["box"]])


def test_changed_manifest_is_not_signed(keys: dict[str, TrustedKey], manifest: Path) -> None:
    """One byte, say of the plan's hash or of the verdict on its accuracy."""
    sign(manifest, private(keys["box"]))
    with pytest.raises(NotSigned, match="no valid signature"):
        check_signature(manifest, CONTENT.replace(b"x", b"y"), [keys["box"]])


@pytest.mark.parametrize(
    "text", ["", "ed25519 abc", "rsa a b", "ed25519 {id} !!!!", "ed25519 {id} QUJD", "\xff"]
)
def test_what_is_no_signature_is_refused(keys: dict[str, TrustedKey], manifest: Path, text: str) -> None:
    """Empty, short, of another kind, not base64, too short."""
    key_id = sign(manifest, private(keys["box"])).read_text().split()[1]
    signature_path(manifest).write_bytes(text.replace("{id}", key_id).encode("latin-1"))
    with pytest.raises(NotSigned):
        check_signature(manifest, CONTENT, [keys["box"]])


def test_missing_signature_says_how_to_sign(keys: dict[str, TrustedKey], manifest: Path) -> None:
    """What was built on the box is signed by the box."""
    with pytest.raises(NotSigned, match="is not signed") as caught:
        check_signature(manifest, CONTENT, [keys["box"]])
    assert "dsr-edge engine activate net.int8-1234 --sign" in caught.value.fix


def test_private_key_is_for_its_owner_alone(keys: dict[str, TrustedKey], manifest: Path) -> None:
    """It is written so, and refused when it is open to others."""
    path = private(keys["box"])
    assert 0o600 == path.stat().st_mode & 0o777
    path.chmod(0o640)
    with pytest.raises(ModelError, match="can be read by others"):
        sign(manifest, path)


def test_key_is_never_overwritten(keys: dict[str, TrustedKey]) -> None:
    """Everything signed with it would be worthless."""
    with pytest.raises(ModelError, match="there is a key already"):
        make_key(private(keys["box"]))


def test_what_is_no_key_is_named(keys: dict[str, TrustedKey], manifest: Path, tmp_path: Path) -> None:
    """A private key that is none, and a public one."""
    bad = tmp_path / "bad.key"
    bad.write_text("no key")
    bad.chmod(0o600)
    with pytest.raises(ModelError, match=r"bad.key is no private key"):
        sign(manifest, bad)
    sign(manifest, private(keys["box"]))
    with pytest.raises(ModelError, match=r"bad.key is no public key"):
        check_signature(manifest, CONTENT, [TrustedKey("box", bad)])
