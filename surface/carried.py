"""``dsr-surface import``: take over events that were carried here, as ``dsr-edge outbox export`` wrote them.

For a box whose link stays dead: what is in its outbox is known at the surface before the link is mended.
Nothing is receipted by it, so the box keeps what it has and sends it when it can; the store knows each
event by its id.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from edge_app.delivery.event import MAX_BODY_BYTES
from edge_app.errors import ConfigError
from surface.arrive import Refused, document_of, event_of
from surface.database import Unstorable
from surface.reports import store_of
from surface.store import Arrived

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from surface.store import Store

_BATCH: Final = 500
_TOLD: Final = 10


def add_parser(verbs: Any) -> None:
    """Add the command."""
    parser = verbs.add_parser("import", help="store events that were carried here in a file of a box")
    parser.add_argument("file", type=Path, metavar="FILE", help="of `dsr-edge outbox export`")
    parser.set_defaults(work=import_events)


def import_events(args: argparse.Namespace) -> int:
    """Store what is in the file; the exit status is 1 if something in it is no event."""
    refused: list[str] = []
    stored = known = 0
    try:
        with args.file.open("rb") as file, closing(store_of(args, make=True)) as store:
            for batch in _batches(file, refused):
                new, old = add_or_refuse(store, batch, refused)
                stored, known = stored + new, known + old
    except OSError as error:
        raise ConfigError(
            f"{args.file} cannot be read: {error.strerror}", fix="give the file of `dsr-edge outbox export`"
        ) from error
    print(f"{stored} stored, {known} known already, {len(refused)} refused; the box was told nothing of it")
    for why in refused[:_TOLD]:
        print(f"  {why}")
    return 1 if refused else 0


def _batches(file: BinaryIO, refused: list[str]) -> Iterator[list[Arrived]]:
    """Yield the events of the lines; what is none is `refused` by its line's number."""
    batch: list[Arrived] = []
    now_ms = time.time_ns() // 1_000_000
    for number, line in enumerate(iter(lambda: file.readline(MAX_BODY_BYTES + 2), b""), 1):
        try:
            batch.append(_event(line.rstrip(b"\r\n"), now_ms))
        except Refused as error:
            refused.append(f"line {number}: {error}")
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _event(body: bytes, now_ms: int) -> Arrived:
    named = document_of(body)
    site, node, kind = (str(named.get(name)) for name in ("site", "node", "kind"))
    return Arrived(
        site=site,
        node=node,
        fields=event_of(body, site=site, node=node, kind=kind),
        body=body,
        arrived_ms=now_ms,
    )


def add_or_refuse(store: Store, batch: list[Arrived], refused: list[str]) -> tuple[int, int]:
    """Commit a batch, one by one if some can never be stored; return how many were new, and known.

    Why an event can never be stored is added to `refused`.

    Raises:
        SurfaceError: the store does not serve.
    """
    try:
        new = store.add(batch)
    except Unstorable as error:
        if len(batch) == 1:
            refused.append(f"{batch[0].fields['id']}: {error}")
            return 0, 0
        pairs = [add_or_refuse(store, [one], refused) for one in batch]
        return sum(new for new, _ in pairs), sum(old for _, old in pairs)
    return new, len(batch) - new
