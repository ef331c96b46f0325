"""Who went out without being known to be inside, and what the count and the muster make of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_app.delivery.retained import muster_fields
from edge_app.presence.corrections import Correction
from edge_app.presence.muster import Muster
from edge_app.presence.portals import Portal
from edge_app.records import Decision, HeadCount
from tests.presence.test_muster import GATE, ZONES, S, frame, said, template, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from edge_app.presence.store import Kept
    from edge_app.records import Event

#: Three people who are nothing like each other, and what each looks like at another time.
ANN, BOB, CAT = template(0.9), template(0.0, 0.9), template(0.0, 0.0, 0.9)
ANN_LATER, BOB_LATER = template(0.5, 0.1), template(0.1, 0.5)


class Gate:
    """The gate to the drift, with people who go through it, each a minute after the one before."""

    def __init__(self, kept: Kept | None = None, portals: Sequence[Portal] = (GATE,)) -> None:
        self.muster = Muster(zones=ZONES, portals={"cam1": portals}, forget_unknown_s=30.0, kept=kept)
        self.at, self._tracks = 0.0, 0

    def walk(
        self, *xs: float, who: str | None, look: npt.NDArray[np.float32] | None, camera: str = "cam1"
    ) -> list[Event]:
        """Let somebody go from x to x; what they are called is decided at the first."""
        self.at, self._tracks = self.at + 60, self._tracks + 1
        track, made = f"t{self._tracks}", []
        for step, x in enumerate(xs):
            made += self.muster.see(frame(self.at + step, camera=camera, **{track: x}))
            if step == 0:
                score = 0.7 if who else 0.1
                made += self.muster.identity(
                    said(who, track=track, camera=camera, at=self.at, template=look, score=score)
                )
        self.muster.ended(camera, track)
        return made

    def enters(self, who: str | None, look: npt.NDArray[np.float32] | None) -> list[Event]:
        """Let somebody go in."""
        return self.walk(0.2, 0.8, who=who, look=look)

    def leaves(self, who: str | None, look: npt.NDArray[np.float32] | None) -> list[Event]:
        """Let somebody go out."""
        return self.walk(0.8, 0.2, who=who, look=look)

    @property
    def count(self) -> HeadCount:
        """How many are inside."""
        found = self.muster.snapshot(int(self.at * S) + 10 * S).count
        assert found is not None
        return found

    @property
    def muster_says(self) -> dict[str | None, bool]:
        """Everybody in the muster, and whether they have perhaps left."""
        snapshot = self.muster.snapshot(int(self.at * S) + 10 * S)
        return {
            one.person_ref: one.perhaps_left_ns is not None for one in (*snapshot.people, *snapshot.unknown)
        }


@pytest.fixture
def gate() -> Gate:
    """Return the gate with Ann and Bob inside, by name."""
    gate = Gate()
    gate.enters("ann", ANN)
    gate.enters("bob", BOB)
    return gate


def test_who_leaves_unrecognised_is_one_fewer_and_no_name_goes(gate: Gate) -> None:
    """The most alike has perhaps left: in the muster and in the upper bound, not in the count."""
    (_, _, left) = gate.leaves(None, BOB_LATER)
    assert ("left", 1, 1, 2) == tuple(
        left.data[key] for key in ("change", "headcount", "headcount_low", "headcount_high")
    )
    assert {"ann": False, "bob": True} == gate.muster_says
    assert HeadCount(1, 1, 2) == gate.count


def test_muster_says_how_long_ago_somebody_has_perhaps_left(gate: Gate) -> None:
    """In milliseconds, of that person alone; the muster's headcount is the count, not its rows."""
    gate.leaves(None, BOB_LATER)
    fields = muster_fields(gate.muster.snapshot(int(gate.at * S) + 10 * S))
    assert {"ann": None, "bob": 10_000} == {
        row["person_ref"]: row.get("perhaps_left_ms") for row in fields["people"]
    }
    assert (1, 2) == (fields["headcount"], fields["headcount_high"])


def test_who_has_perhaps_left_and_comes_in_again_had_left(gate: Gate) -> None:
    """Named before the gate or only behind it: one more inside than before."""
    gate.leaves(None, BOB_LATER)
    gate.enters("bob", BOB)
    assert ({"ann": False, "bob": False}, HeadCount(2, 2, 2)) == (gate.muster_says, gate.count)


