"""Cards beside faces: what does not fit is told with its reason, what fits or cannot be known is not."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from edge_app.clock import WallQuality, WallTime
from edge_app.delivery.event import EnvelopeContext, draft
from edge_app.presence.cards import MAX_CARDS, CardRules, Cards
from edge_app.presence.corrections import Correction
from edge_app.presence.muster import Muster
from edge_app.presence.portals import Portal, watched_zones
from edge_app.records import CameraState, CardReading, Rejection
from tests.presence.test_muster import ZONES, frame, said

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_app.records import Event

S = 1_000_000_000
RULES = CardRules(face_within_s=10, card_within_s=10, apart_s=4, stale_after_s=20, silent_after_s=60)
NO_CLOCK = WallTime(ms=None, quality=WallQuality.NONE)
Finding = tuple[object, ...]


def read(card: str, zone: str = "drift", **more: Any) -> CardReading:
    """Return a reading; `tunnel` sets its time."""
    return CardReading(card, more.pop("owner", card), zone, more.pop("at", 0), **more)


class Tunnel:
    """A mine that is told second by second what is read and seen; it remembers what the box says."""

    def __init__(self, *, at: int = 30, rules: CardRules | None = RULES, **more: Any) -> None:
        self.muster = Muster(zones=ZONES, cards=rules, **more)
        self.at = at
        self.events: list[Event] = []
        self.cards: list[CardReading] = []

    def go(self, seconds: int, *cards: CardReading, camera: str = "cam1", **faces: str | None) -> Tunnel:
        """Let time pass: `cards` are read every second, `faces` are tracks in view and who they are."""
        for _ in range(seconds):
            self.at += 1
            now = self.at * S
            readings = [CardReading(c.card, c.owner, c.zone, now, c.reader, c.gone) for c in cards]
            self.muster.cards(readings, now_ns=now)
            for _ in range(5 if faces else 0):
                places = {track: 0.1 + 0.1 * n for n, track in enumerate(faces)}
                self.muster.see(frame(self.at, camera=camera, **places))
            for track, who in faces.items():
                reason = {"reason": Rejection.TOO_SMALL} if who == "" else {}
                identity = said(who, track=track, camera=camera, at=self.at, final=who == "", **reason)
                self.events += self.muster.identity(identity)
            self.events += self.muster.tick(now, NO_CLOCK)
        return self

    def said(self) -> list[Finding]:
        """Return state, reason, and who or which of every finding so far, in order; and forget them."""
        found = [event for event in self.events if event.kind == "card_check"]
        self.events.clear()
        return [_short(event) for event in found]


def _short(event: Event) -> Finding:
    alarm = event.data["alarm"]
    assert isinstance(alarm, dict)
    who = event.data.get("person_ref") or event.data.get("faces")
    return (alarm["state"], event.data["reason"], who, event.data.get("why"))


def test_card_in_a_zone_that_no_camera_watches_is_logged_once() -> None:
    """A slip in the name of a zone would leave a card uncompared without a word; a flood stays short."""
    with capture_logs() as logs:
        tunnel = Tunnel().go(3, read("40017", "drfit"))
        tunnel.go(1, *(read(f"C{n}", f"z{n}") for n in range(100)))
    told = [(log["zone"], log["watched"]) for log in logs if log["event"] == "card_zone_without_camera"]
    assert ("drfit", ["drift", "shaft"]) == told[0]
    assert 20 == len(told)
    assert [] == tunnel.said()


@pytest.mark.parametrize(
    ("zones", "compared", "unseen"),
    [((), ["drift", "shaft"], []), (("drift",), ["drift"], []), (("drift", "hall"), ["drift"], ["hall"]),
     (("hall",), [], ["hall"])],
)  # fmt: skip
def test_zones_that_are_compared_are_logged(
    zones: tuple[str, ...], compared: list[str], unseen: list[str]
) -> None:
    """At the start; a warning where cards are read and no camera looks: nothing is said there."""
    with capture_logs() as logs:
        Muster(zones=ZONES, cards=CardRules(zones=frozenset(zones)))
    level = "warning" if unseen else "info"
    assert [
        {"event": "cards_compared", "log_level": level, "zones": compared, "without_camera": unseen}
    ] == logs


def test_face_with_its_card_is_no_news() -> None:
    """Before, with and after the card; also when both have gone."""
    tunnel = Tunnel().go(3, read("a")).go(3, read("a"), t1="a").go(30, read("a")).go(60)
    assert [] == tunnel.said()


def test_card_that_is_read_a_little_after_the_face_is_its_own() -> None:
    """The reader stands behind the camera."""
    assert [] == Tunnel().go(2, t1="a").go(8).go(3, read("a")).go(30).said()


def test_card_of_another_number_belongs_to_whom_it_is_issued_to() -> None:
    """The system says whose card it is."""
    assert [] == Tunnel().go(3, read("4711", owner="a"), t1="a").go(40).said()


def test_card_without_face_is_told_after_the_time_and_ends_with_the_card() -> None:
    """Nobody at all was before the camera; once, not every second."""
    tunnel = Tunnel().go(9, read("b"))
    assert [] == tunnel.said()
    assert [("active", "card_without_face", "b", "no_face")] == tunnel.go(10, read("b")).said()
    assert [("cleared", "card_without_face", "b", "no_face")] == tunnel.go(1, read("b", gone=True)).said()


def test_card_without_face_ends_when_the_face_is_seen_after_all() -> None:
    """Late, but it is they."""
    tunnel = Tunnel().go(15, read("b"))
    assert 1 == len(tunnel.said())
    assert [("cleared", "card_without_face", "b", "no_face")] == tunnel.go(2, read("b"), t1="b").said()


def test_face_that_could_not_be_named_is_named_as_the_reason() -> None:
    """Somebody was there, too small to be recognised: no accusation, and the reason beside it."""
    tunnel = Tunnel().go(2, read("b"), t1="").go(12, read("b"))
    event = next(event for event in tunnel.events if event.kind == "card_check")
    assert ("unnamed_face", "too_small") == (event.data["why"], event.data["note"])


def test_track_that_is_named_in_the_end_was_never_unnamed() -> None:
    """Unknown from afar, then named: the other card has no face at all."""
    cards = (read("a", reader="R1"), read("b", reader="R1"))
    tunnel = Tunnel().go(2, *cards, t1=None).go(2, *cards, t1="a").go(12, *cards)
    assert [("active", "several_cards", "a", None)] == tunnel.said()


def test_owner_before_another_camera_while_the_card_lies_here() -> None:
    """Left lying in the drift: still read there long after its owner came to the shaft."""
    tunnel = Tunnel().go(2, read("a"), t1="a").go(3, read("a"))
    tunnel.go(8, read("a"), camera="cam2", t2="a")
    assert [("active", "card_without_face", "a", "seen_elsewhere")] == tunnel.said()[:1]


def test_walking_on_to_the_next_zone_is_no_contradiction() -> None:
    """The card's last reading here is as old as the walk."""
    tunnel = Tunnel().go(2, read("a"), t1="a").go(2).go(8, read("a", "shaft"), camera="cam2", t2="a").go(30)
    assert [] == tunnel.said()


