"""The desk: what is obeyed, answered, recorded, counted, and what is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_app.commands.desk import Arrival
from edge_app.delivery.event import EnvelopeContext, draft
from edge_app.delivery.uuid7 import Uuid7Maker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clocks import StoppedClock
    from tests.commands.conftest import Office, Signer

OWN = "mine/north/v1/box-1/cmd/resp"


def test_a_command_is_obeyed_answered_and_recorded(office: Office, signer: Signer) -> None:
    """Once each; the answer carries what the verb says, and the correlation."""
    office.take(signer.command(args={"a": 1}, counter=9), correlation=b"\x00\xff")

    assert [("identify", {"a": 1})] == office.obeyed
    ((topic, answer, correlation),) = office.answers
    assert (OWN, b"\x00\xff") == (topic, correlation)
    assert {
        "outcome": "done",
        "verb": "identify",
        "counter": 9,
        "reason": None,
        "data": {"who": "box-1"},
    } == {name: answer[name] for name in ("outcome", "verb", "counter", "reason", "data")}
    assert [{"verb": "identify", "outcome": "done", "by": "control-room"}] == [e.data for e in office.events]


def test_a_replay_is_refused_answered_and_not_obeyed(office: Office, signer: Signer) -> None:
    """The same bytes again, or an older counter."""
    command = signer.command(counter=5)
    for payload in (command, command, signer.command(counter=4)):
        office.take(payload)

    assert 1 == len(office.obeyed)
    assert ["done", "refused", "refused"] == [answer["outcome"] for _, answer, _ in office.answers]
    assert {"replayed": 2} == office.desk.status.refused


def test_a_recording_played_again_and_again_is_counted_and_answered_once_a_minute(
    office: Office, signer: Signer, clock: StoppedClock
) -> None:
    """Whoever overheard one command must not fill the box's outbox with it."""
    command = signer.command(counter=5)
    for _ in range(1000):
        office.take(command)
    clock.sleep(61)
    office.take(command)
    office.take(command)

    assert ["done", "refused", "refused"] == [answer["outcome"] for _, answer, _ in office.answers]
    told = [event.data["reason"] for event in office.events if event.data["verb"] == "none"]
    assert ["1 refused; since the start: replayed 2", "997 refused"] == [told[0], str(told[1])[:11]]
    assert {"replayed": 1001} == office.desk.status.refused


def test_many_recordings_are_answered_ten_a_minute(office: Office, signer: Signer) -> None:
    """And a new command is obeyed and answered all the same."""
    for counter in range(100, 0, -1):
        office.take(signer.command(counter=counter))
    office.take(signer.command(counter=101))

    assert ["done", *["refused"] * 10, "done"] == [answer["outcome"] for _, answer, _ in office.answers]
    assert {"replayed": 99} == office.desk.status.refused
    assert 89 == office.desk.status.repeats


def test_the_counter_is_on_disk_before_the_verb_begins(
    tmp_path: Path, office: Office, signer: Signer
) -> None:
    """Power that is cut while a verb works does not let it work again."""
    seen = []
    office.desk._verbs["look"] = lambda _args: seen.append((tmp_path / "commands.json").read_text()) or {}
    office.take(signer.command("look", counter=77), verb="look")

    assert [f'{{"{signer.key.id}": 77}}'] == seen


def test_a_counter_that_cannot_be_stored_stops_the_command(
    tmp_path: Path, office: Office, signer: Signer
) -> None:
    """The file is damaged: nothing is obeyed, and whoever asked is told."""
    (tmp_path / "commands.json").write_text("{")
    office.take(signer.command())

    assert [] == office.obeyed
    assert "counter_not_stored" == office.answers[0][1]["reason"]


def test_strangers_are_counted_and_never_answered(
    office: Office, stranger: Signer, clock: StoppedClock
) -> None:
    """A thousand of them make one event a minute, not a thousand."""
    for n in range(500):
        office.take(stranger.command(counter=n + 1))
        office.take(b"\xff" * n)
    clock.sleep(61)
    office.desk._tell_refusals()

    assert ([], []) == (office.obeyed, office.answers)
    assert 1000 == office.desk.status.strangers
    assert 2 == len(office.events)
    assert "999 refused" in str(office.events[1].data["reason"])


def test_an_unknown_verb_is_refused_and_uses_up_its_counter(office: Office, signer: Signer) -> None:
    """Authentic, so it is answered."""
    office.take(signer.command("dance"), verb="dance")

    assert ("refused", "unknown_verb") == tuple(office.answers[0][1][k] for k in ("outcome", "reason"))


def test_a_verb_that_fails_is_answered_as_failed(office: Office, signer: Signer) -> None:
    """Whatever went wrong in it; the desk goes on."""
    office.take(signer.command("broken"), verb="broken")
    office.take(signer.command(counter=2))

    assert ["failed", "done"] == [answer["outcome"] for _, answer, _ in office.answers]
    assert "a mistake" in office.answers[0][1]["reason"]


@pytest.mark.parametrize(
    ("wish", "goes_to"),
    [
        (None, OWN),
        ("mine/north/v1/box-1/cmd/resp", OWN),
        ("mine/north/control-room/resp/7", "mine/north/control-room/resp/7"),
        ("mine/south/control-room/resp", OWN),
        ("mine/north/v1/box-2/evt/alarm", OWN),
        ("mine/north/v1/box-2/cmd/muster", OWN),
        ("mine/north/resp/#", OWN),
        ("mine/north/+/resp", OWN),
        ("mine/north//resp", OWN),
        ("$SYS/resp", OWN),
        ("spBv1.0/resp", OWN),
        ("mine/north/resp/" + "x/" * 200, OWN),
        ("", OWN),
    ],
)
def test_an_answer_goes_nowhere_that_others_are_believed(
    office: Office, signer: Signer, wish: str | None, goes_to: str
) -> None:
    """The wish is not signed: only a topic of this mine with a level `resp` is taken."""
    office.take(signer.command(), to=wish)

    assert goes_to == office.answers[0][0]


def test_every_event_of_the_desk_fits_the_schema(office: Office, signer: Signer, clock: StoppedClock) -> None:
    """Obeyed, refused, failed with a long reason, and the count of strangers."""
    office.desk._verbs["long"] = lambda _args: (_ for _ in ()).throw(ValueError("x" * 900))
    office.take(signer.command())
    office.take(signer.command())
    office.take(signer.command("long", counter=2), verb="long")
    office.take(b"stranger")
    context = EnvelopeContext("north", "box-1", "0b7c5c3e-6a1f-4f5e-9f51-2f3c8a1d9e10")

    assert 4 == len(office.events)
    for event in office.events:
        draft(
            event, event_id=Uuid7Maker().make(ms=1), wall=clock.wall(), context=context, now_ns=clock.now_ns
        )


def test_a_full_desk_does_not_hold_up_whoever_brings_more(office: Office) -> None:
    """Delivery's thread lays down and goes; what does not fit is counted."""
    for _ in range(200):
        office.desk.lay_down(Arrival("identify", b"x", None, None))

    assert 136 == office.desk.status.overflowed


def test_answers_are_json_of_one_line(office: Office, signer: Signer) -> None:
    """As documented."""
    office.take(signer.command())

    assert {"v", "site", "node", "verb", "key", "counter", "outcome", "reason", "data"} == set(
        office.answers[0][1]
    )
    assert "\n" not in json.dumps(office.answers[0][1])
