"""What the views of one track say together: a bounded window, and the rules of the decision.

Every usable view is an embedding with a weight, its quality. Over the last views (a bounded number,
none older than the window) each person's evidence is the similarity of the pooled views to them: the
same whatever the order in which the views came. `verdict` turns it into a decision with the bars that
fit: plain ones for a first decision, lower ones to keep what was decided, higher ones to change it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.identity.match import two_best
from edge_app.records import Decision, Rejection

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_app.identity.match import Matcher
    from edge_app.records import Embedding


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteOptions:
    """How views become a decision. Similarities are cosines; weights are `Quality.score`, 0..1.

    Attributes:
        margin: lead over the second best person that a name needs.
        min_views: views that any decision needs.
        min_weight: sum of their weights that any decision needs.
        unknown_views: views that "unknown" needs while the track goes on: most people come closer
            and are recognised then, and an unknown person is an alarm.
        window_views: how many of the latest views count. Few: a head turns while it passes, and a second in
            which it shows itself well must not be averaged with those in which it does not (docs/people.md).
        window_s: how old a view may be, seconds.
        change_gain: what is added to threshold and margin before a decision is changed, as a share of
            what lies between the threshold and 1 (models differ in how far they spread faces).
        keep_slack: how far below the threshold the named person may fall and stay named; same unit.
        change_patience: consecutive views that must ask for a change; four times as many with every change
            of the track, up to `max_patience`.
        max_patience: see there.
        reembed_ms: how often a decided track is looked at again.
        better_quality: a view this many times better than the best so far is looked at at once.
        explain_after_s: when a track without decision is reported as undecided, with the reason.
    """

    margin: float = 0.05
    min_views: int = 3
    min_weight: float = 0.5
    unknown_views: int = 6
    window_views: int = 6
    window_s: float = 10.0
    change_gain: float = 0.05
    keep_slack: float = 0.17
    change_patience: int = 2
    max_patience: int = 48
    reembed_ms: int = 400
    better_quality: float = 1.3
    explain_after_s: float = 3.0

    @classmethod
    def for_views(cls, min_views: int, *, margin: float, reembed_ms: int) -> VoteOptions:
        """Return options for a configured number of views, the other numbers of views in proportion."""
        return cls(
            margin=margin,
            min_views=min_views,
            unknown_views=2 * min_views,
            window_views=2 * min_views,
            reembed_ms=reembed_ms,
        )

    def __post_init__(self) -> None:
        """Refuse numbers with which no decision could ever be made, or none be kept."""
        positive = ("min_views", "change_patience", "window_s", "explain_after_s")
        not_negative = ("margin", "min_weight", "change_gain", "keep_slack", "reembed_ms")
        wrong = [name for name in positive if getattr(self, name) <= 0]
        wrong += [name for name in not_negative if getattr(self, name) < 0]
        if wrong:
            msg = f"too small: {', '.join(f'{name}={getattr(self, name)}' for name in wrong)}"
            raise ValueError(msg)
        if not self.min_views <= self.unknown_views <= self.window_views:
            msg = (
                "need min_views <= unknown_views <= window_views; received"
                f" {self.min_views}, {self.unknown_views}, {self.window_views}"
            )
            raise ValueError(msg)
        if self.max_patience < self.change_patience or self.better_quality < 1:
            msg = "need max_patience >= change_patience and better_quality >= 1"
            raise ValueError(msg)


#: Views that cancel each other out have no direction to compare.
_SHORTEST: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and its numbers; `score` and `margin` are those of the nearest, or the named, person."""

    decision: Decision
    person_ref: str | None
    reason: Rejection | None
    score: float | None
    margin: float | None

    @property
    def says(self) -> tuple[Decision, str | None]:
        """What is decided, without its numbers."""
        return self.decision, self.person_ref


@dataclass(frozen=True, slots=True)
class _View:
    embedding: Embedding
    weight: float
    mono_ns: int


