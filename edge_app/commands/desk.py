"""The desk at which commands arrive: checked, counted, obeyed by a thread of its own, and answered.

The delivery thread only lays messages down here. An authentic command is answered on the response
topic and recorded as an event, also when it is refused; whatever nobody known has signed is counted,
told in an event at most once a minute, and never answered: the desk is no echo for strangers. Nor for
recordings: whoever has overheard an authentic command can send it again as often as he likes, so a refusal
is answered once a minute for the same command, and ten times a minute in all; beyond that it is counted too.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog

from edge_app.commands.signed import CommandRefused, check_command
from edge_app.errors import DsrError
from edge_app.records import NAME, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge_app.clock import Clock
    from edge_app.commands.counters import Counters
    from edge_app.commands.keys import CommandKey
    from edge_app.commands.signed import Argument, Command
    from edge_app.delivery.link import Message

    Verb = Callable[[Mapping[str, Argument]], Mapping[str, Any]]

_LOG = structlog.get_logger(__name__)
_WAITING: Final = 64
_TELL_EVERY_NS: Final = 60_000_000_000
_REFUSALS: Final = 10
_LOOK_S: Final = 1.0
_TEXT: Final = 200


class VerbFailed(Exception):
    """A verb could not be done; the text says why, for whoever asked."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message under ``cmd/``: the verb of its topic, the payload, and where the answer goes."""

    verb: str
    payload: bytes
    response_topic: str | None
    correlation: bytes | None


@dataclass(slots=True)
class DeskStatus:
    """Counts since the start: commands obeyed, failed, refused by reason.

    Of the refused ones nobody was told singly: `strangers`, authentic ones sent again and again (`repeats`),
    and what did not fit on the desk (`overflowed`).
    """

    done: int = 0
    failed: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    refusals: int = 0
    strangers: int = 0
    repeats: int = 0
    overflowed: int = 0

    def counts(self) -> dict[str, int]:
        """Return them as numbers of the box's health; any thread."""
        refused = self.refusals + self.overflowed
        return {"commands_done": self.done, "commands_failed": self.failed, "commands_refused": refused}

    @property
    def untold(self) -> int:
        """How many of the refused were told of in numbers only."""
        return self.strangers + self.repeats + self.overflowed


