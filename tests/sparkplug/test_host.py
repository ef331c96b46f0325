"""The primary host's word: what counts, what is too old, what is no word at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.sparkplug.host import PrimaryHost


def state(online: object, timestamp: object) -> bytes:
    """Return a STATE payload."""
    return json.dumps({"online": online, "timestamp": timestamp}).encode()


@pytest.mark.tck("message-flow-edge-node-birth-publish-phid-wait-online")
def test_a_host_is_there_when_it_says_so() -> None:
    """Not before, and no longer when it says the opposite."""
    host = PrimaryHost("scada")
    assert not host.online
    assert host.heard(state(True, 5))
    assert host.online
    assert host.heard(state(False, 5))
    assert not host.online


@pytest.mark.tck(
    "message-flow-edge-node-birth-publish-phid-wait-timestamp",
    "operational-behavior-edge-node-termination-host-offline-timestamp",
)
def test_an_older_word_does_not_count() -> None:
    """A last will that comes late is about a connection that is long replaced."""
    host = PrimaryHost("scada")
    host.heard(state(True, 100))

    assert not host.heard(state(False, 99))
    assert host.online


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"ONLINE",
        b"null",
        b"[]",
        b"{}",
        state("true", 1),
        state(1, 1),
        state(True, "1"),
        state(True, True),
        state(True, 1.5),
        state(True, -1),
        b'{"online":true}',
        b"\xff\xfe\x00",
        b"[" * 900,
        b'{"online":true,"timestamp":1' + b"0" * 2000 + b"}",
    ],
)
def test_what_is_no_state_is_ignored(payload: bytes) -> None:
    """Wrong types, wrong encodings, deep and long ones, and version 2's plain text."""
    host = PrimaryHost("scada")

    assert not host.heard(payload)
    assert not host.online


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_are_an_error(payload: bytes) -> None:
    """Anybody may publish under STATE where the broker lets them."""
    host = PrimaryHost("scada")
    assert host.heard(payload) or not host.online