def test_one_face_with_several_cards_is_told_with_the_cards() -> None:
    """Two colleagues' cards in one pocket: all come together, one face is seen; the reading ends, it ends."""
    cards = (read("a"), read("b"), read("c"))
    tunnel = Tunnel().go(3, *cards, t1="a").go(10, *cards)
    told = [event for event in tunnel.events if event.kind == "card_check"]
    assert ["a", "b", "c"] == told[-1].data["cards"]
    assert {("active", "several_cards", "a", None)} == set(tunnel.said())
    assert [("cleared", "several_cards", "a", None)] == tunnel.go(25).said()


def test_cards_at_different_readers_did_not_come_together() -> None:
    """B's card is somewhere else in the zone: a card without a face, nobody's second card."""
    cards = (read("a", reader="R1"), read("b", reader="R2"))
    tunnel = Tunnel().go(3, *cards, t1="a").go(10, *cards)
    assert [("active", "card_without_face", "b", "no_face")] == tunnel.said()


def test_card_that_came_much_later_is_not_in_the_same_pocket() -> None:
    """A has passed, ten seconds later b's card comes alone."""
    tunnel = Tunnel().go(3, read("a"), t1="a").go(7, read("a")).go(15, read("a"), read("b"))
    assert [("active", "card_without_face", "b", "no_face")] == tunnel.said()


