"""The ledger of claims."""

from __future__ import annotations

from edge_app.presence.ledger import Ledger
from edge_app.presence.place import Place


def place(track: str, *, zone: str = "z1", last: int = 10) -> Place:
    """Return a place seen by the camera of the test."""
    return Place(zone=zone, camera="cam", track=track, first_seen_ns=1, last_seen_ns=last, score=0.5)


def test_newest_claim_is_where_a_person_is() -> None:
    """By the last sight, not by the order of claiming."""
    ledger = Ledger()
    assert None is ledger.claim("a", place("t1", zone="z1", last=50))
    before = ledger.claim("a", place("t2", zone="z2", last=20))
    assert ("t1", 50) == (before.track, before.last_seen_ns) if before else None
    assert ["z1"] == [person.zone for person in ledger.people()]


def test_withdrawing_the_only_claim_removes_the_person() -> None:
    """Also when it is withdrawn twice."""
    ledger = Ledger()
    ledger.claim("a", place("t1"))
    assert (None, None) == (ledger.withdraw("a", ("cam", "t1")), ledger.withdraw("a", ("cam", "t1")))
    assert () == ledger.people()


def test_only_a_few_old_claims_are_kept() -> None:
    """Memory does not grow with the tracks of a shift; the newest ones stay."""
    ledger = Ledger()
    for number in range(1000):
        ledger.claim("a", place(f"t{number}", last=number))
    kept = []
    for number in range(999, -1, -1):
        if not ledger.people():
            break
        kept.append(number)
        ledger.withdraw("a", ("cam", f"t{number}"))
    assert [999, 998, 997, 996] == kept


def test_time_never_runs_back() -> None:
    """An older frame of another camera does not make a person older."""
    ledger = Ledger()
    ledger.claim("a", place("t1", last=50))
    ledger.still_there("a", ("cam", "t1"), 40)
    assert [50] == [person.last_seen_ns for person in ledger.people()]
