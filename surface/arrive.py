"""What may come in: events, states and musters, checked against their topic before anything is stored.

A kind that this version does not know is stored and receipted like any other: the box may be newer.
What has no proper envelope, or names another box than its topic does, is refused and counted; it gets
no receipt.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from edge_app.delivery.check import problems
from edge_app.delivery.event import MAX_BODY_BYTES, schema

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENVELOPE: Final = (
    "v",
    "id",
    "site",
    "node",
    "boot",
    "seq",
    "priority",
    "mono_ns",
    "wall_ms",
    "wall_quality",
    "test",
)
_TEXTS: Final = ("zone", "camera", "person_ref")
#: Numbers that go into columns; the schema bounds not all of them, and 1.0 is a whole number to it.
_COUNTS: Final = ("seq", "priority", "mono_ns", "wall_ms", "offset_ms", "from_seq", "to_seq", "lost")
_MOST: Final = (1 << 63) - 1
#: What a site, a box, a zone, a camera and a reference may be called.
NAME: Final = re.compile(schema()["$defs"]["name"]["pattern"])


class Refused(ValueError):
    """A message is no event, state or muster of the box whose topic it came on."""


def event_of(payload: bytes, *, site: str, node: str, kind: str) -> dict[str, Any]:
    """Return the fields of an event.

    Args:
        payload: whatever arrived; it may be hostile.
        site: the mine, from the topic.
        node: the box, from the topic.
        kind: the kind, from the topic.

    Raises:
        Refused: it is no event, or of another box or kind.
    """
    document = document_of(payload)
    _hold_against(document, "envelope")
    if (document["site"], document["node"], document["kind"]) != (site, node, kind):
        raise Refused("event names another site, box or kind than its topic")
    for name in _COUNTS:
        value = document.get(name)
        if isinstance(value, float) or (isinstance(value, int) and not -_MOST <= value <= _MOST):
            raise Refused(f"{name} is no number of this world")
    return document


def state_of(payload: bytes, *, site: str, node: str) -> dict[str, Any]:
    """Return the fields of a box's state.

    Raises:
        Refused: it is none, or of another box.
    """
    document = document_of(payload)
    if not NAME.fullmatch(site) or not NAME.fullmatch(node):
        raise Refused("a topic whose site or box is no name")
    if (document.get("site"), document.get("node")) != (site, node):
        raise Refused("another site or box than the topic's")
    if not isinstance(document.get("online"), bool):
        raise Refused("a state without online = true or false")
    return document


def muster_of(payload: bytes, *, site: str, node: str) -> dict[str, Any]:
    """Return the fields of a box's muster; `boot`, `mono_ns`, `wall_ms` and `wall_quality` are sound.

    Raises:
        Refused: it is none, or of another box.
    """
    document = document_of(payload)
    _hold_against(document, "muster")
    if (document["site"], document["node"]) != (site, node):
        raise Refused("another site or box than the topic's")
    if type(document["mono_ns"]) is not int:
        raise Refused("mono_ns is no number of this world")
    return document


def said_at(fields: Mapping[str, Any], arrived_ms: int) -> int:
    """Return when a box said so (ms): what a broker has kept is older than its arrival."""
    known = fields.get("wall_ms") if fields.get("wall_quality") == "sync" else None
    return arrived_ms if type(known) is not int else min(arrived_ms, max(0, known))


def document_of(payload: bytes) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        Refused: it is none, or too large.
    """
    if len(payload) > MAX_BODY_BYTES:
        raise Refused(f"{len(payload)} bytes; at most {MAX_BODY_BYTES} are read")
    try:
        document = json.loads(payload.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(f"not JSON: {type(error).__name__}") from error
    if not isinstance(document, dict):
        raise Refused("not a JSON object")
    return document


def _no_number(name: str) -> None:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _hold_against(document: dict[str, Any], what: str) -> None:
    wrong = list(problems(document, _schemas()[what], root=schema()))
    if wrong:
        raise Refused(f"no event: {'; '.join(wrong[:3])}" if what == "envelope" else f"no {what}: {wrong[0]}")


@lru_cache(maxsize=1)
def _schemas() -> Mapping[str, Mapping[str, Any]]:
    known = schema()["properties"]
    envelope = {name: known[name] for name in (*_ENVELOPE, *_TEXTS)}
    envelope["kind"] = {"$ref": "#/$defs/name"}
    of_muster = ("v", "site", "node", "boot", "mono_ns", "wall_ms", "wall_quality")
    head = {name: known[name] for name in of_muster}
    return {
        "envelope": {"type": "object", "required": [*_ENVELOPE, "kind"], "properties": envelope},
        "muster": {"type": "object", "required": [*of_muster], "properties": head},
    }