def test_who_is_named_only_behind_the_gate_had_left_as_well(gate: Gate) -> None:
    """The crossing says where they came from."""
    gate.leaves(None, BOB_LATER)
    gate.muster.see(frame(300, t9=0.2))
    gate.muster.see(frame(301, t9=0.8))
    gate.muster.identity(said("bob", track="t9", at=302, first=300, template=BOB))
    gate.at = 310
    assert ({"ann": False, "bob": False}, HeadCount(2, 2, 2)) == (gate.muster_says, gate.count)


def test_who_has_perhaps_left_and_is_seen_inside_was_another(gate: Gate) -> None:
    """Bob is seen inside by name: then it was Ann who left."""
    gate.leaves(None, BOB_LATER)
    gate.walk(0.9, who="bob", look=BOB, camera="cam3")
    assert ({"ann": True, "bob": False}, HeadCount(1, 1, 2)) == (gate.muster_says, gate.count)


def test_who_has_perhaps_left_and_leaves_by_name_was_another(gate: Gate) -> None:
    """Two have left; the one who is still in the muster may be one of them."""
    gate.leaves(None, BOB_LATER)
    gate.leaves("bob", BOB)
    assert ({"ann": True}, HeadCount(0, 0, 1)) == (gate.muster_says, gate.count)


def test_who_is_seen_outside_explains_the_departure_of_another(gate: Gate) -> None:
    """Ann is outside, whom no camera saw leave by name: the leaver was her, and Bob counts again."""
    gate.leaves(None, BOB_LATER)
    gate.walk(0.1, who="ann", look=ANN)
    assert ({"bob": False}, HeadCount(1, 1, 1)) == (gate.muster_says, gate.count)


def test_leaver_is_most_like_a_stranger_or_somebody_with_a_name(gate: Gate) -> None:
    """A stranger is not gone because they are a stranger."""
    gate.enters(None, CAT)
    gate.leaves(None, ANN_LATER)
    assert ({"ann": True, "bob": False, None: False}, HeadCount(2, 2, 3)) == (gate.muster_says, gate.count)
    gate.leaves(None, CAT)
    assert {"ann": True, "bob": False} == gate.muster_says


def test_stranger_who_was_taken_for_the_leaver_counts_again(gate: Gate) -> None:
    """Ann left and nobody saw her face; she is seen outside, so the stranger is still in there."""
    gate.enters(None, CAT)
    gate.leaves(None, None)
    assert {"ann": False, "bob": False} == gate.muster_says
    gate.enters("ann", ANN)
    assert ({"ann": False, "bob": False, None: False}, 3) == (gate.muster_says, gate.count.best)


def test_who_has_perhaps_left_and_came_in_unrecognised_is_one_person(gate: Gate) -> None:
    """Bob left, came in as a stranger and is named on the way out: he had left, and has left."""
    gate.leaves(None, BOB_LATER)
    gate.enters("cat", CAT)
    gate.enters(None, BOB_LATER)
    assert 3 == gate.count.best
    gate.leaves("bob", BOB)
    assert ({"ann": False, "cat": False}, HeadCount(2, 2, 2)) == (gate.muster_says, gate.count)


def test_stranger_whom_the_box_remembers_from_outside_was_not_known_inside(gate: Gate) -> None:
    """Somebody left as a stranger, and again: two have left."""
    gate.leaves(None, CAT)
    gate.leaves(None, CAT)
    assert HeadCount(0, 0, 2) == gate.count


def test_unknown_who_left_and_is_named_then_is_one_departure(gate: Gate) -> None:
    """Ann was marked for them, and it was Bob."""
    gate.muster.see(frame(300, t9=0.8))
    gate.muster.identity(said(None, track="t9", at=300, template=ANN_LATER, score=0.1))
    gate.muster.see(frame(301, t9=0.2))
    gate.muster.identity(said("bob", track="t9", at=302, first=300, revised=1, template=BOB))
    gate.at = 310
    assert ({"ann": False}, HeadCount(1, 1, 1)) == (gate.muster_says, gate.count)


def test_stranger_known_inside_who_left_and_is_named_then_is_one_departure(gate: Gate) -> None:
    """Cat came in unknown, left as the same unknown, and is named then: the other stranger stays."""
    gate.enters(None, CAT)
    gate.enters(None, template(0.0, 0.0, 0.0, 0.9))
    gate.muster.see(frame(300, t9=0.8))
    gate.muster.identity(said(None, track="t9", at=300, template=CAT, score=0.1))
    gate.muster.see(frame(301, t9=0.2))
    gate.muster.identity(said("cat", track="t9", at=302, first=300, revised=1, template=CAT))
    gate.at = 310
    assert ({"ann": False, "bob": False, None: False}, 3) == (gate.muster_says, gate.count.best)


