"""Fixtures for commands: a key, a clock, a desk whose answers and events are kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from edge_app.commands.counters import Counters
from edge_app.commands.desk import Arrival, CommandDesk
from edge_app.commands.keys import make_key, read_private, read_public
from edge_app.commands.signed import sign_command
from tests.clocks import NOW_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_app.commands.keys import CommandKey
    from edge_app.records import Event
    from tests.clocks import StoppedClock


@dataclass
class Signer:
    """Somebody with a key."""

    key: CommandKey
    private: Any

    def command(self, verb: str = "identify", *, counter: int = 1, **changes: Any) -> bytes:
        """Return a signed command for the box ``box-1`` of the mine ``north``."""
        fields: dict[str, Any] = {
            "site": "north",
            "node": "box-1",
            "verb": verb,
            "args": {},
            "key_id": self.key.id,
            "counter": counter,
            "expires_ms": NOW_MS + 60_000,
            "private": self.private,
        }
        return sign_command(**{**fields, **changes})


@pytest.fixture(scope="session")
def make_signer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Signer]:
    """Return a maker of people with keys."""

    def make(name: str) -> Signer:
        path = tmp_path_factory.mktemp("keys") / f"{name}.pem"
        make_key(path)
        return Signer(read_public(path.with_suffix(".pub"), name=name), read_private(path)[1])

    return make


@pytest.fixture(scope="session")
def signer(make_signer: Callable[[str], Signer]) -> Signer:
    """Return somebody whom the box knows."""
    return make_signer("control-room")


@pytest.fixture(scope="session")
def stranger(make_signer: Callable[[str], Signer]) -> Signer:
    """Return somebody whom it does not."""
    return make_signer("stranger")


@dataclass
class Office:
    """A desk, and all that it did."""

    desk: CommandDesk
    obeyed: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: list[tuple[str, dict[str, Any], bytes | None]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def take(
        self,
        payload: bytes,
        *,
        verb: str = "identify",
        to: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        """Handle one message at once, as the desk's thread would."""
        self.desk.lay_down(Arrival(verb, payload, to, correlation))
        self.desk._one_turn()


@pytest.fixture
def office(tmp_path: Path, signer: Signer, clock: StoppedClock) -> Iterator[Office]:
    """Return a desk that knows `signer`, with the verbs identify, fail and break."""
    made: Office

    def identify(args: Any) -> dict[str, Any]:
        made.obeyed.append(("identify", dict(args)))
        return {"who": "box-1"}

    def broken(_args: Any) -> dict[str, Any]:
        msg = "a mistake"
        raise ZeroDivisionError(msg)

    made = Office(
        CommandDesk(
            site="north",
            node="box-1",
            keys=[signer.key],
            counters=Counters(tmp_path / "commands.json"),
            verbs={"identify": identify, "broken": broken},
            clock=clock,
            answer=lambda topic, payload, back: made.answers.append((topic, json.loads(payload), back)),
            submit=lambda event: made.events.append(event),  # noqa: PLW0108 - made is bound later
        )
    )
    yield made
    made.desk.stop()
