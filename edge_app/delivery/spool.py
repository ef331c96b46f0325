"""A folder through which others hand events to the process that owns the outbox.

``{outbox}.spool/{id}.json`` holds one event: ``{"kind", "camera", "zone", "data"}``. Whoever may write
there may emit test events; everything that comes this way is marked ``test``. The file's name is the
event's id, so that a file that was committed but not yet removed when the power went is not an event
twice.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from edge_app.durable import write_durably
from edge_app.errors import OutboxError, remedy
from edge_app.records import Event

if TYPE_CHECKING:
    from pathlib import Path

_MAX_BYTES: Final = 64 * 1024
_FIELDS: Final = frozenset({"kind", "camera", "zone", "data"})


@dataclass(frozen=True, slots=True)
class Spooled:
    """A file of the spool and the event in it."""

    path: Path
    event_id: UUID
    event: Event


def spool_path(outbox: Path) -> Path:
    """Return the spool's folder beside `outbox`."""
    return outbox.with_name(outbox.name + ".spool")


def put(outbox: Path, event: Event, *, event_id: UUID) -> Path:
    """Leave `event` for the owner of `outbox`; return the file.

    Raises:
        OutboxError: the folder cannot be written.
    """
    folder = spool_path(outbox)
    path = folder / f"{event_id}.json"
    body = {"kind": event.kind, "camera": event.camera, "zone": event.zone, "data": dict(event.data)}
    try:
        folder.mkdir(mode=0o770, exist_ok=True)
        write_durably(path, json.dumps(body).encode("utf-8"))
    except OSError as error:
        raise OutboxError(
            f"{path} cannot be written: {error.strerror}",
            fix=remedy(error, path),
        ) from error
    return path


def take(outbox: Path, *, now_ns: int, limit: int = 100) -> tuple[list[Spooled], list[tuple[Path, str]]]:
    """Return what is in the spool, oldest id first: events, and files that are none with the reason."""
    events: list[Spooled] = []
    refused: list[tuple[Path, str]] = []
    try:
        names = sorted(entry.name for entry in os.scandir(spool_path(outbox)) if entry.name.endswith(".json"))
    except OSError:
        return events, refused
    for name in names[:limit]:
        path = spool_path(outbox) / name
        try:
            events.append(_read(path, now_ns))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            refused.append((path, str(error) or type(error).__name__))
    return events, refused


def _read(path: Path, now_ns: int) -> Spooled:
    event_id = UUID(path.stem)
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        msg = f"larger than {_MAX_BYTES} bytes"
        raise ValueError(msg)
    body: Any = json.loads(content)
    if not isinstance(body, dict) or not set(body) <= _FIELDS or not isinstance(body.get("data", {}), dict):
        msg = f"not an object of {sorted(_FIELDS)}"
        raise ValueError(msg)
    event = Event(
        kind=str(body.get("kind")),
        mono_ns=now_ns,
        camera=body.get("camera"),
        zone=body.get("zone"),
        data=body.get("data", {}),
        test=True,
    )
    return Spooled(path=path, event_id=event_id, event=event)
