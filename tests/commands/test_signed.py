"""What is a command, whose it is, and every way in which it is not to be obeyed."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_app.clock import WallQuality, WallTime
from edge_app.commands.signed import MAX_BYTES, Command, CommandRefused, check_command
from tests.clocks import NOW_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.commands.conftest import Signer

NOW = WallTime(ms=NOW_MS, quality=WallQuality.SYNC)


def check(payload: bytes, signer: Signer, **changes: Any) -> Command:
    """Check a command as the box ``box-1`` does."""
    given: dict[str, Any] = {"verb": "identify", "site": "north", "node": "box-1", "now": NOW}
    return check_command(payload, **{**given, "keys": {signer.key.id: signer.key}, **changes})


def refusal(payload: bytes, signer: Signer, **changes: Any) -> CommandRefused:
    """Return why a command is refused."""
    with pytest.raises(CommandRefused) as caught:
        check(payload, signer, **changes)
    return caught.value


def test_what_was_signed_is_what_is_obeyed(signer: Signer) -> None:
    """Verb, arguments of every type, key and counter."""
    args = {"a": "Grüße", "b": 7, "c": True, "d": None, "e": -(2**53) + 1}
    command = check(signer.command(args=args, counter=42), signer)

    assert ("identify", args, signer.key, 42) == (command.verb, command.args, command.key, command.counter)


def test_the_order_of_the_keys_and_spaces_do_not_matter(signer: Signer) -> None:
    """The canonical form is signed, not what a library happens to write."""
    body = json.loads(signer.command())
    loose = json.dumps(dict(reversed(body.items())), indent=3).encode()

    assert check(loose, signer)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("site", "south"),
        ("node", "box-2"),
        ("verb", "muster"),
        ("args", {"a": 1}),
        ("counter", 2),
        ("expires_ms", NOW_MS + 60_001),
        ("sig", base64.b64encode(b"\0" * 64).decode()),
        ("sig", ""),
        ("sig", "%%%"),
        ("sig", base64.b64encode(b"\0" * 63).decode()),
        ("sig", "é"),
    ],
)
def test_nothing_of_it_can_be_changed(signer: Signer, name: str, value: object) -> None:
    """The signature covers every field."""
    body = json.loads(signer.command())
    refused = refusal(json.dumps({**body, name: value}).encode(), signer)

    assert ("wrong_signature", False) == (refused.reason, refused.authentic)


def test_a_stranger_is_refused_and_owed_no_answer(signer: Signer, stranger: Signer) -> None:
    """With the own key, or pretending to have the other's."""
    assert "unknown_key" == refusal(stranger.command(), signer).reason
    pretended = refusal(stranger.command(key_id=signer.key.id), signer)
    assert ("wrong_signature", False) == (pretended.reason, pretended.authentic)


@pytest.mark.parametrize(
    ("signed", "received", "reason", "authentic"),
    [
        ({"node": "box-2"}, {}, "for_another_box", False),
        ({"site": "south"}, {}, "for_another_box", False),
        ({"verb": "muster"}, {}, "another_verb_than_its_topic", True),
        ({"expires_ms": NOW_MS}, {}, "expired", True),
        ({"expires_ms": 1}, {}, "expired", True),
        ({"expires_ms": NOW_MS + 86_400_001}, {}, "valid_for_too_long", True),
        ({}, {"now": WallTime(ms=None, quality=WallQuality.NONE)}, "no_clock", True),
    ],
)
def test_an_authentic_command_may_still_not_be_for_now_or_here(
    signer: Signer, signed: Mapping[str, Any], received: Mapping[str, Any], reason: str, authentic: bool
) -> None:
    """Foreign, misdirected, expired, valid for more than a day, or nobody knows what time it is."""
    refused = refusal(signer.command(**signed), signer, **received)

    assert (reason, authentic) == (refused.reason, refused.authentic)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v", 2),
        ("v", 1.0),
        ("v", True),
        ("v", "1"),
        ("verb", "a/b"),
        ("verb", "+"),
        ("site", ""),
        ("counter", 0),
        ("counter", -1),
        ("counter", 1.5),
        ("counter", 2**53),
        ("counter", True),
        ("expires_ms", "1"),
        ("args", []),
        ("args", {"a": 1.5}),
        ("args", {"a": [1]}),
        ("args", {"a": {"b": 1}}),
        ("args", {"a b": 1}),
        ("args", {"a": "x" * 257}),
        ("args", {"a": 2**53}),
        ("args", {str(n): n for n in range(17)}),
        ("key", 1),
        ("sig", None),
    ],
)
def test_wrong_types_and_ranges_are_no_command(signer: Signer, name: str, value: object) -> None:
    """They are refused before any signature is looked at."""
    body = json.loads(signer.command())

    assert "not_a_command" == refusal(json.dumps({**body, name: value}).encode(), signer).reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_json"),
        (b"\xff\xfe{}", "not_json"),
        (b"[" * 15_000, "not_json"),
        (b'{"a":' * 3000, "not_json"),
        (b"9" * 16_000, "not_json"),
        (b"null", "not_a_command"),
        (b"[]", "not_a_command"),
        (b"{}", "not_a_command"),
        (b"NaN", "not_a_command"),
        (b" " * (MAX_BYTES + 1), "too_large"),
        ('{"v":1}'.encode("utf-16"), "not_json"),
    ],
)
def test_what_is_no_command_at_all_is_refused(signer: Signer, payload: bytes, reason: str) -> None:
    """Empty, huge, deep, binary, in another encoding."""
    assert reason == refusal(payload, signer).reason


@pytest.mark.parametrize(
    "missing", ["v", "site", "node", "verb", "args", "key", "counter", "expires_ms", "sig"]
)
def test_a_field_missing_or_too_many_is_no_command(signer: Signer, missing: str) -> None:
    """Exactly the nine."""
    body = json.loads(signer.command())
    less = {name: value for name, value in body.items() if name != missing}

    assert "not_a_command" == refusal(json.dumps(less).encode(), signer).reason
    assert "not_a_command" == refusal(json.dumps({**body, missing + "x": 1}).encode(), signer).reason


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=400) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_refused_and_nothing_else_happens(signer: Signer, payload: bytes) -> None:
    """Never another error."""
    assert not refusal(payload, signer).authentic


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=st.sampled_from(["v", "site", "node", "verb", "args", "key", "counter", "expires_ms", "sig"]),
    value=_JSON,
)
def test_a_command_with_any_field_replaced_is_refused(signer: Signer, name: str, value: object) -> None:
    """By a value of any type, however it looks."""
    body = json.loads(signer.command())
    if body[name] != value or type(body[name]) is not type(value):
        refusal(json.dumps({**body, name: value}).encode(), signer)


@pytest.mark.parametrize(
    "wrong", [{"node": "a/b"}, {"verb": ""}, {"counter": 0}, {"args": {"x": 0.5}}, {"args": {"x": "y" * 300}}]
)
def test_nothing_is_signed_that_no_box_would_take(signer: Signer, wrong: Mapping[str, Any]) -> None:
    """Said to the signer, not found out at the box."""
    with pytest.raises(ValueError, match="not a command"):
        signer.command(**wrong)
