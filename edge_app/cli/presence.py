"""``dsr-edge presence``: who is where, and the operator's corrections of the count.

The daemon owns the count. ``show`` reads the file in which it keeps it (`presence_show`); ``correct`` and
``muster`` leave a request beside that file, which the daemon takes within a second, or when it starts.
"""

from __future__ import annotations

import difflib
import getpass
import time
from typing import TYPE_CHECKING, Final

from edge_app.cli.parsers import add_config_option
from edge_app.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from edge_app.cli.parsers import SubParsers
    from edge_app.config import Config
    from edge_app.presence.corrections import Correction, What

_POLL_S: Final = 0.05
_MOST_SHOWN: Final = 20


def add_parser(subparsers: SubParsers) -> None:
    """Add ``presence`` and its actions."""
    parser = subparsers.add_parser("presence", help="who is where; correct the count by hand")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="everybody in the ledger, with the age of the last sight")
    show.add_argument("--json", action="store_true", help="for machines")
    show.set_defaults(run=_show)
    correct = actions.add_parser("correct", help="say where somebody is, that they left, or no strangers")
    correct.add_argument("--ref", metavar="CARD", help="who")
    correct.add_argument("--zone", help="where they are; with --forget-strangers: only there")
    correct.add_argument("--left", action="store_true", help="they are outside")
    correct.add_argument("--forget-strangers", action="store_true", help="count no unknown people")
    correct.add_argument(
        "--not-registered", action="store_true", help="with --zone: also a reference that nobody has"
    )
    correct.add_argument("--by", help="who says so (default: the user's name); stands in the event")
    correct.set_defaults(run=_correct)
    actions.add_parser("muster", help="let the daemon tell now who is where").set_defaults(run=_muster)
    for command in actions.choices.values():
        add_config_option(command)
        if command is not show:
            command.add_argument(
                "--timeout", type=float, default=5.0, help="seconds to wait for the daemon (default: 5)"
            )


def run(args: argparse.Namespace) -> int:
    """Run the action; returns the exit status."""
    return int(args.run(args))


def _show(args: argparse.Namespace) -> int:
    from edge_app.cli.presence_show import show
    from edge_app.wiring import load_config

    return show(load_config(args.config), as_json=args.json)


def _correct(args: argparse.Namespace) -> int:
    from edge_app.presence.corrections import Correction
    from edge_app.wiring import load_config

    config = load_config(args.config)
    known = _zones(config) | (_zones_of_strangers(config) if args.forget_strangers else set())
    if args.zone is not None and args.zone not in known:
        raise ConfigError(
            f"there is no zone {args.zone!r:.60}", fix=f"the box knows: {', '.join(sorted(known))}"
        )
    try:
        request = Correction(
            what=_what(args), person_ref=args.ref, zone=args.zone, by=args.by or getpass.getuser()
        )
    except ValueError as error:
        raise ConfigError(str(error), fix="see `dsr-edge presence correct --help`") from error
    if request.what == "inside" and not args.not_registered:
        _must_be_registered(config, args.ref)
    elif request.what == "left":
        _must_be_inside(config, args.ref)
    return _ask(config, request, args.timeout)


def _must_be_registered(config: Config, ref: str) -> None:
    """Refuse a reference that nobody has: a typing error would be a ghost who counts."""
    from edge_app.identity.gallery import Gallery

    path = config.gallery.path
    known = [person.ref for person in Gallery(path=path).people()] if path.exists() else []
    if ref not in known:
        raise ConfigError(
            f"nobody is registered as {ref!r:.40} (registered: {len(known)}{_near(ref, known)})",
            fix="see `dsr-edge people list`; --not-registered puts the reference in all the same",
        )


def _must_be_inside(config: Config, ref: str) -> None:
    """Refuse somebody who is not inside by the ledger; where there is none to read, nothing is refused."""
    from edge_app.cli.presence_show import read_ledger
    from edge_app.clock import SystemClock, boot_id

    try:
        kept = read_ledger(config, boot=boot_id(), clock=SystemClock())
    except ConfigError:
        return
    inside = [who for who, place in kept.people if place.zone is not None]
    if ref not in inside:
        out = "has left already" if ref in dict(kept.people) else "is not in the ledger"
        shown = ", ".join(inside[:_MOST_SHOWN]) or "nobody"
        more = f" and {len(inside) - _MOST_SHOWN} more" if len(inside) > _MOST_SHOWN else ""
        raise ConfigError(
            f"{ref} {out}; inside are: {shown}{more}{_near(ref, inside)}",
            fix="give one of these; whoever came in a moment ago is there in ten seconds",
        )


def _zones_of_strangers(config: Config) -> set[str]:
    """Return the zones in which the ledger has strangers: also those that have another name by now."""
    from edge_app.cli.presence_show import read_ledger
    from edge_app.clock import SystemClock, boot_id

    try:
        kept = read_ledger(config, boot=boot_id(), clock=SystemClock())
    except ConfigError:
        return set()
    return {place.zone for place in kept.strangers if place.zone is not None}


def _near(ref: str, known: list[str]) -> str:
    near = difflib.get_close_matches(ref, known, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


def _muster(args: argparse.Namespace) -> int:
    from edge_app.presence.corrections import Correction
    from edge_app.wiring import load_config

    return _ask(load_config(args.config), Correction(what="muster"), args.timeout)


def _what(args: argparse.Namespace) -> What:
    if args.forget_strangers and not (args.left or args.ref):
        return "forget_strangers"
    if args.ref and args.left and not (args.zone or args.forget_strangers):
        return "left"
    if args.ref and args.zone and not (args.left or args.forget_strangers):
        return "inside"
    raise ConfigError(
        "that is no correction",
        fix="give --ref CARD --zone ZONE, or --ref CARD --left, or --forget-strangers [--zone ZONE]",
    )


def _ask(config: Config, request: Correction, timeout: float) -> int:
    """Leave the request; 0 when the daemon took it, 1 when it waits, 2 when it was refused."""
    from edge_app.delivery.lock import is_owned
    from edge_app.presence.corrections import put

    path = put(config.presence.ledger, request)
    if not is_owned(config.delivery.outbox):
        print("the daemon does not run; it will take the request when it starts")
        return 1
    if not _gone(path, timeout):
        print(f"the daemon has not taken it yet: {path}")
        return 1
    if path.with_suffix(".refused").exists():
        print("the daemon refused it: see its log")
        return 2
    print("done")
    return 0


def _gone(path: Path, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while path.exists() and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return not path.exists()


def _zones(config: Config) -> set[str]:
    zones = {zone.name for zone in config.zones} | {camera.zone for camera in config.cameras}
    portals = [portal for camera in config.cameras for portal in camera.portals]
    return zones | {zone for portal in portals for zone in (portal.zone, portal.beyond) if zone}
