"""What may come in: the envelope of an event, checked against its topic, before anything is stored.

A kind that this version does not know is stored and receipted like any other: the box may be newer.
What has no proper envelope, or names another box than its topic does, is refused and counted; it gets
no receipt.
"""

from __future__ import annotations

import json
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


class Refused(ValueError):
    """A message is no event of the box whose topic it came on."""


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
    wrong = list(problems(document, _envelope(), root=schema()))
    if wrong:
        msg = f"no event: {'; '.join(wrong[:3])}"
        raise Refused(msg)
    if (document["site"], document["node"], document["kind"]) != (site, node, kind):
        raise Refused("event names another site, box or kind than its topic")
    return document


def document_of(payload: bytes) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        Refused: it is none, or too large.
    """
    if len(payload) > MAX_BODY_BYTES:
        msg = f"{len(payload)} bytes; at most {MAX_BODY_BYTES} are read"
        raise Refused(msg)
    try:
        document = json.loads(payload.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"not JSON: {type(error).__name__}"
        raise Refused(msg) from error
    if not isinstance(document, dict):
        raise Refused("not a JSON object")
    return document


@lru_cache(maxsize=1)
def _envelope() -> Mapping[str, Any]:
    known = schema()["properties"]
    properties = {name: known[name] for name in _ENVELOPE}
    properties.update({name: known[name] for name in _TEXTS})
    properties["kind"] = {"$ref": "#/$defs/name"}
    return {"type": "object", "required": [*_ENVELOPE, "kind"], "properties": properties}
