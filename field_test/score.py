"""Scores what a box said against what was true, per face and per passage.

Definitions, printed with every table:

- a **face** is one face in one frame that is there to be seen: `Limits.min_px` wide at least, at most half
  covered by somebody nearer. Smaller and covered ones are counted apart, and never as misses;
- **miss** (the paper's "loss"): a face that no detection of the box covered (overlap of at least .3);
- what the box says about a face is the standing decision of the face's track in that frame;
- **precision**: names that are right among all names given. A stranger's name is always wrong;
- **undecided**: the box says so, or has not said anything yet;
- a **passage** counts with `Limits.min_faces` faces or more. Its answer is what its tracks ended with: wrong
  if one ends with a wrong name, else right, else unknown, else undecided, else missed (no track). A wrong
  name that was taken back is counted apart (`ever_wrong`);
- a **track** belongs to the passage with which it shares most frames;
- a frame of the truth that the box never gave (a clip that was cut short, a decoder's fault) has its faces
  missed, and is told;
- **switches**: how often the track of a passage changes (as in multi-object tracking), and how often a
  track goes over to somebody else's passage;
- **time to decision**: from a passage's first face to the first decision (a name, or unknown).
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_app.errors import ConfigError
from edge_app.records import Box

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from pathlib import Path

    from field_test.truth import FrameTruth, Passage, TrueFace, Truth

    Row = Mapping[str, Any]

_OVERLAP: Final = 0.3
_NS: Final = 1_000_000_000
#: Beside a passage, a track may stand so long before an empty tunnel is called empty (seconds).
_SLACK_S: Final = 1.0


class Headcount(NamedTuple):
    """One muster: seconds into the shot, who is truly inside, and what the box said with its bounds."""

    at: float
    true: int
    said: int
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Which faces and passages count; see the module."""

    min_px: float = 40.0
    max_hidden: float = 0.5
    min_faces: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceSeen:
    """One scored face: `said` is right, wrong, unknown, undecided or missed."""

    passage: str
    ref: str | None
    ash: str
    light: str
    pose: str
    px: float
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PassageSeen:
    """One scored passage; seconds are None for what never came."""

    passage: str
    ref: str | None
    who: str
    ash: str
    light: str
    faces: int
    missed: int
    answer: str
    ever_wrong: bool
    tracks: int
    switches: int
    decided_s: float | None
    named_s: float | None
    best_similarity: float | None
    said: tuple[str, ...] = ()


