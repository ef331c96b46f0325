"""Cards beside faces in a real box: over a real broker, with a real face, and hostile messages between."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daemon.rig import BoxRig, Listener

pytestmark = pytest.mark.mosquitto
TOPIC = "mine/m1/v1/b1/card"
TIMES = {"face_within_s": 3, "card_within_s": 3, "apart_s": 3, "stale_after_s": 2, "silent_after_s": 60}


def tell(listener: Listener, *cards: str) -> None:
    """Let the positioning system say that these cards are read, beside what an attacker says."""
    readings: list[dict[str, Any]] = [{"card": card, "zone": "z1", "reader": "R1"} for card in cards]
    for payload in (json.dumps({"v": 1, "readings": readings}).encode(), b"\xff", b"{}", b"[" * 9999):
        listener.publish(TOPIC, payload)


def test_second_card_of_one_face_is_told_and_ends(
    rig: BoxRig, listener: Listener, clip: Path, demo_photos: dict[str, Path]
) -> None:
    """Somebody is named, two cards are read with them: one face with two cards, retained as an alarm."""
    rig.register("40017", [demo_photos["obama"], demo_photos["obama2"]])
    rig.config["cards"] = {"listen": True, **TIMES}
    rig.watch(clip, fps=10, loop=True)
    daemon = rig.start()
    listener.wait_for(lambda: listener.of("box_start"), timeout=60)
    time.sleep(TIMES["stale_after_s"] + 1)  # what is read before this may have been there before

    def read_until(what: Any, *cards: str) -> None:
        def happened() -> object:
            tell(listener, *cards)
            time.sleep(0.3)
            return what()

        listener.wait_for(happened, timeout=60)

    def found(state: str) -> list[dict[str, Any]]:
        several = [event for event in listener.of("card_check") if event["reason"] == "several_cards"]
        return [event for event in several if event["alarm"]["state"] == state]

    read_until(lambda: found("active"), "40017", "40023")
    told = found("active")[0]
    assert ("40017", ["40017", "40023"]) == (told["person_ref"], told["cards"])
    listener.wait_for(lambda: listener.last("/alarms/several_cards.40017"))
    read_until(lambda: found("cleared"), "40017")
    assert daemon.poll() is None
    assert "card_readings_refused" in rig.log()


def test_box_that_does_not_listen_takes_no_readings(rig: BoxRig, listener: Listener, clip: Path) -> None:
    """Off by default: not subscribed, nothing said."""
    rig.watch(clip, fps=10)
    daemon = rig.start()
    listener.wait_for(lambda: listener.of("box_start"), timeout=60)
    tell(listener, "40017")
    assert 0 == daemon.wait(60), rig.log()
    assert [] == listener.of("card_check")
    assert "card_readings" not in rig.log()
