from __future__ import annotations

import threading

import pytest

from edge_app import inbox
from edge_app.config import Config
from edge_app.inbox import Inbox
from edge_app.records import PresenceSnapshot


@pytest.fixture
def config() -> Config:
    """Return the smallest configuration."""
    return Config.model_validate(
        {
            "box": {"site": "m1", "node": "b1"},
            "cameras": [{"name": "cam", "zone": "z1", "source": {"kind": "v4l2"}}],
            "detector": {"model": "d.json"},
            "recogniser": {"model": "r.json"},
            "delivery": {"brokers": [{"host": "127.0.0.1"}]},
        }
    )


def test_who_asks_for_a_muster_gets_the_next_one() -> None:
    """The asking thread waits; the other one finds where the answer goes, once."""
    box, got = Inbox(), list[PresenceSnapshot | None]()
    asking = threading.Thread(target=lambda: got.append(box.muster_now()))
    asking.start()
    while not (asked := box.musters()):
        pass
    snapshot = PresenceSnapshot(mono_ns=7, people=(), unknown=(), cameras=())
    asked[0].put(snapshot)
    asking.join(5)
    assert ([snapshot], []) == (got, box.musters())


def test_nobody_who_answers_is_said_so(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that hangs must not hang who asks it: no muster, not taken over."""
    monkeypatch.setattr(inbox, "_ANSWER_S", 0.01)
    box = Inbox()
    assert (None, False) == (box.muster_now(), box.take_over(config))
    assert [config] == [one for one, _ in box.configs()]


def test_a_configuration_is_taken_once(config: Config) -> None:
    """Whoever asked learns of it when the flag is set."""
    box, got = Inbox(), list[bool]()
    asking = threading.Thread(target=lambda: got.append(box.take_over(config)))
    asking.start()
    while not (waiting := list(box.configs())):
        pass
    ((taken, flag),) = waiting
    flag.set()
    asking.join(5)
    assert (config, [True], []) == (taken, got, list(box.configs()))


def test_too_many_cards_are_dropped_and_nobody_waits() -> None:
    """What comes meanwhile is for the next second; what is too much is gone."""
    box = Inbox()
    for _ in range(inbox._CARD_MESSAGES + 5):
        box.cards_arrived(())
    first = box.cards()
    next(first)
    box.cards_arrived(())
    assert inbox._CARD_MESSAGES - 1 == len(list(first))
    assert 5 == box.cards_dropped
    assert 1 == len(list(box.cards()))