def test_which_of_two_carries_the_third_card_cannot_be_told() -> None:
    """A and b were seen, c's card came with them: a card without face, with the cards beside it."""
    cards = (read("a"), read("b"), read("c"))
    tunnel = Tunnel().go(3, *cards, t1="a", t2="b").go(10, *cards)
    told = [event for event in tunnel.events if event.kind == "card_check"]
    assert ["a", "b"] == told[0].data["cards"]
    assert [("active", "card_without_face", "c", "no_face")] == tunnel.said()


def test_face_without_card_is_told_by_name_and_ends_when_the_card_is_read() -> None:
    """Forgotten in the lamp room, fetched later."""
    tunnel = Tunnel().go(3, read("a"), t1="a", t2="b").go(6, read("a"))
    assert [] == tunnel.said()
    tunnel.go(3, read("a"))
    assert ("active", "face_without_card", "b", "no_card") in tunnel.said()
    assert ("cleared", "face_without_card", "b", "no_card") in tunnel.go(1, read("a"), read("b")).said()


def test_card_that_is_read_in_another_zone_is_said_to_be_there() -> None:
    """The face is in the drift, the card in the shaft."""
    tunnel = Tunnel().go(1, read("b", "shaft")).go(2, read("b", "shaft"), t1="b").go(12, read("b", "shaft"))
    assert ("active", "face_without_card", "b", "card_elsewhere") in tunnel.said()


def test_face_with_somebody_elses_card_is_told_with_that_card() -> None:
    """B comes in on c's card: the card's owner is not seen, the face's card is not read."""
    tunnel = Tunnel().go(3, read("c"), t1="b").go(12, read("c"))
    told = {event.data["reason"]: event.data for event in tunnel.events if event.kind == "card_check"}
    assert ("other_card", ["c"]) == (told["face_without_card"]["why"], told["face_without_card"]["cards"])
    assert "no_face" == told["card_without_face"]["why"]


def test_one_card_and_several_faces() -> None:
    """Three at once in one picture, one of them named, one card read: it ends when they are long gone."""
    tunnel = Tunnel().go(3, read("a"), t1="a", t2=None, t3=None).go(10, read("a"))
    assert [("active", "several_faces", 3, None)] == tunnel.said()
    assert [("cleared", "several_faces", 3, None)] == tunnel.go(60, read("a")).said()


def test_two_faces_with_two_cards_are_right_even_if_one_card_goes_first() -> None:
    """What was read while they were there counts."""
    tunnel = Tunnel().go(3, read("a"), read("b"), t1="a", t2="b").go(1, read("b", gone=True))
    assert [] == tunnel.go(40, read("a")).said()


def test_unknown_face_without_any_card() -> None:
    """Nobody registered, no card: somebody who should not be there."""
    tunnel = Tunnel().go(3, t1=None).go(12)
    assert [("active", "face_without_card", 1, "no_card")] == tunnel.said()


def test_camera_that_goes_blind_ends_no_alarm_about_a_card() -> None:
    """The owner was not there while it saw; they are seen when it sees again, or the card goes."""
    finding = ("card_without_face", "b", "no_face")
    for end in ("seen", "gone"):
        tunnel = Tunnel().go(12, read("b"))
        assert [("active", *finding)] == tunnel.said()
        for since in (tunnel.at * S, None):
            reason = None if since is None else "dark"
            state = CameraState("cam1", "drift", blind_since_ns=since, reason=reason)
            tunnel.muster.camera(state, now_ns=tunnel.at * S)
            assert [] == tunnel.go(10, read("b")).said()
        if end == "seen":
            tunnel.go(2, read("b"), t1="b")
        else:
            tunnel.go(1, read("b", gone=True))
        assert [("cleared", *finding)] == tunnel.said()


