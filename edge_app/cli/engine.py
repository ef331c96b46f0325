"""``dsr-edge engine``: which engines this box has, which is in use, and the way back.

Works beside the daemon: it looks at the choice once a second, tries a new engine in the shadow of the
old one, and exchanges them between two frames.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.parsers import add_config_option

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from edge_app.cli.parsers import SubParsers
    from edge_app.config import Config
    from edge_app.embedding.recogniser import Recogniser
    from edge_app.engines.store import EngineStore


def add_parser(subparsers: SubParsers) -> None:
    """Add ``engine`` and its actions."""
    parser = subparsers.add_parser("engine", help="the engines for a GPU: list, take into use, go back")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("list", help="every engine, whose key signed it, and which is in use")
    show.add_argument("--json", action="store_true", help="print JSON")
    activate = actions.add_parser("activate", help="take an engine into use, after every check")
    activate.add_argument("engine", metavar="ENGINE", help="its name in the list; cpu takes none into use")
    activate.add_argument(
        "--sign", action="store_true", help="sign it with this box's key first: it was built here"
    )
    rollback = actions.add_parser("rollback", help="go back to the engine before")
    key = actions.add_parser("key", help="make this box's key, which signs what is built here")
    for action, function in ((show, _list), (activate, _activate), (rollback, _rollback), (key, _key)):
        add_config_option(action)
        action.set_defaults(run=run, work=function)


def run(args: argparse.Namespace) -> int:
    """Do what the action says; returns the exit status."""
    from edge_app.wiring import load_config

    return int(args.work(args, load_config(args.config)))


def _list(args: argparse.Namespace, config: Config) -> int:
    from edge_app.engines.rebuild import last_outcome
    from edge_app.wiring import engine_store

    store = engine_store(config)
    choice, outcome = store.choice(), last_outcome(config.engines.folder)
    rows = [_row(store, engine_id) for engine_id in store.ids()]
    if args.json:
        found: dict[str, Any] = {
            "active": choice.active,
            "previous": choice.previous,
            "rejected": dict(choice.rejected),
        }
        found["rebuild"] = None if outcome is None else dataclasses.asdict(outcome)
        print(json.dumps({**found, "engines": rows}, indent=1))
        return 0
    print(f"in use: {choice.active or 'none; the CPU runs the recogniser'}")
    print(f"before it: {choice.previous or 'none'}")
    for row in rows:
        print(f"  {row['id']}: {row['text']}")
        if row["id"] in choice.rejected:
            print(f"    proved bad: {choice.rejected[row['id']]}")
    if not rows:
        print(f"  there are none in {store.folder}; `dsr-engine build` makes one")
    if outcome is not None:
        what = outcome.built or "nothing was built"
        print(f"last rebuild, asked for because {outcome.asked.reason}: {what}: {outcome.said}")
    return 0


def _row(store: EngineStore, engine_id: str) -> dict[str, Any]:
    """Return what the list says of one engine; one that cannot be used says why."""
    from edge_app.errors import ModelError

    try:
        stored = store.read(engine_id)
    except ModelError as error:
        return {"id": engine_id, "usable": False, "text": f"cannot be used: {error.what}"}
    manifest = stored.manifest
    share = "" if manifest.int8_mac_share is None else f", {manifest.int8_mac_share:.1%} of MACs in INT8"
    wanted = (
        "" if manifest.precision == manifest.precision_wanted else f" ({manifest.precision_wanted} wanted)"
    )
    text = (
        f"{manifest.precision}{wanted}{share}, {manifest.model.size / 1e6:.2f} MB, {manifest.builder} "
        f"{manifest.builder_version} for {manifest.gpu or f'capability {manifest.compute_capability}'}, "
        f"signed by {stored.signed_by}, accuracy {_verdict(manifest.accepted)}"
    )
    return {"id": engine_id, "usable": True, "text": text}


def _verdict(accepted: bool | None) -> str:  # noqa: FBT001 -- three states of a manifest's key
    return "not measured" if accepted is None else "accepted" if accepted else "refused"


def _activate(args: argparse.Namespace, config: Config) -> int:
    from edge_app.engines.signing import sign
    from edge_app.wiring import engine_store

    store = engine_store(config)
    if args.engine == "cpu":
        store.activate(None)
        print("the CPU runs the recogniser; a running daemon exchanges it within seconds")
        return 0
    path = store.path(args.engine)
    if args.sign:
        print(f"signed: {sign(path, private_key(config))}")
    photos = take_into_use(config, args.engine, say=print)
    choice = store.choice()
    print(f"{photos} photos embedded with it; before it: {choice.previous or 'the CPU'}")
    print(f"in use: {choice.active}; a running daemon tries it in the shadow first")
    return 0


def take_into_use(config: Config, engine_id: str, *, say: Callable[[str], None] = lambda _: None) -> int:
    """Check the engine as the daemon will, embed everybody with it, and only then take it into use.

    Returns how many photos were embedded; `say` is told whose key signed it and how golden it is.

    Raises:
        DsrError: a check failed, or somebody cannot be embedded; nothing has changed then.
    """
    from edge_app.embedding.opening import open_stored, recogniser_manifest
    from edge_app.wiring import engine_store

    store = engine_store(config)
    recogniser = open_stored(recogniser_manifest(config.recogniser.model), store, engine_id)
    try:
        say(recogniser.reason)
        photos = _embed_everybody(config, recogniser)
    finally:
        recogniser.close()
    store.activate(engine_id)
    return photos


def _embed_everybody(config: Config, recogniser: Recogniser) -> int:
    """Embed every registered photo with the engine; nothing is in use yet, so a failure changes nothing."""
    from edge_app.identity.enrol import reembed
    from edge_app.identity.gallery import Gallery

    if not config.gallery.path.exists():
        return 0
    return reembed(gallery=Gallery(path=config.gallery.path), recogniser=recogniser)[0]


def _rollback(_args: argparse.Namespace, config: Config) -> int:
    from edge_app.wiring import engine_store

    choice = engine_store(config).rollback()
    print(f"in use: {choice.active or 'none; the CPU runs the recogniser'}")
    return 0


def _key(_args: argparse.Namespace, config: Config) -> int:
    from edge_app.engines.signing import make_key

    print(f"{make_key(private_key(config))}: this box now trusts what it signs with its own key")
    return 0


def private_key(config: Config) -> Path:
    """Return the box's private key, which lies beside the public one."""
    return Path(config.engines.box_key).with_suffix(".key")
