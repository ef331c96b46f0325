"""``dsr-edge people export|import``: people on their way from one box of the mine to another."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from edge_app.config import Config


def add_actions(actions: Any) -> None:
    """Add ``export`` and ``import``."""
    out = actions.add_parser("export", help="write people into an encrypted bundle for another box")
    out.add_argument("refs", nargs="*", metavar="REF", help="who (default: everybody)")
    out.add_argument("--out", type=Path, required=True, metavar="FILE", help="replaced if it is there")
    out.set_defaults(run=_export)
    take = actions.add_parser("import", help="take over everybody in a bundle, wholly or not at all")
    take.add_argument("file", type=Path, metavar="FILE", help="as `people export` wrote it")
    take.add_argument("--sha256", metavar="HEX", help="refuse any other file")
    take.add_argument("--replace", action="store_true", help="remove whoever is not in the bundle")
    take.add_argument(
        "--allow-lookalike", action="store_true", help="even who is taken for somebody who is registered"
    )
    take.set_defaults(run=_import)


def _export(args: argparse.Namespace) -> int:
    from edge_app.identity.export import export_people
    from edge_app.identity.gallery import Gallery
    from edge_app.wiring import load_config

    config = load_config(args.config)
    done = export_people(
        gallery=Gallery(path=config.gallery.path),
        out=args.out,
        key=_key(config),
        site=config.box.site,
        refs=args.refs,
    )
    if args.json:
        print(json.dumps(asdict(done)))
        return 0
    print(f"wrote {done.people} people with {done.photos} photos to {args.out}")
    print(f"sha256 {done.sha256}")
    return 0


def _import(args: argparse.Namespace) -> int:
    from edge_app.identity.gallery import Gallery
    from edge_app.identity.takeover import import_people
    from edge_app.wiring import build_recogniser, load_config

    config = load_config(args.config)
    with contextlib.closing(build_recogniser(config)) as recogniser:
        threshold = config.recogniser.threshold
        done = import_people(
            gallery=Gallery(path=config.gallery.path),
            path=args.file,
            key=_key(config),
            site=config.box.site,
            recogniser=recogniser,
            threshold=recogniser.threshold if threshold is None else threshold,
            sha256=args.sha256,
            replace=args.replace,
            keep_crops=config.gallery.keep_crops,
            allow_lookalike=args.allow_lookalike,
        )
    if args.json:
        print(json.dumps(asdict(done)))
        return 0
    print(
        f"{done.added} added, {done.replaced} replaced, {done.removed} removed, {done.unchanged} as before;"
        f" {done.embedded} photos embedded again"
    )
    print(f"the register went from version {done.previous_version} to {done.version}")
    return 0


def _key(config: Config) -> bytes:
    from edge_app.secret_files import read_hex_key

    if config.gallery.bundle_key is None:
        raise ConfigError(
            "this box has no key for bundles",
            fix="give all boxes of the mine one: openssl rand -hex 32 > FILE; gallery.bundle_key: FILE",
        )
    return read_hex_key(config.gallery.bundle_key, what="the key for bundles")
