"""An event as the mine gets it: the fields of `event.v1.schema.json`, encoded once to bytes.

Stages make a `records.Event` (what happened); here it gets its envelope (which box, which run of the
clock, the how-manieth) and becomes the body of a message. The bytes go into the outbox and every
delivery sends exactly those bytes, so that a consumer may compare, hash or sign them.

`KINDS`, the one table of kinds with their priorities, is read from the schema. It is never written
down a second time; the documentation's table is checked against it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from edge_app.delivery.check import problems, unknown_keywords
from edge_app.records import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from edge_app.clock import WallTime
    from edge_app.records import Event

VERSION: Final = 1
ALARM: Final = 0
PRESENCE: Final = 1
SIGHTING: Final = 2
HEALTH: Final = 3
PRIORITIES: Final = (ALARM, PRESENCE, SIGHTING, HEALTH)

#: No body may be larger: a muster of a thousand people has about 200 kB.
MAX_BODY_BYTES: Final = 512 * 1024

ENVELOPE: Final = frozenset(
    {
        *("v", "id", "site", "node", "boot", "seq", "priority", "kind", "mono_ns", "wall_ms"),
        *("wall_quality", "test", "camera", "zone"),
    }
)
_NS_PER_MS: Final = 1_000_000


class EventError(ValueError):
    """An event does not fit the schema: a mistake in the program that made it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table of kinds: its priority (0 alarm .. 3 health), its meaning, its own fields."""

    name: str
    priority: int
    meaning: str
    required: tuple[str, ...]
    example: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EnvelopeContext:
    """What every event of this box says about it; replaced as a whole when something of it changes.

    `boot` is the kernel's boot id (a UUID as text), which names the run of the monotonic clock.
    """

    site: str
    node: str
    boot: str
    backend: str | None = None
    model_sha: str | None = None
    gallery_version: int | None = None

    def __post_init__(self) -> None:
        """Refuse names that a topic could not carry."""
        for what, name in (("site", self.site), ("node", self.node)):
            if not NAME.fullmatch(name):
                msg = f"{what} becomes part of a topic and must match {NAME.pattern}; received {name!r:.60}"
                raise ValueError(msg)


@lru_cache(maxsize=1)
def schema() -> Mapping[str, Any]:
    """Return `event.v1.schema.json`.

    Raises:
        EventError: the schema uses a keyword that this box would not check.
    """
    text = resources.files("edge_app.delivery").joinpath("event.v1.schema.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    if strange := unknown_keywords(document):
        msg = f"the event schema uses keywords that the box does not check: {sorted(strange)}"
        raise EventError(msg)
    return MappingProxyType(document)


def _kinds() -> Mapping[str, Kind]:
    rules = {
        rule["if"]["properties"]["kind"]["const"]: rule["then"]
        for rule in schema()["allOf"]
        if "kind" in rule["if"]["properties"]
    }
    examples = {example["kind"]: example for example in schema()["examples"]}
    return MappingProxyType(
        {
            name: Kind(
                name=name,
                priority=rules[name]["properties"]["priority"]["const"],
                meaning=rules[name]["description"],
                required=tuple(rules[name]["required"]),
                example=MappingProxyType(examples[name]),
            )
            for name in schema()["properties"]["kind"]["enum"]
        }
    )


KINDS: Final = _kinds()


@dataclass(frozen=True, slots=True)
class Draft:
    """An encoded event that only lacks its number: `body(seq)` are the bytes for good.

    Made in the thread that submits, so that the thread that commits has no JSON to write.
    """

    event_id: UUID
    kind: str
    priority: int
    mono_ns: int
    wall_ms: int | None
    alarm: tuple[str, bool] | None
    head: bytes
    tail: bytes

    def body(self, seq: int) -> bytes:
        """Return the body of the message with `seq` as its number."""
        return b"%b%d%b" % (self.head, seq, self.tail)


def draft(event: Event, *, event_id: UUID, wall: WallTime, context: EnvelopeContext, now_ns: int) -> Draft:
    """Return `event` encoded as compact UTF-8 JSON that fits the schema, its number left open.

    Args:
        event: what happened.
        event_id: its UUIDv7.
        wall: when it happened, by the wall clock.
        context: what the box says about itself.
        now_ns: monotonic time; gives ``latency_ms`` of a sighting.

    Raises:
        EventError: it does not fit the schema; the message names every field at fault.
    """
    priority = priority_of(event.kind)
    fields = _fields(event, context, now_ns)
    body: dict[str, Any] = {
        "v": VERSION,
        "id": str(event_id),
        "site": context.site,
        "node": context.node,
        "boot": context.boot,
        "seq": 1,
        "priority": priority,
        "kind": event.kind,
        "mono_ns": event.mono_ns,
        "wall_ms": wall.ms,
        "wall_quality": wall.quality.value,
        "test": event.test,
    }
    body.update(_given({"camera": event.camera, "zone": event.zone}))
    if clash := ENVELOPE & set(fields):
        msg = f"event {event.kind}: {sorted(clash)} belong to the envelope and cannot be given as data"
        raise EventError(msg)
    body.update(fields)
    encoded = _checked_bytes(body)
    # What stands before the number has no free text in it, so its first occurrence is the number.
    at = encoded.index(b',"seq":1,') + len(b',"seq":')
    alarm = fields.get("alarm")
    return Draft(
        event_id=event_id,
        kind=event.kind,
        priority=priority,
        mono_ns=event.mono_ns,
        wall_ms=wall.ms,
        alarm=None if alarm is None or event.test else (alarm["id"], alarm["state"] == "active"),
        head=encoded[:at],
        tail=encoded[at + 1 :],
    )


def priority_of(kind: str) -> int:
    """Return the priority of `kind`, 0 (alarm) to 3 (health).

    Raises:
        EventError: there is no such kind.
    """
    if kind not in KINDS:
        msg = f"there is no kind of event {kind!r:.60}; there are: {', '.join(KINDS)}"
        raise EventError(msg)
    return KINDS[kind].priority


def _fields(event: Event, context: EnvelopeContext, now_ns: int) -> dict[str, Any]:
    fields = _given(event.data)
    if event.kind == "gap":
        fields.setdefault("lost", None)  # null says that nobody can know
    if event.kind != "sighting":
        return fields
    latency_ms = round(max(0, now_ns - event.mono_ns) / _NS_PER_MS, 1)
    described = {
        "backend": context.backend,
        "model_sha": context.model_sha,
        "gallery_version": context.gallery_version,
        "latency_ms": latency_ms,
    }
    return _given(described) | fields


def _given(fields: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _checked_bytes(body: Mapping[str, Any]) -> bytes:
    wrong = list(problems(body, schema(), root=schema()))
    if wrong:
        msg = f"event {body['kind']} does not fit the schema: {'; '.join(wrong)}"
        raise EventError(msg)
    try:
        encoded = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        msg = f"event {body['kind']} cannot be written as JSON: {error}"
        raise EventError(msg) from error
    if len(encoded) > MAX_BODY_BYTES:
        msg = f"event {body['kind']} has {len(encoded)} bytes; at most {MAX_BODY_BYTES} are allowed"
        raise EventError(msg)
    return encoded
