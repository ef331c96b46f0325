"""A command as it travels, and what makes it one that a box obeys.

JSON on ``mine/{site}/v1/{node}/cmd/{verb}``::

    {"v": 1, "site": "north", "node": "box-07", "verb": "muster", "args": {}, "key": "<16 hex digits>",
     "counter": 1751328014000, "expires_ms": 1751328314000, "sig": "<base64>"}

`sig` is Ed25519 over the line ``dsr-command-v1`` and, after a line feed, the same object without `sig`
in canonical form: keys sorted, no spaces, everything beyond ASCII escaped. So the target, the verb, the
arguments, the counter and the expiry are all the signer's. A broker's access list says who may publish
a command; it is not what the box believes.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_app.clock import WallQuality
from edge_app.records import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_app.clock import WallTime
    from edge_app.commands.keys import CommandKey

MAX_BYTES: Final = 16 * 1024
#: Nothing may be signed to be obeyed later than this.
MAX_VALID_MS: Final = 24 * 3600 * 1000
_DOMAIN: Final = b"dsr-command-v1\n"
_MAX_ARGS: Final = 16
_MAX_TEXT: Final = 256
_MAX_NUMBER: Final = (1 << 53) - 1
_SIGNATURE_BYTES: Final = 64
_TYPES: Final[dict[str, type]] = {
    "v": int, "site": str, "node": str, "verb": str, "args": dict, "key": str, "counter": int,
    "expires_ms": int, "sig": str,
}  # fmt: skip

Argument = str | int | bool | None


class CommandRefused(Exception):
    """A command is not obeyed. `reason` is a word; `authentic` whether a known key signed it."""

    def __init__(self, reason: str, *, command: Command | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.command = command

    @property
    def authentic(self) -> bool:
        """Whether somebody whom the box knows asked, so that an answer is owed."""
        return self.command is not None


@dataclass(frozen=True, slots=True)
class Command:
    """An authentic command: what is asked, by whom, with which counter."""

    verb: str
    args: Mapping[str, Argument]
    key: CommandKey
    counter: int


def sign_command(
    *,
    private: Any,
    key_id: str,
    site: str,
    node: str,
    verb: str,
    args: Mapping[str, Argument],
    counter: int,
    expires_ms: int,
) -> bytes:
    """Return the payload of a command, signed with `private`.

    Raises:
        ValueError: a name, an argument or a number is none that a box would take.
    """
    body: dict[str, Any] = {
        "v": 1, "site": site, "node": node, "verb": verb, "args": dict(args), "key": key_id,
        "counter": counter, "expires_ms": expires_ms, "sig": "",
    }  # fmt: skip
    if problem := _problem(body):
        msg = f"not a command: {problem}"
        raise ValueError(msg)
    body["sig"] = base64.b64encode(private.sign(_signed_bytes(body))).decode("ascii")
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def check_command(
    payload: bytes,
    *,
    verb: str,
    site: str,
    node: str,
    keys: Mapping[str, CommandKey],
    now: WallTime,
) -> Command:
    """Return the authentic command in `payload`, whose counter is still to be looked at.

    Args:
        payload: whatever arrived; it may be hostile.
        verb: the last level of the topic it came on.
        site: the mine of this box.
        node: this box.
        keys: who may give commands, by the keys' ids.
        now: a box without a clock cannot tell what has expired, and obeys nothing.

    Raises:
        CommandRefused: it is not to be obeyed.
    """
    body = _parsed(payload)
    key = keys.get(body["key"])
    if key is None:
        raise CommandRefused("unknown_key")
    if not key.verifies(_signature(body["sig"]), _signed_bytes(body)):
        raise CommandRefused("wrong_signature")
    command = Command(verb=body["verb"], args=body["args"], key=key, counter=body["counter"])
    if (body["site"], body["node"]) != (site, node):
        raise CommandRefused("for_another_box")
    if command.verb != verb:
        raise CommandRefused("another_verb_than_its_topic", command=command)
    if now.ms is None or now.quality is WallQuality.NONE:
        raise CommandRefused("no_clock", command=command)
    if not now.ms < body["expires_ms"]:
        raise CommandRefused("expired", command=command)
    if body["expires_ms"] - now.ms > MAX_VALID_MS:
        raise CommandRefused("valid_for_too_long", command=command)
    return command


def _parsed(payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_BYTES:
        raise CommandRefused("too_large")
    try:
        body = json.loads(payload.decode("utf-8"))
    except (ValueError, RecursionError):
        raise CommandRefused("not_json") from None
    if not isinstance(body, dict) or set(body) != set(_TYPES):
        raise CommandRefused("not_a_command")
    if _problem(body):
        raise CommandRefused("not_a_command")
    return body


def _problem(body: Mapping[str, Any]) -> str:
    """Return what is wrong with the types and ranges of a command, empty if nothing is."""
    for name, kind in _TYPES.items():
        if type(body[name]) is not kind:
            return f"{name} has the wrong type"
    if body["v"] != 1:
        return "v must be 1"
    for name in ("site", "node", "verb"):
        if not NAME.fullmatch(body[name]):
            return f"{name} must match {NAME.pattern}"
    for name in ("counter", "expires_ms"):
        if not 0 < body[name] <= _MAX_NUMBER:
            return f"{name} is out of range"
    args = body["args"]
    if len(args) > _MAX_ARGS:
        return f"more than {_MAX_ARGS} arguments"
    return next((f"argument {key!r:.40}" for key, value in args.items() if not _is_argument(key, value)), "")


def _is_argument(key: str, value: object) -> bool:
    if not NAME.fullmatch(key):
        return False
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int):
        return abs(value) <= _MAX_NUMBER
    return isinstance(value, str) and len(value) <= _MAX_TEXT


def _signature(text: str) -> bytes:
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CommandRefused("wrong_signature") from None
    if len(signature) != _SIGNATURE_BYTES:
        raise CommandRefused("wrong_signature")
    return signature


def _signed_bytes(body: Mapping[str, Any]) -> bytes:
    unsigned = {name: value for name, value in body.items() if name != "sig"}
    return _DOMAIN + json.dumps(unsigned, sort_keys=True, separators=(",", ":"), allow_nan=False).encode(
        "ascii"
    )
