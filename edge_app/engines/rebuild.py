"""Asking for an engine to be built again: a file that a unit of its own waits for.

The daemon never builds. When the engine in use cannot be used any more (another JetPack, another GPU, a
damaged plan) it works on with the next backend and, if the operator allows it, leaves a request beside
the engines. ``dsr-edge-build.path`` sees that file and starts ``dsr-edge-build.service``, which is
``dsr-engine rebuild``: no process needs a right to start another. The builder takes the request away
before it does anything else, so that a build that fails or is killed is not started again for ever,
and leaves the outcome, which ``dsr-edge engine list`` shows.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from edge_app.durable import sync_folder
from edge_app.engines.durable import replace_durably
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

#: The file that the ``.path`` unit waits for, and what the builder leaves; neither is an engine's name.
REQUEST: Final = "rebuild.request"
OUTCOME: Final = "rebuild.outcome"


@dataclass(frozen=True, slots=True)
class Request:
    """Which engine is to be built again, and what was wrong with it."""

    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the last request: the engine that was built (None: none), and in words what happened."""

    asked: Request
    built: str | None
    in_use: bool
    said: str


def ask(folder: Path, request: Request) -> bool:
    """Leave `request` in the engines' `folder`; False where one waits already.

    Raises:
        ModelError: the folder does not take it.
    """
    path = folder / REQUEST
    if path.exists():
        return False
    replace_durably(path, (json.dumps(asdict(request), indent=1) + "\n").encode())
    return True


def take(folder: Path) -> Request | None:
    """Take the request away and return it, None where there is none.

    A request that cannot be read is taken away as well: it would be tried for ever.

    Raises:
        ModelError: it cannot be read, or not taken away.
    """
    path = folder / REQUEST
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"the request {path} cannot be read: {error.strerror or error}") from error
    try:
        path.unlink()
        sync_folder(folder)
    except OSError as error:
        raise ModelError(
            f"the request {path} cannot be taken away: {error.strerror or error}",
            fix="make the folder writable for this user: nothing is built while the request would stay",
        ) from error
    try:
        found = json.loads(content)
        return Request(engine=str(found["engine"]), reason=str(found["reason"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the request for a rebuild was damaged ({len(content)} bytes): {error!r}",
            fix="nothing was built; restart dsr-edge, and it asks again",
        ) from error


def note(folder: Path, outcome: Outcome) -> None:
    """Leave `outcome` for who looks at the engines.

    Raises:
        ModelError: the folder does not take it.
    """
    replace_durably(folder / OUTCOME, (json.dumps(asdict(outcome), indent=1) + "\n").encode())


def last_outcome(folder: Path) -> Outcome | None:
    """Return what became of the last request; None where there was none, or nobody can tell."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads((folder / OUTCOME).read_bytes())
        return Outcome(
            asked=Request(engine=str(found["asked"]["engine"]), reason=str(found["asked"]["reason"])),
            built=None if found["built"] is None else str(found["built"]),
            in_use=bool(found["in_use"]),
            said=str(found["said"]),
        )
    return None
