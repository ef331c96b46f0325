"""Whether the box said the right things about a clip: its events against the ground truth.

A track belongs to the passage with which it shares most of its time; a track that shares none stood
in an empty tunnel. The daemon's first event marks the time at which the clip began, to within the
slack that opening a file takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from field_test.tunnel import Passage, Truth

#: A track may begin and end so much (seconds) beside its passage.
SLACK_S: Final = 0.7
_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Said:
    """What the box said about one track: from when to when (seconds of the clip), and every decision."""

    track: str
    first_s: float
    last_s: float
    decisions: tuple[str, ...]
    refs: tuple[str, ...]
    score: float | None

    @property
    def final(self) -> str:
        """The last decision, or the reference of the person that it names."""
        return self.refs[-1] if self.decisions[-1] == "named" else self.decisions[-1]


@dataclass(frozen=True, slots=True)
class Check:
    """One question about the run, its answer, and what it rests on."""

    question: str
    passed: bool
    because: str


def tracks_of(events: Iterable[Mapping[str, Any]]) -> list[Said]:
    """Return what was said about each track, in the order of their beginning.

    Raises:
        ValueError: the events have no beginning (``box_start``).
    """
    known = sorted(events, key=lambda body: int(body["seq"]))
    starts = [body["mono_ns"] for body in known if body["kind"] == "box_start"]
    if not starts:
        msg = "no box_start among the events: the subscriber missed the daemon's beginning"
        raise ValueError(msg)
    by_track: dict[str, list[Mapping[str, Any]]] = {}
    for body in known:
        if body["kind"] == "sighting":
            by_track.setdefault(str(body["track"]), []).append(body)
    tracks = [
        Said(
            track=track,
            first_s=(sightings[0]["first_seen_ns"] - starts[0]) / _NS_PER_S,
            last_s=(sightings[-1]["mono_ns"] - starts[0]) / _NS_PER_S,
            decisions=tuple(str(body["decision"]) for body in sightings),
            refs=tuple(str(body["person_ref"]) for body in sightings if body["decision"] == "named"),
            score=max((float(body["score"]) for body in sightings if "score" in body), default=None),
        )
        for track, sightings in by_track.items()
    ]
    return sorted(tracks, key=lambda said: said.first_s)


def passage_of(said: Said, truth: Truth) -> Passage | None:
    """Return the passage with which a track shares most time, None for one in the empty tunnel."""

    def shared(passage: Passage) -> float:
        first, last = passage.first / truth.fps - SLACK_S, passage.last / truth.fps + SLACK_S
        return min(said.last_s, last) - max(said.first_s, first)

    best = max(truth.passages, key=shared, default=None)
    return best if best is not None and shared(best) >= 0 else None


def judge(events: Iterable[Mapping[str, Any]], truth: Truth, refs: Mapping[str, str]) -> list[Check]:
    """Return the demo's three questions with their answers.

    Args:
        events: bodies as they came from the broker.
        truth: of the clip that the daemon saw.
        refs: reference by name for those of the ground truth who are registered.

    Raises:
        ValueError: the events have no beginning.
    """
    tracks = tracks_of(events)
    checks = []
    for passage in truth.passages:
        seen = [said for said in tracks if passage_of(said, truth) is passage]
        told = "; ".join(f"track {said.track}: {' > '.join(said.decisions)} -> {said.final}" for said in seen)
        named = {ref for said in seen for ref in said.refs}
        if passage.who in refs:
            right = named == {refs[passage.who]} and any(said.final == refs[passage.who] for said in seen)
            checks.append(
                Check(f"{passage.who} (registered) is named, and nobody else", right, told or "no track")
            )
        else:
            unknown = not named and any(said.final == "unknown" for said in seen)
            checks.append(Check(f"{passage.who} (a stranger) is called unknown", unknown, told or "no track"))
    nobody = [said for said in tracks if passage_of(said, truth) is None]
    named_there = [said.track for said in nobody if said.refs]
    because = f"named there: {', '.join(named_there)}" if named_there else f"{len(nobody)} tracks, none named"
    checks.append(Check("nobody is named in the empty tunnel", not named_there, because))
    return checks