def test_stranger_known_inside_who_is_named_and_leaves_then_is_one_departure(gate: Gate) -> None:
    """The name came before the line: the other stranger stays all the same."""
    gate.enters(None, CAT)
    gate.enters(None, template(0.0, 0.0, 0.0, 0.9))
    gate.muster.see(frame(300, t9=0.8))
    gate.muster.identity(said(None, track="t9", at=300, template=CAT, score=0.1))
    gate.muster.identity(said("cat", track="t9", at=301, first=300, revised=1, template=CAT))
    gate.muster.see(frame(302, t9=0.2))
    gate.at = 310
    assert ({"ann": False, "bob": False, None: False}, 3) == (gate.muster_says, gate.count.best)


def test_stranger_within_who_is_named_takes_no_other_stranger_along(gate: Gate) -> None:
    """Known inside as a stranger, and named by a camera there: as many as before."""
    gate.enters(None, CAT)
    gate.enters(None, template(0.0, 0.0, -0.1))
    gate.muster.identity(said(None, track="t9", camera="cam3", at=300, template=CAT, score=0.1))
    gate.muster.identity(said("cat", track="t9", camera="cam3", at=301, first=300, revised=1, template=CAT))
    gate.at = 310
    assert 4 == gate.count.best


def test_stranger_who_is_taken_for_somebody_inside_by_name_is_still_there(gate: Gate) -> None:
    """A track looked like the stranger, left, and was Ann: the stranger has not left."""
    gate.enters(None, CAT)
    gate.muster.see(frame(300, t9=0.8))
    gate.muster.identity(said(None, track="t9", at=300, template=CAT, score=0.1))
    gate.muster.see(frame(301, t9=0.2))
    gate.muster.identity(said("ann", track="t9", at=302, first=300, revised=1, template=ANN))
    gate.at = 310
    assert ({"bob": False, None: False}, 2) == (gate.muster_says, gate.count.best)


def test_who_turns_around_in_the_gate_takes_nobody_along(gate: Gate) -> None:
    """In and out again as one track: nobody who was inside has left."""
    gate.walk(0.2, 0.8, 0.2, who=None, look=CAT)
    assert HeadCount(2, 2, 2) == gate.count
    gate.walk(0.2, 0.8, 0.2, who="cat", look=CAT)
    assert HeadCount(2, 2, 2) == gate.count


def test_who_goes_through_two_gates_at_once_takes_nobody_along() -> None:
    """From outside over the line into the room within, from one frame to the next."""
    room = Portal(
        name="room", zone="room", beyond="drift", area=((0.7, 0.1), (0.9, 0.1), (0.9, 0.9), (0.7, 0.9))
    )
    gate = Gate(portals=[GATE, room])
    gate.walk(0.2, 0.6, who="ann", look=ANN)
    gate.walk(0.2, 0.8, who="bob", look=BOB)
    gate.walk(0.2, 0.8, who=None, look=CAT)
    assert HeadCount(3, 3, 3) == gate.count


def test_who_is_named_inside_and_goes_out_leaves_the_others_there(gate: Gate) -> None:
    """Two strangers are in; one of them is named on the way out: the other stays."""
    gate.enters(None, CAT)
    gate.enters(None, template(0.0, 0.0, 0.0, 0.9))
    gate.leaves("cat", template(0.1, 0.0, 0.6))
    assert ({"ann": False, "bob": False, None: False}, 3) == (gate.muster_says, gate.count.best)


def test_guess_that_was_explained_explains_nothing_more(gate: Gate) -> None:
    """Bob left and came in again. Then somebody left who was like Cat; it was Ann, who is outside."""
    gate.enters("cat", CAT)
    gate.leaves(None, BOB_LATER)
    gate.enters("bob", BOB)
    gate.leaves(None, template(0.0, 0.0, 0.5))
    assert {"ann": False, "bob": False, "cat": True} == gate.muster_says
    gate.walk(0.1, who="ann", look=ANN)
    assert ({"bob": False, "cat": False}, HeadCount(2, 2, 2)) == (gate.muster_says, gate.count)