class Evidence:
    """The window of one track's views."""

    def __init__(self, options: VoteOptions) -> None:
        self._options = options
        self._views: deque[_View] = deque(maxlen=options.window_views)
        self._matcher: Matcher | None = None

    def __len__(self) -> int:
        return len(self._views)

    @property
    def weight(self) -> float:
        """Sum of the views' weights."""
        return sum(view.weight for view in self._views)

    @property
    def best_weight(self) -> float:
        """The best view's weight; 0 without views."""
        return max((view.weight for view in self._views), default=0.0)

    def add(self, embedding: Embedding, *, weight: float, mono_ns: int, matcher: Matcher) -> None:
        """Take in one view.

        Raises:
            GalleryError: another model made the embedding than the register's.
        """
        self.follow(matcher)
        matcher.check(embedding)
        self._views.append(_View(embedding, weight, mono_ns))
        oldest = mono_ns - int(self._options.window_s * 1e9)
        while self._views[0].mono_ns < oldest:
            self._views.popleft()

    def follow(self, matcher: Matcher) -> bool:
        """Compare the window with `matcher` if it is another than before; returns whether it was."""
        if matcher is self._matcher:
            return False
        for view in self._views:
            matcher.check(view.embedding)
        self._matcher = matcher
        return True

    def likeness(self) -> npt.NDArray[np.float32]:
        """Return the similarity of the pooled views to each person, (P,) float32; zeros without any weight.

        The views are pooled as embeddings, weighted by their quality, and made a unit vector again: what
        dust and noise did to single views cancels out, what they share stays. Measured on development people
        (five simulated views a passage, one false name in 200 strangers), it names twice as many as the
        mean of the views' similarities at the same threshold: see `docs/training.md`.
        """
        if self._matcher is None:
            return np.zeros(0, np.float32)
        pooled = self.template()
        return (
            np.zeros(len(self._matcher.refs), np.float32)
            if pooled is None
            else self._matcher.scores_of(pooled)
        )

    def forget(self) -> None:
        """Drop all views: they may have been another person's."""
        self._views.clear()

    def template(self) -> npt.NDArray[np.float32] | None:
        """Return the weighted mean of the views' embeddings, (D,) of unit length; None without any."""
        if not self._views:
            return None
        total = np.sum([view.weight * view.embedding.vector for view in self._views], axis=0)
        norm = float(np.linalg.norm(total))
        return (total / norm).astype(np.float32) if norm > _SHORTEST * self.weight else None

    def verdict(self, *, current: Verdict | None, ended: bool = False) -> Verdict:
        """Return what the window says.

        Args:
            current: what is decided now, None if nothing is.
            ended: no further view will come: "unknown" needs no more views than a name.
        """
        options, alike = self._options, self.likeness()
        best, second = two_best(alike) if len(self) else (None, None)
        enough = len(self) >= options.min_views and self.weight >= options.min_weight
        leader = None if best is None or self._matcher is None else self._matcher.refs[best]
        standing = _Standing(
            person_ref=leader,
            score=None if best is None else float(alike[best]),
            lead=None if best is None or second is None else float(alike[best] - alike[second]),
            threshold=0.0 if self._matcher is None else self._matcher.bar_of(leader),
            strict=1.0 if self._matcher is None else self._matcher.lead_of(leader),
            enough=enough,
            enough_for_unknown=enough and (ended or len(self) >= options.unknown_views),
        )
        if current is None or current.decision is Decision.UNDECIDED:
            return _first(standing, options)
        if not len(self):
            return current
        return _revised(standing, options, current)


@dataclass(frozen=True, slots=True)
class _Standing:
    """Who leads, by how much, and whether there is enough to decide."""

    person_ref: str | None
    score: float | None
    lead: float | None
    threshold: float
    strict: float
    enough: bool
    enough_for_unknown: bool

    def passes(self, threshold: float, margin: float) -> bool:
        """Return whether the leader has this similarity and this lead (more, if they have a look-alike)."""
        return (
            self.score is not None
            and self.score >= threshold
            and (self.lead is None or self.lead >= margin * self.strict)
        )

    @property
    def doubt(self) -> Rejection:
        """Why somebody who is similar enough is not named: a look-alike is registered, or too little lead."""
        return Rejection.LOOK_ALIKE if self.strict > 1.0 else Rejection.AMBIGUOUS

    def named(self) -> Verdict:
        """Return the leader as the one who is named."""
        return Verdict(Decision.NAMED, self.person_ref, None, self.score, self.lead)

    def nobody(self, decision: Decision, reason: Rejection) -> Verdict:
        """Return that nobody is named, with the leader's numbers."""
        return Verdict(decision, None, reason, self.score, self.lead)


def _first(now: _Standing, options: VoteOptions) -> Verdict:
    """Decide with the plain bars."""
    if not now.enough:
        return now.nobody(Decision.UNDECIDED, Rejection.TOO_FEW_VIEWS)
    if now.passes(now.threshold, options.margin):
        return now.named()
    if now.score is not None and now.score >= now.threshold:
        return now.nobody(Decision.UNDECIDED, now.doubt)
    reason = Rejection.EMPTY_GALLERY if now.score is None else Rejection.BELOW_THRESHOLD
    return now.nobody(Decision.UNKNOWN if now.enough_for_unknown else Decision.UNDECIDED, reason)


def _revised(now: _Standing, options: VoteOptions, current: Verdict) -> Verdict:
    """Keep `current` while its lower bars hold, change it only over the higher ones."""
    named = current.decision is Decision.NAMED
    gain = options.change_gain * (1.0 - now.threshold)
    slack = options.keep_slack * (1.0 - now.threshold)
    floor = now.threshold - slack if named else now.threshold + gain
    if named and now.person_ref == current.person_ref and now.passes(floor, options.margin / 2):
        return now.named()
    if not now.enough:
        return current
    if now.passes(now.threshold + gain, options.margin + gain):
        return now.named()
    if now.score is not None and now.score >= floor:
        return now.nobody(Decision.UNDECIDED, now.doubt)
    if not now.enough_for_unknown:
        return current
    reason = Rejection.EMPTY_GALLERY if now.score is None else Rejection.BELOW_THRESHOLD
    return now.nobody(Decision.UNKNOWN, reason)