class CommandDesk:
    """Obeys the commands of one box.

    Args:
        site: the mine of this box.
        node: this box.
        keys: who may give commands.
        counters: the last counter of each key.
        verbs: what can be asked; each gets the arguments, and returns what the answer carries; a `note` of
            it stands in the event as well.
        clock: to tell what has expired.
        answer: publishes (topic, payload, correlation), once.
        submit: hands over an event; may wait.
    """

    def __init__(
        self,
        *,
        site: str,
        node: str,
        keys: Iterable[CommandKey],
        counters: Counters,
        verbs: Mapping[str, Verb],
        clock: Clock,
        answer: Callable[[str, bytes, bytes | None], None],
        submit: Callable[[Event], None],
    ) -> None:
        self._site, self._node = site, node
        self._keys = {key.id: key for key in keys}
        self._counters = counters
        self._verbs = dict(verbs)
        self._clock = clock
        self._answer = answer
        self._submit = submit
        self._inbox: queue.Queue[Arrival | None] = queue.Queue(_WAITING)
        self._answered: dict[tuple[str, int, str], int] = {}
        self._told = 0
        self._told_ns: int | None = None
        self.status = DeskStatus()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)

    def counts(self) -> dict[str, int]:
        """Return what was obeyed and refused, as numbers of the box's health; any thread."""
        return self.status.counts()

    def start(self) -> None:
        """Begin to obey."""
        self._thread.start()

    def arrived(self, message: Message) -> None:
        """Take what came on a topic under ``cmd/``; returns at once."""
        verb = message.topic.rsplit("/", 1)[-1]
        self.lay_down(Arrival(verb, message.payload, message.response_topic, message.correlation))

    def lay_down(self, arrival: Arrival) -> None:
        """Take a message; returns at once. What does not fit on the desk is counted and forgotten."""
        try:
            self._inbox.put_nowait(arrival)
        except queue.Full:
            self.status.overflowed += 1

    def stop(self, timeout: float = 2.0) -> None:
        """Finish the command under way and obey no more."""
        self._stopping.set()
        with contextlib.suppress(queue.Full):
            self._inbox.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(timeout)

    # -- the desk's thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._one_turn()

    def _one_turn(self) -> None:
        try:
            with contextlib.suppress(queue.Empty):
                arrival = self._inbox.get(timeout=_LOOK_S)
                if arrival is not None and not self._stopping.is_set():
                    self._handle(arrival)
            self._tell_refusals()
        except Exception:  # noqa: BLE001 - ours, or delivery has ended; the next may fare better
            _LOG.exception("command_desk_failed")

    def _handle(self, arrival: Arrival) -> None:
        try:
            command = check_command(
                arrival.payload,
                verb=arrival.verb,
                site=self._site,
                node=self._node,
                keys=self._keys,
                now=self._clock.wall(),
            )
        except CommandRefused as refused:
            self._refuse(arrival, refused.command, refused.reason)
            return
        try:
            self._counters.take(command.key.id, command.counter)
        except CommandRefused as refused:
            self._refuse(arrival, command, refused.reason)
            return
        verb = self._verbs.get(command.verb)
        if verb is None:
            self._refuse(arrival, command, "unknown_verb")
        else:
            self._obey(arrival, command, verb)

    def _obey(self, arrival: Arrival, command: Command, verb: Verb) -> None:
        _LOG.info("command", verb=command.verb, key=command.key.name, counter=command.counter)
        data: Mapping[str, Any] = {}
        reason = None
        try:
            data = verb(command.args)
        except (VerbFailed, DsrError) as error:
            reason = error.what if isinstance(error, DsrError) else str(error)
        except Exception as error:  # noqa: BLE001 - whoever asked is owed an answer
            _LOG.exception("command_failed", verb=command.verb)
            reason = f"{type(error).__name__}: {error}"
        if reason is None:
            self.status.done += 1
        else:
            self.status.failed += 1
        self._say(arrival, command, "done" if reason is None else "failed", reason, data)

    def _refuse(self, arrival: Arrival, command: Command | None, reason: str) -> None:
        self.status.refusals += 1
        self.status.refused[reason] = self.status.refused.get(reason, 0) + 1
        if command is None:
            self.status.strangers += 1
        elif not self._may_answer((command.key.id, command.counter, reason)):
            self.status.repeats += 1
        else:
            _LOG.warning("command_refused", verb=command.verb, key=command.key.name, reason=reason)
            self._say(arrival, command, "refused", reason, {})

    def _may_answer(self, refusal: tuple[str, int, str]) -> bool:
        """Return whether this refusal is to be answered: not the same twice in a minute, nor ten others."""
        now = self._clock.mono_ns()
        self._answered = {one: at for one, at in self._answered.items() if now - at < _TELL_EVERY_NS}
        if refusal in self._answered or len(self._answered) >= _REFUSALS:
            return False
        self._answered[refusal] = now
        return True

    def _say(
        self, arrival: Arrival, command: Command, outcome: str, reason: str | None, data: Mapping[str, Any]
    ) -> None:
        """Record what became of an authentic command, and answer it."""
        document = {
            "v": 1,
            "site": self._site,
            "node": self._node,
            "verb": command.verb,
            "key": command.key.id,
            "counter": command.counter,
            "outcome": outcome,
            "reason": reason,
            "data": dict(data),
        }
        payload = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
        self._answer(self._response_topic(arrival), payload, arrival.correlation)
        fields: dict[str, Any] = {"verb": command.verb, "outcome": outcome, "by": command.key.name}
        if reason is not None:
            fields["reason"] = reason[:_TEXT]
        if isinstance(note := data.get("note"), str):
            fields["note"] = note[:_TEXT]
        self._submit(Event("command", self._clock.mono_ns(), data=fields))

    def _response_topic(self, arrival: Arrival) -> str:
        """Return where to answer: as asked if that is a topic of this mine, else the box's own.

        The wish is not signed, and the box may publish where others may not.
        """
        own = f"mine/{self._site}/v1/{self._node}/cmd/resp"
        wish = arrival.response_topic
        levels = wish.split("/") if wish is not None and len(wish) <= _TEXT else []
        foreign = levels[:2] != ["mine", self._site] or "resp" not in levels
        return own if foreign or not all(map(NAME.fullmatch, levels)) else str(wish)

    def _tell_refusals(self) -> None:
        """Record how many messages were refused without an answer, at most once a minute."""
        now, refused = self._clock.mono_ns(), self.status.untold
        if refused == self._told or (self._told_ns is not None and now - self._told_ns < _TELL_EVERY_NS):
            return
        new, self._told, self._told_ns = refused - self._told, refused, now
        counts = {**self.status.refused, **({"not_read": n} if (n := self.status.overflowed) else {})}
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
        _LOG.warning("commands_refused", new=new, since_start=reasons)
        note = f"{new} refused; since the start: {reasons}"[:_TEXT]
        self._submit(Event("command", now, data={"verb": "none", "outcome": "refused", "reason": note}))