def test_who_is_named_inside_is_the_stranger_who_came_in(gate: Gate) -> None:
    """Not recognised at the gate, named by a camera within: one person, if they are alike."""
    gate.enters(None, CAT)
    gate.walk(0.5, who="cat", look=template(0.1, 0.0, 0.6), camera="cam3")
    assert ({"ann": False, "bob": False, "cat": False}, 3) == (gate.muster_says, gate.count.best)


def test_stranger_who_has_a_name_by_now_does_not_come_back(gate: Gate) -> None:
    """Whoever else is seen outside then is one fewer."""
    gate.enters(None, CAT)
    gate.walk(0.5, who="cat", look=template(0.1, 0.0, 0.6), camera="cam3")
    gate.walk(0.1, who="ann", look=ANN)
    assert ({"bob": False, "cat": False}, 2) == (gate.muster_says, gate.count.best)


def test_name_that_was_a_mistake_marks_nobody_twice(gate: Gate) -> None:
    """Bob is marked; somebody inside is called Bob for a moment, so Ann is; one has left all the same."""
    gate.leaves(None, BOB_LATER)
    gate.muster.identity(said("bob", track="t9", camera="cam3", at=300, template=BOB))
    gate.muster.identity(said("cat", track="t9", camera="cam3", at=301, first=300, revised=1, template=CAT))
    gate.at = 310
    assert ({"ann": True, "bob": False, "cat": False}, 2) == (gate.muster_says, gate.count.best)


def test_who_is_named_inside_and_like_no_stranger_is_one_more(gate: Gate) -> None:
    """They have come in another way."""
    gate.enters(None, CAT)
    gate.walk(0.5, who="dan", look=template(0.0, 0.0, 0.0, 0.9), camera="cam3")
    assert 4 == gate.count.best


def test_who_leaves_by_a_name_that_is_not_inside_is_one_fewer(gate: Gate) -> None:
    """Cat came in unrecognised, and was taken for the leaver when Bob left so: now Bob has perhaps left."""
    gate.enters(None, template(0.0, 0.6, 0.5))
    gate.leaves(None, BOB)
    assert ({"ann": False, "bob": False}, 2) == (gate.muster_says, gate.count.best)
    gate.leaves("cat", template(0.0, 0.4, 0.9))
    assert ({"ann": False, "bob": True}, HeadCount(1, 1, 2)) == (gate.muster_says, gate.count)


def test_stranger_within_may_be_somebody_who_came_in_by_name(gate: Gate) -> None:
    """A camera inside does not recognise Bob: the lower bound must not count him twice."""
    gate.walk(0.8, 0.7, who=None, look=CAT)
    assert HeadCount(3, 2, 3) == gate.count


def test_patch_of_light_that_was_twice_a_face_takes_nobody_through_a_gate(gate: Gate) -> None:
    """A glare between two lamps: sure on either side of the line once, and a dozen times not."""
    gate.muster.see(frame(300.0, t9=0.8))
    gate.muster.see(frame(301.0, t9=0.2))
    for step in range(10):
        gate.muster.see(frame(302.0 + step, score=0.2, t9=0.2))
    base = said(None, track="t9", at=313.0, first=300.0, final=True)
    gate.muster.identity(replace(base, decision=Decision.UNDECIDED))
    gate.muster.ended("cam1", "t9")
    gate.at = 320
    assert HeadCount(2, 2, 2) == gate.count


def test_who_was_inside_before_the_box_and_leaves_by_name_takes_nobody_along(gate: Gate) -> None:
    """Cat is like nobody inside, and no leaver was taken for a stranger: she was never counted."""
    gate.leaves("cat", CAT)
    assert ({"ann": False, "bob": False}, HeadCount(2, 2, 2)) == (gate.muster_says, gate.count)


def test_who_came_in_by_another_name_and_leaves_by_their_own_is_one_fewer(gate: Gate) -> None:
    """It was Bob's twin who was called Bob: Bob has perhaps left."""
    gate.leaves("twin", BOB_LATER)
    assert ({"ann": False, "bob": True}, HeadCount(1, 1, 2)) == (gate.muster_says, gate.count)


def test_undecided_face_that_crosses_counts_though_it_was_called_so_before(gate: Gate) -> None:
    """Nobody knows who, said once on the way and again at the end: there is one fewer inside all the same."""
    base = said(None, track="t9", at=300.0, first=300.0, template=BOB_LATER, score=0.1)
    undecided = replace(base, decision=Decision.UNDECIDED)
    gate.muster.see(frame(300.0, t9=0.8))
    gate.muster.identity(undecided)
    gate.muster.see(frame(301.0, t9=0.2))
    end = replace(undecided, mono_ns=302 * S, final=True)
    assert ["left"] == [event.data["change"] for event in gate.muster.identity(end)[1:]]
    gate.muster.ended("cam1", "t9")
    gate.at = 310
    assert ({"ann": False, "bob": True}, HeadCount(1, 1, 2)) == (gate.muster_says, gate.count)


