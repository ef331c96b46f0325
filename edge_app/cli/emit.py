"""``dsr-edge emit``: send a marked test event through the real outbox, to commission the line.

While the daemon runs it owns the outbox; then the event goes through the spool folder beside it, and
the daemon commits and delivers it. Otherwise this command commits it and delivers what is in the
outbox itself.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from edge_app.cli.parsers import add_config_option
from edge_app.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from edge_app.cli.parsers import SubParsers
    from edge_app.delivery.event import Kind
    from edge_app.delivery.options import DeliveryOptions

_POLL_S: Final = 0.05


def add_parser(subparsers: SubParsers) -> None:
    """Add the ``emit`` sub-command."""
    parser = subparsers.add_parser("emit", help="send a marked test event to the mine's broker")
    add_config_option(parser)
    parser.add_argument(
        "--kind", default="test", help="kind of event (default: test); `--kind list` lists them"
    )
    parser.add_argument(
        "--test", action="store_true", help="required: only marked test events can be sent by hand"
    )
    parser.add_argument(
        "--data", default="{}", metavar="JSON", help="fields of its own, over those of the example"
    )
    parser.add_argument("--camera", help="the camera it pretends to come from")
    parser.add_argument("--zone", help="the zone it pretends to come from")
    parser.add_argument(
        "--timeout", type=float, default=10.0, help="seconds to wait for delivery (default: 10)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Send one event; 0 when it was delivered or handed to the daemon, 7 when it waits in the outbox."""
    from edge_app.delivery.event import KINDS
    from edge_app.delivery.lock import is_owned
    from edge_app.wiring import delivery_options, load_config

    if args.kind == "list":
        for kind in KINDS.values():
            print(f"{kind.name:16} priority {kind.priority}  {kind.meaning}")
        return 0
    if not args.test:
        raise ConfigError("only marked test events can be sent by hand", fix="add --test")
    if args.kind not in KINDS:
        raise ConfigError(f"there is no kind of event {args.kind!r:.40}", fix=f"one of: {', '.join(KINDS)}")
    options = delivery_options(load_config(args.config))
    fields = _fields(args, KINDS[args.kind])
    if is_owned(options.outbox.path):
        return _through_spool(args, options, fields)
    return _by_ourselves(args, options, fields)


def _fields(args: argparse.Namespace, kind: Kind) -> dict[str, Any]:
    """Return the event's fields: the schema's example, with what the operator said over it."""
    from edge_app.delivery.event import ENVELOPE

    fields = {name: value for name, value in kind.example.items() if name not in ENVELOPE}
    try:
        given = json.loads(args.data)
    except ValueError as error:
        raise ConfigError(
            f"--data is not JSON: {error}", fix="""for example --data '{"note": "drift 3"}'"""
        ) from error
    if not isinstance(given, dict):
        raise ConfigError("--data must be a JSON object", fix="""for example --data '{"note": "drift 3"}'""")
    places = {name: getattr(args, name) or kind.example.get(name) for name in ("camera", "zone")}
    return {"fields": fields | given, **places}


def _event(args: argparse.Namespace, options: DeliveryOptions, made: dict[str, Any]) -> Any:
    """Return the event, checked against the schema before anybody is bothered with it."""
    from edge_app.clock import SystemClock, boot_id
    from edge_app.delivery.event import EnvelopeContext, EventError, draft
    from edge_app.delivery.timefix import wall_at
    from edge_app.delivery.uuid7 import Uuid7Maker
    from edge_app.records import Event

    clock = SystemClock()
    now = clock.mono_ns()
    event = Event(
        kind=args.kind, mono_ns=now, camera=made["camera"], zone=made["zone"], data=made["fields"], test=True
    )
    context = EnvelopeContext(site=options.site, node=options.node, boot=boot_id())
    wall = wall_at(now, clock=clock)
    event_id = Uuid7Maker().make(ms=now // 1_000_000 if wall.ms is None else wall.ms)
    try:
        draft(event, event_id=event_id, wall=wall, context=context, now_ns=now)
    except EventError as error:
        raise ConfigError(
            str(error), fix="change --data, --camera or --zone; docs/scada.md has the fields"
        ) from error
    return event, event_id, context, clock


def _through_spool(args: argparse.Namespace, options: DeliveryOptions, made: dict[str, Any]) -> int:
    from edge_app.delivery.lock import owner
    from edge_app.delivery.spool import put

    event, event_id, _, _ = _event(args, options, made)
    path = put(options.outbox.path, event, event_id=event_id)
    print(f"the daemon (process {owner(options.outbox.path)}) runs and owns the outbox: it gets {event_id}")
    if not _gone(path, args.timeout):
        refused = path.with_suffix(".refused")
        print(
            "the daemon refused it: see its log"
            if refused.exists()
            else f"it still lies in {path}: is it alive?"
        )
        return 6
    print(f"committed by the daemon; topic mine/{options.site}/v1/{options.node}/evt/{event.kind}")
    return 0


def _gone(path: Path, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while path.exists() and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return not path.exists() and not path.with_suffix(".refused").exists()


def _by_ourselves(args: argparse.Namespace, options: DeliveryOptions, made: dict[str, Any]) -> int:
    from edge_app import log
    from edge_app.delivery.service import Delivery

    log.configure(level="error")  # why the link is down stands in the last line
    event, _, context, clock = _event(args, options, made)
    delivery = Delivery(options=options, context=context, clock=clock)
    delivery.start()
    event_id = delivery.submit(event)
    committed = delivery.flush(args.timeout)
    deadline = time.monotonic() + args.timeout
    while delivery.contains(event_id) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    waits = delivery.contains(event_id)
    status = delivery.status()
    delivery.stop(args.timeout)
    if not committed:
        print(f"not committed: {status.last_error}")
        return 6
    if waits:
        reason = status.last_error or "no receipt yet"
        print(f"{event_id} is committed and waits in {options.outbox.path}: {reason}")
        return 7
    print(f"{event_id} delivered; topic mine/{options.site}/v1/{options.node}/evt/{event.kind}")
    return 0