@dataclass(slots=True)
class Shot:
    """The scores of one shot."""

    name: str
    faces: list[FaceSeen] = field(default_factory=list)
    passages: list[PassageSeen] = field(default_factory=list)
    frames: int = 0
    lost_frames: int = 0
    empty_frames: int = 0
    names_in_empty: int = 0
    ghost_faces: int = 0
    ghost_tracks: int = 0
    ghosts_named: int = 0
    strays: int = 0
    far_faces: Counter[str] = field(default_factory=Counter)
    covered_faces: Counter[str] = field(default_factory=Counter)
    headcounts: list[Headcount] = field(default_factory=list)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects of a file, one a line.

    Raises:
        ConfigError: it is missing or broken.
    """
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", fix="run the shot again") from error


def match(true: Sequence[TrueFace], seen: Sequence[Row]) -> dict[int, int]:
    """Return which seen face covers which true one (index by index), the best overlaps first."""
    pairs = sorted(
        (
            (Box(*one.box).iou(Box(*other["box"])), t, s)
            for t, one in enumerate(true)
            for s, other in enumerate(seen)
        ),
        reverse=True,
    )
    taken: dict[int, int] = {}
    used: set[int] = set()
    for overlap, t, s in pairs:
        if overlap >= _OVERLAP and t not in taken and s not in used:
            taken[t] = s
            used.add(s)
    return taken


def said_of(decision: str | None, ref: str | None, truth: str | None) -> str:
    """Return right, wrong, unknown or undecided for a decision about `truth`."""
    if decision == "named":
        return "right" if ref == truth else "wrong"
    return "unknown" if decision == "unknown" else "undecided"


def score_shot(
    name: str, truth: Truth, trace: Iterable[Row], events: Iterable[Row], *, limits: Limits | None = None
) -> Shot:
    """Return a shot's scores.

    Args:
        name: of the shot.
        truth: what was there.
        trace: the box's faces, frame by frame (`field_test.box.Trace`), with its last line.
        events: bodies as they came from the broker.
        limits: which faces and passages count.
    """
    rows = [row for row in trace if "camera" in row]
    base_ns = next((row["base_ns"] for row in trace if "base_ns" in row), 0)
    board = _Board(name, truth, limits or Limits())
    for row in rows:
        board.frame(row)
    board.lost({(row["camera"], row["index"]) for row in rows})
    board.decide(list(events), base_ns)
    return board.shot


class _Board:
    """Collects what each frame says about passages and tracks, and then decides."""

    def __init__(self, name: str, truth: Truth, limits: Limits) -> None:
        self.shot = Shot(name)
        self._truth, self._limits = truth, limits
        self._light = {clip.camera: clip.light for clip in truth.clips}
        #: by (camera, track): how many frames with each passage, in the order in which they came
        self._shared: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._tracks_of: defaultdict[int, list[str]] = defaultdict(list)
        self._counted: defaultdict[int, list[tuple[float, str]]] = defaultdict(list)
        self._ghosts: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
        self._busy = {camera: _busy(truth, camera) for camera in self._light}

    def frame(self, row: Row) -> None:
        """Take in one frame of the trace."""
        true = self._truth.frames.get((row["camera"], row["index"]))
        if true is None:
            return
        self.shot.frames += 1
        matched = match(true.faces, row["faces"])
        for number, face in enumerate(true.faces):
            seen = row["faces"][matched[number]] if number in matched else None
            self._face(true, face, seen)
        loose = [face for s, face in enumerate(row["faces"]) if s not in matched.values()]
        for face in loose:
            self._ghosts[row["camera"], face["track"]].append(face)
        self.shot.ghost_faces += len(loose)
        if not true.present and not _near(self._busy[row["camera"]], true.t):
            self.shot.empty_frames += 1
            self.shot.names_in_empty += sum(face["decision"] == "named" for face in row["faces"])

    def lost(self, given: Container[tuple[str, int]]) -> None:
        """Count what the box did not see of frames that it never gave."""
        for key, true in self._truth.frames.items():
            if key not in given:
                self.shot.lost_frames += 1
                for face in true.faces:
                    self._face(true, face, None)

    def _face(self, frame: FrameTruth, face: TrueFace, seen: Row | None) -> None:
        passage = self._truth.passages[face.passage]
        if seen is not None:
            self._shared[frame.camera, seen["track"]].append(face.passage)
            if not self._tracks_of[face.passage] or self._tracks_of[face.passage][-1] != seen["track"]:
                self._tracks_of[face.passage].append(seen["track"])
        px = min(face.box[2], face.box[3])
        found = "missed" if seen is None else "found"
        if px < self._limits.min_px:
            self.shot.far_faces[found] += 1
        elif face.hidden > self._limits.max_hidden:
            self.shot.covered_faces[found] += 1
        else:
            said = "missed" if seen is None else said_of(seen["decision"], seen["ref"], passage.ref)
            self._counted[face.passage].append((frame.t, said))
            self.shot.faces.append(
                FaceSeen(
                    passage=self._key(passage), ref=passage.ref, ash=passage.ash,
                    light=self._light[passage.camera], pose=face.pose, px=px, said=said,
                )
            )  # fmt: skip

    def _key(self, passage: Passage) -> str:
        return f"{self.shot.name}/{passage.id}"

    def decide(self, events: list[Row], base_ns: int) -> None:
        """Give tracks to passages, and passages their answers."""
        sightings: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
        for body in sorted(events, key=lambda body: int(body["seq"])):
            if body["kind"] == "sighting":
                sightings[body["camera"], body["track"]].append(body)
        owner = {key: Counter(passages).most_common(1)[0][0] for key, passages in self._shared.items()}
        self.shot.strays = sum(
            sum(a != b for a, b in itertools.pairwise(shared)) for shared in self._shared.values()
        )
        own: defaultdict[int, list[list[Row]]] = defaultdict(list)
        for key, passage in owner.items():
            own[passage].append(sightings.get(key, []))
        for key in self._ghosts.keys() - owner.keys():
            self.shot.ghost_tracks += 1
            self.shot.ghosts_named += any(body["decision"] == "named" for body in sightings.get(key, []))
        for one in self._truth.passages.values():
            counted = self._counted[one.id]
            if len(counted) >= self._limits.min_faces:
                self.shot.passages.append(self._answer(one, counted, own[one.id], base_ns))
        self._headcounts(events, base_ns)

    def _answer(
        self, passage: Passage, counted: list[tuple[float, str]], own: list[list[Row]], base_ns: int
    ) -> PassageSeen:
        told = [body for sightings in own for body in sightings]
        ended = [said_of(s[-1]["decision"], s[-1].get("person_ref"), passage.ref) for s in own if s]
        answer = next(
            (one for one in ("wrong", "right", "unknown", "undecided") if one in ended),
            "undecided" if own else "missed",
        )
        wrong = any(said_of(b["decision"], b.get("person_ref"), passage.ref) == "wrong" for b in told)
        first = min(at for at, _ in counted)

        def after(wanted: tuple[str, ...]) -> float | None:
            moments = [(b["mono_ns"] - base_ns) / _NS for b in told if b["decision"] in wanted]
            return round(max(0.0, min(moments) - first), 3) if moments else None

        changes = max(0, len(self._tracks_of[passage.id]) - 1)
        return PassageSeen(
            passage=self._key(passage), ref=passage.ref, who=passage.who, ash=passage.ash,
            light=self._light[passage.camera], faces=len(counted),
            missed=sum(said == "missed" for _, said in counted), answer=answer, ever_wrong=wrong,
            tracks=len(own), switches=changes,
            decided_s=after(("named", "unknown")), named_s=after(("named",)),
            best_similarity=max((b["score"] for b in told if "score" in b), default=None),
            said=tuple(str(b.get("person_ref") or b["decision"]) for b in told),
        )  # fmt: skip

    def _headcounts(self, events: list[Row], base_ns: int) -> None:
        """Hold every muster's headcount against the people who have gone in and not come out."""
        if not any(clip.portal for clip in self._truth.clips):
            return
        ways = sorted(
            (passage.crossed_s, 1 if passage.way == "in" else -1)
            for passage in self._truth.passages.values()
            if passage.crossed_s is not None
        )
        for body in events:
            if body["kind"] == "muster":
                at = (body["mono_ns"] - base_ns) / _NS
                inside = sum(step for moment, step in ways if moment <= at)
                said, low, high = (int(body[key]) for key in ("headcount", "headcount_low", "headcount_high"))
                self.shot.headcounts.append(Headcount(round(at, 2), inside, said, low, high))


def _busy(truth: Truth, camera: str) -> list[tuple[float, float]]:
    return [(one.first_s, one.last_s) for one in truth.passages.values() if one.camera == camera]


def _near(busy: list[tuple[float, float]], at: float) -> bool:
    return any(first - _SLACK_S <= at <= last + _SLACK_S for first, last in busy)