def test_nobody_is_marked_twice(gate: Gate) -> None:
    """Two leave looking like Bob: both are out, and a third takes nobody along."""
    for _ in range(2):
        gate.leaves(None, BOB_LATER)
    assert ({"ann": True, "bob": True}, HeadCount(0, 0, 2)) == (gate.muster_says, gate.count)
    assert "headcount" in gate.leaves(None, BOB_LATER)[-1].data
    assert HeadCount(0, 0, 2) == gate.count


def test_leaver_whose_name_comes_behind_the_gate_is_told(gate: Gate) -> None:
    """Unknown when their track ends: a ``left`` with the portal and the zone."""
    gate.muster.see(frame(300, t9=0.8))
    gate.muster.see(frame(301, t9=0.2))
    events = gate.muster.identity(said(None, track="t9", at=302, first=300, final=True, score=0.1))
    assert ("presence", "left", None) == told(events)[1]
    assert ("drift", "gate", 1) == tuple(
        events[1].data[key] for key in ("previous_zone", "portal", "headcount")
    )


def test_mark_survives_a_restart(gate: Gate) -> None:
    """And what is seen then still explains it, though no face of before is known any more."""
    gate.leaves(None, BOB_LATER)
    again = Gate(gate.muster.kept())
    again.at = gate.at
    assert ({"ann": False, "bob": True}, HeadCount(1, 1, 2)) == (again.muster_says, again.count)
    again.walk(0.9, who="bob", look=BOB, camera="cam3")
    assert ({"ann": True, "bob": False}, 1) == (again.muster_says, again.count.best)


def test_operator_says_who_left(gate: Gate) -> None:
    """Bob is marked. That he has left changes the muster alone; that he is inside marks Ann."""
    gate.leaves(None, BOB_LATER)
    now_ns = int(gate.at * S) + 5 * S
    gate.muster.correct(Correction(what="inside", person_ref="bob", zone="drift"), now_ns=now_ns)
    assert ({"ann": True, "bob": False}, 1) == (gate.muster_says, gate.count.best)
    gate.muster.correct(Correction(what="left", person_ref="ann"), now_ns=now_ns + S)
    assert ({"bob": False}, HeadCount(1, 1, 1)) == (gate.muster_says, gate.count)


@pytest.mark.parametrize("seed", range(5))
def test_count_is_exact_through_a_life_of_comings_and_goings(seed: int) -> None:
    """Eight people, six registered, named or not, early, late, revised or never; none by a wrong name."""
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(8, 64))
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    muster = Muster(zones=ZONES, portals={"cam1": [GATE]}, forget_unknown_s=30.0)
    inside: list[int] = []
    outside = list(range(8))
    for number in range(120):
        at, track = 30 * number, f"t{number}"
        enters = bool(outside) and len(inside) < 5 and (not inside or rng.random() < 0.5)
        source, sink = (outside, inside) if enters else (inside, outside)
        person = source.pop(int(rng.integers(len(source))))
        sink.append(person)
        seen = looks[person] + rng.normal(size=64) * 0.1
        look = (seen / np.linalg.norm(seen)).astype(np.float32)
        name = f"p{person}" if person < 6 and rng.random() < 0.7 else None
        early, late = [
            ((name,), ()), ((), (name,)), ((None, name), ()), ((None,), (name,)), ((), ("",)),
        ][rng.choice(5, p=[0.7, 0.1, 0.08, 0.08, 0.04])]  # fmt: skip
        before, after = (0.2, 0.8) if enters else (0.8, 0.2)
        muster.see(frame(at, **{track: before}))
        for who in early:
            muster.identity(said(who, track=track, at=at, template=look, threshold=0.5, score=0.1))
        muster.see(frame(at + 1, **{track: after}))
        for who in late:
            final = who == ""
            muster.identity(
                said(
                    who,
                    track=track,
                    at=at + 2,
                    first=at,
                    template=look,
                    threshold=0.5,
                    score=0.1,
                    final=final,
                )
            )
        muster.ended("cam1", track)
        assert len(inside) == muster.snapshot((at + 10) * S).headcount