def test_older_gone_that_comes_late_ends_no_newer_visit() -> None:
    """The messages of two readers overtake each other."""
    cards = Cards(rules=RULES, now_ns=0)
    for at, gone in ((20, False), (18, True)):
        cards.take([CardReading("a", "a", "drift", at * S, None, gone)], now_ns=21 * S)
    assert ["a"] == [visit.card for visit in cards.present(22 * S)]
    cards.take([CardReading("a", "a", "drift", 20 * S, None, gone=True)], now_ns=23 * S)
    assert [] == cards.present(23 * S)


def test_blind_camera_accuses_nobody() -> None:
    """The owner may have passed while nothing was seen; the same visit is not held against them later."""
    tunnel = Tunnel()
    for camera in ("cam1", "cam3"):
        tunnel.muster.camera(
            CameraState(camera, "drift", blind_since_ns=30 * S, reason="dark"), now_ns=30 * S
        )
    assert [] == tunnel.go(20, read("b")).said()
    for camera in ("cam1", "cam3"):
        tunnel.muster.camera(CameraState(camera, "drift"), now_ns=51 * S)
    assert [] == tunnel.go(20, read("b")).said()


def test_cards_and_people_from_before_the_box_listened_are_not_judged() -> None:
    """Where they began nobody knows."""
    tunnel = Tunnel(at=0, now_ns=0)
    assert [] == tunnel.go(60, read("b")).said()


def test_before_the_card_system_has_said_anything_nobody_lacks_a_card() -> None:
    """A box that starts beside a dead line names people and accuses nobody."""
    tunnel = Tunnel(now_ns=30 * S)
    for _ in range(59):
        tunnel.at += 1
        tunnel.events += tunnel.muster.identity(said("b", track="t2", at=tunnel.at))
        tunnel.events += tunnel.muster.tick(tunnel.at * S, NO_CLOCK)
    assert [] == tunnel.said()
    assert [("active", "face_without_card", "b", "no_card")] == tunnel.go(12, t2="b").said()


def test_silence_of_the_card_system_is_an_alarm_and_stops_the_comparison() -> None:
    """No readings say nothing about people; when they come again the count of time begins anew."""
    tunnel = Tunnel(now_ns=30 * S)
    tunnel.go(1, read("a"), t1="a")
    for _ in range(70):
        tunnel.at += 1
        tunnel.events += tunnel.muster.identity(said("b", track="t2", at=tunnel.at))
        tunnel.events += tunnel.muster.tick(tunnel.at * S, NO_CLOCK)
    alarms = [e.data["alarm"] for e in tunnel.events if e.kind == "alarm"]
    assert [("cards_silent", "active")] == [(a["id"], a["state"]) for a in alarms if isinstance(a, dict)]
    assert ("active", "face_without_card", "b", "no_card") in tunnel.said()  # before the silence was known
    tunnel.go(1)
    (alarm,) = [e.data["alarm"] for e in tunnel.events if e.kind == "alarm"]
    assert isinstance(alarm, dict)
    assert "cleared" == alarm["state"]


def test_zones_without_readers_and_zones_without_cameras_are_left_alone() -> None:
    """Cards are read in the shaft alone; nobody watches the far end."""
    rules = CardRules(**{**_fields(RULES), "zones": frozenset({"shaft", "far-end"})})
    tunnel = Tunnel(rules=rules).go(3, t1="a").go(15, read("b", "drift"), read("c", "far-end"))
    assert [] == tunnel.said()
    assert [("active", "card_without_face", "c", "no_face")] == tunnel.go(15, read("c", "shaft")).said()


def _fields(rules: CardRules) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in rules.__slots__}


def test_put_in_by_hand_is_no_face() -> None:
    """An operator's word shows nobody's card, and needs none."""
    tunnel = Tunnel()
    tunnel.muster.correct(Correction(what="inside", person_ref="b", zone="drift"), now_ns=31 * S)
    assert [] == tunnel.go(30).said()
    assert [("active", "card_without_face", "b", "no_face")] == tunnel.go(15, read("b")).said()


