"""What a box can be asked by a signed command, and what it answers.

::

    identify            who it is: software, engine, register, cameras, clock, delivery
    muster              a muster now, as an event and retained; the answer has the headcount
    reload              read the configuration again; take what can be taken without a restart
    engine  engine=ID   take this engine into use (``cpu``: none); with rollback=true, the one before
    gallery remove=REF  remove a person from the register
    gallery bundle=NAME sha256=HEX
                        take over everybody in this bundle, which lies on the box already; with
                        replace=true whoever is not in it is removed

Everything else needs hands on the box. Engines and people are changed by the command line's own
program, in a process of its own, so that every check there is made here as well. No picture comes with a
command: a bundle is carried to the box, and the signature names the one file that is meant.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from edge_app.commands.desk import VerbFailed
from edge_app.commands.live_keys import changed_keys, is_live, with_live_keys
from edge_app.config import load_config
from edge_app.records import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge_app.clock import Clock
    from edge_app.commands.desk import Verb
    from edge_app.commands.signed import Argument
    from edge_app.config import Config
    from edge_app.delivery.event import EnvelopeContext
    from edge_app.delivery.options import DeliveryStatus
    from edge_app.engines.store import EngineStore
    from edge_app.records import PresenceSnapshot

VERBS: Final = ("identify", "muster", "reload", "engine", "gallery")
_PROGRAM_S: Final = 900
_BUNDLE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LAST_WORDS: Final = 180


class BoxVerbs:
    """The verbs of one box.

    Args:
        config: what the box was told.
        source: the file that says it; None if there is none, and then no engine can be chosen.
        clock: monotonic and wall time.
        version: of the software.
        context: what events say about the box now.
        status: what delivery says about itself now.
        muster_now: has a muster published by the thread that keeps it; None if that took too long.
        engines: the box's engines; None where there are none.
        take_over: has the running stages take the live keys of a configuration; whether that was in time.
    """

    def __init__(
        self,
        *,
        config: Config,
        source: Path | None,
        clock: Clock,
        version: str,
        context: Callable[[], EnvelopeContext],
        status: Callable[[], DeliveryStatus],
        muster_now: Callable[[], PresenceSnapshot | None],
        engines: EngineStore | None,
        take_over: Callable[[Config], bool],
    ) -> None:
        self._config = config
        self._source = source
        self._clock = clock
        self._version = version
        self._context = context
        self._status = status
        self._muster_now = muster_now
        self._engines = engines
        self._take_over = take_over

    def table(self) -> dict[str, Verb]:
        """Return the verbs by their names."""
        return dict(
            zip(VERBS, (self.identify, self.muster, self.reload, self.engine, self.gallery), strict=True)
        )

    def identify(self, args: Mapping[str, Argument]) -> Mapping[str, Any]:
        """Say who the box is and how it does."""
        _only(args, ())
        context, status, wall = self._context(), self._status(), self._clock.wall()
        return {
            "version": self._version,
            "boot": context.boot,
            "mono_ns": self._clock.mono_ns(),
            "wall_ms": wall.ms,
            "wall_quality": wall.quality.value,
            "backend": context.backend,
            "model_sha": context.model_sha,
            "gallery_version": context.gallery_version,
            "cameras": [{"camera": one.name, "zone": one.zone} for one in self._config.cameras],
            "backlog": status.waiting,
            "lost": status.lost,
            "parked": status.parked,
        }

    def muster(self, args: Mapping[str, Argument]) -> Mapping[str, Any]:
        """Have a muster published now."""
        _only(args, ())
        snapshot = self._muster_now()
        if snapshot is None:
            raise VerbFailed("the muster did not come in time; the box may be busy or stopping")
        return {
            "headcount": snapshot.headcount,
            "people": len(snapshot.people),
            "unknown": len(snapshot.unknown),
            "blind": [one.camera for one in snapshot.cameras if one.blind_since_ns is not None],
        }

    def reload(self, args: Mapping[str, Argument]) -> Mapping[str, Any]:
        """Read the configuration again; say which keys now count, and which wait for a restart."""
        _only(args, ())
        if self._source is None:
            raise VerbFailed("this box was not started from a configuration file")
        wanted = load_config(self._source)
        changed = changed_keys(self._config, wanted)
        live = [key for key in changed if is_live(key)]
        if live:
            now = with_live_keys(self._config, wanted)
            if not self._take_over(now):
                raise VerbFailed("the change was not taken in time; the box may be busy or stopping")
            self._config = now
        return {"taken": live, "needs_restart": [key for key in changed if not is_live(key)]}

    def engine(self, args: Mapping[str, Argument]) -> Mapping[str, Any]:
        """Choose the engine; the box tries it in the shadow of the old one before it exchanges them."""
        _only(args, ("engine", "rollback"))
        if self._engines is None:
            raise VerbFailed("this box has no store of engines")
        wanted, back = args.get("engine"), args.get("rollback")
        if (wanted is None) == (back is not True):
            raise VerbFailed("give engine (a name, or cpu), or rollback = true, and not both")
        if back is True:
            self._engines.rollback()
        else:
            self._activate(wanted)
        choice = self._engines.choice()
        return {"active": choice.active, "previous": choice.previous}

    def _activate(self, wanted: Argument) -> None:
        known = ("cpu", *(self._engines.ids() if self._engines is not None else ()))
        if not isinstance(wanted, str) or wanted not in known or wanted.startswith("-"):
            raise VerbFailed("there is no such engine on this box")
        self._program("engine", "activate", wanted)

    def gallery(self, args: Mapping[str, Argument]) -> Mapping[str, Any]:
        """Change the register of people: remove somebody, or take over a bundle; wholly or not at all."""
        _only(args, ("remove", "bundle", "sha256", "replace"))
        ref, bundle, sha256 = args.get("remove"), args.get("bundle"), args.get("sha256")
        if ref is not None and set(args) == {"remove"}:
            if not isinstance(ref, str) or not NAME.fullmatch(ref) or ref.startswith("-"):
                raise VerbFailed("remove names a reference")
            done = json.loads(self._program("people", "remove", ref, "--json"))
            return {**done, "note": f"gallery: removed {ref}; version {done['version']}"}
        if bundle is None:
            raise VerbFailed("give remove (a reference), or bundle (a file's name) and sha256")
        if not isinstance(bundle, str) or not _BUNDLE.fullmatch(bundle) or bundle.startswith("-"):
            raise VerbFailed("bundle names a file in gallery.bundles, without a path: letters, digits, - _ .")
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256) or "remove" in args:
            raise VerbFailed("a bundle is named by its file and its sha256: 64 hexadecimal digits")
        if not isinstance(args.get("replace", False), bool):
            raise VerbFailed("replace is true or false")
        words = ["people", "import", str(self._config.gallery.bundles / bundle), "--sha256", sha256, "--json"]
        done = json.loads(self._program(*words, *(["--replace"] if args.get("replace") else [])))
        changes = f"+{done['added']} ~{done['replaced']} -{done['removed']}"
        return {**done, "note": f"gallery: {changes} by bundle {sha256[:12]}; version {done['version']}"}

    def _program(self, *words: str) -> str:
        """Run our own command line; return what it printed.

        Raises:
            VerbFailed: it failed; in its own words.
        """
        if self._source is None:
            raise VerbFailed("this box was not started from a configuration file")
        program = [sys.executable, "-m", "edge_app.cli.main", *words, "--config", str(self._source.resolve())]
        try:
            done = subprocess.run(  # noqa: S603 - our own program; the words were looked at
                program, capture_output=True, text=True, errors="replace", timeout=_PROGRAM_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise VerbFailed(f"it could not be done: {type(error).__name__}") from error
        if done.returncode:
            raise VerbFailed(done.stderr.strip()[:_LAST_WORDS] or f"exit status {done.returncode}")
        return done.stdout


def _only(args: Mapping[str, Argument], allowed: tuple[str, ...]) -> None:
    if strange := sorted(set(args) - set(allowed)):
        raise VerbFailed(f"unknown arguments: {', '.join(strange)}")
