"""What an operator says about the count, left in a folder for the daemon that keeps it.

``{ledger}.corrections/{time}-{random}.json`` holds one request: ``{"what", "person_ref", "zone",
"by"}``. Whoever may write there may correct the count; the daemon takes the requests in the order of
their names about once a second, and deletes each when it is done, or renames it ``.refused``.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from edge_app.errors import ConfigError, remedy
from edge_app.records import NAME, PERSON_REF

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

What = Literal["inside", "left", "forget_strangers", "muster"]
_MAX_BYTES: Final = 4096
_MAX_BY: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One request.

    Attributes:
        what: ``inside``: this person is in `zone`; ``left``: this person is outside;
            ``forget_strangers``: nobody unknown is in `zone` (or anywhere) unless seen from now on;
            ``muster``: tell who is where, now.
        person_ref: who, for the first two.
        zone: where.
        by: who says so; stands in the event.
    """

    what: What
    person_ref: str | None = None
    zone: str | None = None
    by: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if self.what not in get_args(What):
            msg = f"there is no correction {self.what!r:.40}; there are: {', '.join(get_args(What))}"
            raise ValueError(msg)
        if (self.what in ("inside", "left")) != (self.person_ref is not None):
            msg = (
                f"correction {self.what}: a person's reference goes with inside and left, and only with them"
            )
            raise ValueError(msg)
        if self.what == "inside" and self.zone is None:
            msg = "correction inside: say in which zone the person is"
            raise ValueError(msg)
        if self.person_ref is not None and PERSON_REF.fullmatch(self.person_ref) is None:
            msg = f"not a reference: {self.person_ref!r:.60}"
            raise ValueError(msg)
        if self.zone is not None and NAME.fullmatch(self.zone) is None:
            msg = f"not a zone: {self.zone!r:.60}"
            raise ValueError(msg)
        if self.by is not None and not (0 < len(self.by) <= _MAX_BY and self.by.isprintable()):
            msg = f"who says so must be 1 to {_MAX_BY} printable characters"
            raise ValueError(msg)


def folder_of(ledger: Path) -> Path:
    """Return the folder of requests beside the ledger's file."""
    return ledger.with_name(ledger.name + ".corrections")


def put(ledger: Path, correction: Correction) -> Path:
    """Leave `correction` for the daemon; return the file.

    Raises:
        ConfigError: the folder cannot be written.
    """
    folder = folder_of(ledger)
    name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.json"
    temporary = folder / f".{name}.tmp"
    try:
        folder.mkdir(parents=True, mode=0o770, exist_ok=True)
        temporary.write_text(json.dumps(asdict(correction)), encoding="utf-8")
        temporary.replace(folder / name)
    except OSError as error:
        raise ConfigError(
            f"{folder / name} cannot be written: {error.strerror}",
            fix=remedy(error, folder),
        ) from error
    return folder / name


def take(ledger: Path) -> Iterator[tuple[Path, Correction | str]]:
    """Yield the requests that wait, oldest first: each file with its request, or with what is wrong."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder_of(ledger)) if entry.name.endswith(".json"))
    except OSError:
        return
    for name in names:
        path = folder_of(ledger) / name
        if name.startswith("."):
            continue
        try:
            yield path, _read(path)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            yield path, str(error) or type(error).__name__


def _read(path: Path) -> Correction:
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        msg = f"larger than {_MAX_BYTES} bytes"
        raise ValueError(msg)
    body: Any = json.loads(content)
    if not isinstance(body, dict):
        msg = "not an object"
        raise TypeError(msg)
    return Correction(**body)