def test_alarms_of_an_earlier_run_end_when_they_do_not_hold() -> None:
    """Also where cards are no longer read at all."""
    for rules in (RULES, None):
        tunnel = Tunnel(
            rules=rules, standing_alarms=("several_cards.a", "several_faces.shaft", "cards_silent")
        )
        tunnel.go(1)
        found = {(e.data["reason"], e.zone) for e in tunnel.events}
        assert {("several_cards", "drift"), ("several_faces", "shaft"), ("cards_silent", None)} == found


def test_reading_flood_is_bounded_and_forgets_the_stalest_first() -> None:
    """A sender that invents cards fills no memory."""
    cards = Cards(rules=RULES, now_ns=0)
    cards.take((read(f"c{n}", at=n) for n in range(MAX_CARDS + 500)), now_ns=S)
    present = {visit.card for visit in cards.present(S)}
    assert MAX_CARDS == len(present)
    assert {"c0", "c499"}.isdisjoint(present)


def test_card_between_two_overlapping_readers_stays_where_it_began() -> None:
    """Back within the tolerance: the same visit; an older reading that comes late moves nothing."""
    cards = Cards(rules=RULES, now_ns=-100 * S)
    for at, zone in ((1, "drift"), (2, "shaft"), (3, "drift"), (2, "shaft")):
        cards.take([read("a", zone, at=at * S)], now_ns=3 * S)
    (visit,) = cards.present(4 * S)
    assert ("drift", 1 * S, 3 * S) == (visit.zone, visit.since_ns, visit.last_ns)


def test_zones_behind_portals_are_watched_by_their_camera() -> None:
    """The other side of a line, and an area."""
    gate = Portal(name="g", zone="in", beyond=None, line=((0, 0), (0, 1)), inside=(0.5, 0.5))
    room = Portal(name="r", zone="room", beyond="in", area=((0, 0), (1, 0), (1, 1)))
    assert {"cam": {"in", "room"}} == watched_zones({"cam": "in"}, {"cam": [gate, room]})


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_fits_the_schema_and_every_alarm_ends_once(seed: int) -> None:
    """A long random life: raised and cleared in turn, and all is well when everybody has gone."""
    rng = random.Random(seed)
    tunnel = Tunnel(forget_person_s=50.0, now_ns=0, at=0)
    names = ["a", "b", "c", None, ""]
    for _ in range(600):
        cards = [read(rng.choice("abcd"), rng.choice(("drift", "shaft")), gone=rng.random() < 0.1)]
        faces = {f"t{n}": rng.choice(names) for n in rng.sample(range(5), rng.randrange(3))}
        tunnel.go(1, *cards * (rng.random() < 0.7), camera=rng.choice(list(ZONES)), **faces)
    tunnel.go(300)
    context = EnvelopeContext(site="n", node="b", boot="0b7c5c3e-6a1f-4f5e-9f51-2f3c8a1d9e10")
    event_id = UUID(int=0x0197C1E49D217C3A8F215B1DE0A4C901)
    for event in tunnel.events:
        draft(event, event_id=event_id, wall=NO_CLOCK, context=context, now_ns=0)
    states = _states(tunnel.events)
    assert len(states) > 3
    for turns in states.values():
        assert ["active", "cleared"] * (len(turns) // 2) == turns


def _states(events: Iterable[Event]) -> dict[str, list[str]]:
    states: dict[str, list[str]] = {}
    for event in events:
        alarm = event.data.get("alarm")
        if event.kind == "card_check" and isinstance(alarm, dict):
            states.setdefault(alarm["id"], []).append(alarm["state"])
    return states


def test_one_face_whose_track_breaks_is_not_several() -> None:
    """One card, and one face after the other of the same person, named or not: never two in one picture."""
    cards = (read("a"),)
    assert [] == Tunnel().go(3, *cards, t1="a").go(3, *cards, t2="a").go(40, *cards).said()
    assert (
        [] == Tunnel().go(3, *cards, t1="a").go(1, *cards, t2="").go(2, *cards, t3="a").go(40, *cards).said()
    )
