"""``dsr-edge people``: who may be recognised. Registration is by this command only, never by walking past."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.cli import people_add, people_bundle, people_calibrate
from edge_app.cli.parsers import add_config_option
from edge_app.cli.people_text import (
    best_quality,
    date_text,
    person_json,
    photo_row,
    roster_csv,
    roster_json,
    table,
)
from edge_app.durable import write_durably
from edge_app.errors import ConfigError, GalleryError
from edge_app.identity.views import Coverage

if TYPE_CHECKING:
    import argparse

    from edge_app.cli.parsers import SubParsers
    from edge_app.identity.gallery import Gallery


def add_parser(subparsers: SubParsers) -> None:
    """Add ``people`` and its actions."""
    parser = subparsers.add_parser("people", help="register, show and remove the people to be recognised")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    people_add.add_action(actions)
    actions.add_parser("list", help="everybody who is registered").set_defaults(run=_list)
    for name, action, text in (
        ("show", _show, "one person and their photos"),
        ("remove", _remove, "remove one person with all photos"),
    ):
        one = actions.add_parser(name, help=text)
        one.add_argument("ref", metavar="REF")
        one.set_defaults(run=action)
    roster = actions.add_parser("roster", help="reference and name of everybody, for the surface")
    roster.add_argument("--out", type=Path, metavar="FILE", help=".csv or .json (default: CSV, here)")
    roster.set_defaults(run=_roster)
    actions.add_parser("reembed", help="embed everybody again after a model change").set_defaults(
        run=_reembed
    )
    people_calibrate.add_actions(actions)
    people_bundle.add_actions(actions)
    for command in actions.choices.values():
        add_config_option(command)
        command.add_argument("--json", action="store_true", help="for machines")


def run(args: argparse.Namespace) -> int:
    """Run the action; returns the exit status."""
    return int(args.run(args))


def _list(args: argparse.Namespace) -> int:
    gallery = _configured(args)
    people, version = gallery.people(), gallery.version
    if args.json:
        print(json.dumps({"version": version, "people": [person_json(p) for p in people]}, indent=2))
        return 0
    rows = [(p.ref, p.name, str(len(p.photos)), best_quality(p), date_text(p.added_ms)) for p in people]
    print(table(("REF", "NAME", "PHOTOS", "BEST", "ADDED"), rows))
    print(f"{len(people)} people, version {version}")
    return 0


def _show(args: argparse.Namespace) -> int:
    person = _configured(args).person(args.ref)
    if args.json:
        print(json.dumps(person_json(person), indent=2))
        return 0
    print(f"{person.ref}  {person.name}  (added {date_text(person.added_ms)})")
    header = ("PHOTO", "FACE", "QUALITY", "YAW", "PITCH", "CROP", "MODELS", "ADDED")
    print(table(header, [photo_row(photo) for photo in person.photos]))
    print(Coverage.of([photo.quality for photo in person.photos]))
    return 0


def _remove(args: argparse.Namespace) -> int:
    version = _configured(args).remove(args.ref)
    zone = _inside(args)
    if args.json:
        print(json.dumps({"removed": args.ref, "version": version, "still_in_zone": zone}))
        return 0
    print(f"removed {args.ref} with all photos; the register is at version {version}")
    if zone is not None:
        print(
            f"{args.ref} stays in the muster, in {zone}, until taken out:"
            f" `dsr-edge presence correct --ref {args.ref} --left`"
        )
    return 0


def _inside(args: argparse.Namespace) -> str | None:
    """Return in which zone somebody is by the ledger; None where they are in none, or it cannot be read."""
    from edge_app.cli.presence_show import read_ledger
    from edge_app.clock import SystemClock, boot_id
    from edge_app.wiring import load_config

    try:
        kept = read_ledger(load_config(args.config), boot=boot_id(), clock=SystemClock())
    except (ConfigError, OSError):
        return None
    return next((place.zone for ref, place in kept.people if ref == args.ref), None)


def _roster(args: argparse.Namespace) -> int:
    people = _configured(args).roster()
    as_json = args.json or (args.out is not None and args.out.suffix.lower() == ".json")
    text = roster_json(people) if as_json else roster_csv(people)
    if args.out is None:
        sys.stdout.write(text)
        return 0
    write_private(args.out, text)
    print(f"wrote {len(people)} people to {args.out} (names: keep it private)", file=sys.stderr)
    return 0


def _reembed(args: argparse.Namespace) -> int:
    from edge_app.identity.enrol import reembed
    from edge_app.wiring import build_recogniser, load_config

    config = load_config(args.config)
    with contextlib.closing(build_recogniser(config)) as recogniser:
        photos, version = reembed(gallery=_gallery(config.gallery.path), recogniser=recogniser)
        model = recogniser.model_sha256
    text = f"embedded {photos} photos with model {model[:12]}; the register is at version {version}"
    print(json.dumps({"photos": photos, "model_sha256": model, "version": version}) if args.json else text)
    return 0


def write_private(path: Path, text: str) -> None:
    """Write a file with names wholly or not at all, mode 0600.

    Raises:
        GalleryError: it cannot be written.
    """
    try:
        write_durably(path, text.encode("utf-8"))
    except OSError as error:
        raise GalleryError(f"cannot write {path} ({error.strerror})", fix="give another --out") from error


def _configured(args: argparse.Namespace) -> Gallery:
    from edge_app.wiring import load_config

    path = load_config(args.config).gallery.path
    if not path.exists():
        raise GalleryError(
            f"{path} does not exist: nobody is registered", fix="see `dsr-edge people add --help`"
        )
    return _gallery(path)


def _gallery(path: Path) -> Gallery:
    from edge_app.identity.gallery import Gallery

    return Gallery(path=path)
