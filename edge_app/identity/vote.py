"""One decision a track: named, unknown, or not decided, with the reason.

The nearest registered person of one picture is not an identity. A track's views vote (`evidence`),
weighted by their quality; a name needs the threshold, a lead over the second best person and enough
views; "unknown" is a decision of its own that needs enough views below the threshold. What has been
decided stays unless the evidence turns clearly and for several views in a row, more of them with
every change, so that a track may correct itself but cannot flicker. A track that gives no identity
says why: the reason that rejected most of its views.

Nobody is in one picture twice. When two tracks of one camera are taken for the same person at the same
time, the one with the lower similarity is told to be ambiguous. After two tracks crossed, their views
so far may be each other's: they are dropped, and the decision stands until new ones have confirmed or
changed it.

An `Identity` is made when a decision is first made, when it changes, when a track has had no
decision for a while, and at its end if it then has something new to say.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_app.identity.evidence import Evidence, Verdict, VoteOptions
from edge_app.records import Decision, Identity, Rejection

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.identity.match import Matcher
    from edge_app.records import Embedding, Quality, TrackedFace

__all__ = ["IdentityStage", "VoteOptions"]

#: What a rival for the same name must be ahead by, as a share of what lies between the threshold and 1.
_RIVAL_LEAD = 0.05
#: Fastest look at a track that is decided, or hopeless.
_SOONEST_NS = 100_000_000


@dataclass(slots=True)
class _Track:
    """What is remembered of one track while it lasts."""

    evidence: Evidence
    first_seen_ns: int
    frame_index: int = 0
    face_px: float = 0.0
    quality: float = 0.0
    embedded: int = 0
    embedded_ns: int | None = None
    rejections: Counter[Rejection] = field(default_factory=Counter)
    current: Verdict | None = None
    told: tuple[Decision, str | None] | None = None
    pending: tuple[Decision, str | None] | None = None
    pending_views: int = 0
    revised: int = 0
    recheck: int = 0
    seen_ns: int = 0

    @property
    def decided(self) -> bool:
        """Whether somebody is named, or the track is known to be unknown."""
        return self.current is not None and self.current.decision is not Decision.UNDECIDED


class IdentityStage:
    """Votes on every track of every camera; one thread calls it.

    Args:
        matcher_provider: gives the matcher of the register as it is now (`LiveMatcher`). When it
            gives another one, the tracks' views are compared again: a removed person is no longer
            named from the next view on.
        options: see `VoteOptions`.
    """

    def __init__(
        self, matcher_provider: Callable[[], Matcher], *, options: VoteOptions | None = None
    ) -> None:
        self._matcher_provider = matcher_provider
        self._options = options or VoteOptions()
        self._tracks: dict[tuple[str, str], _Track] = {}
        self._frames: dict[str, tuple[int, int]] = {}

    def use_options(self, options: VoteOptions) -> None:
        """Decide by other options; tracks under way keep the evidence they have, as it was weighed."""
        self._options = options

    def wants_embedding(self, camera: str, track: str, quality: Quality, mono_ns: int) -> bool:
        """Return whether this view is worth the recogniser's time.

        Rejected views never are. New tracks and those whose decision is in doubt are looked at every time;
        tracks on which nobody is named up to ten times a second, because an unknown person is an alarm, and
        most come closer and are recognised then; the named every `reembed_ms`, or when the view is markedly
        better.
        """
        if quality.rejection is not None:
            return False
        state = self._tracks.get((camera, track))
        if state is None or state.embedded_ns is None or state.pending is not None or state.recheck > 0:
            return True
        options = self._options
        since = mono_ns - state.embedded_ns
        if state.current is None or state.current.decision is not Decision.NAMED:
            return since >= _SOONEST_NS or (not state.decided and state.embedded < 2 * options.window_views)
        if since >= options.reembed_ms * 1_000_000:
            return True
        better = quality.score > options.better_quality * state.evidence.best_weight
        return better and since >= _SOONEST_NS

    def view(
        self, camera: str, tracked: TrackedFace, embedding: Embedding | None, frame_index: int, mono_ns: int
    ) -> Identity | None:
        """Take in one view of a track; returns an identity if there is something new to say.

        Args:
            camera: which camera.
            tracked: the face, its track and its quality.
            embedding: None if the quality rejects the view, or nobody asked for it.
            frame_index: of the frame.
            mono_ns: when the frame was taken.

        Raises:
            GalleryError: another model made the embedding than the register's.
        """
        state = self._tracks.get((camera, tracked.track))
        if state is None:
            state = _Track(Evidence(self._options), first_seen_ns=mono_ns)
            self._tracks[camera, tracked.track] = state
        state.frame_index, state.face_px, state.seen_ns = frame_index, tracked.quality.face_px, mono_ns
        self._note_frame(camera, mono_ns)
        state.quality = max(state.quality, tracked.quality.score)
        if tracked.quality.rejection is not None:
            state.rejections[tracked.quality.rejection] += 1
        matcher = self._matcher_provider()
        if state.evidence.follow(matcher):
            self._reconsider(state, matcher)
        if embedding is not None and tracked.quality.rejection is None:
            weight = tracked.quality.score
            state.evidence.add(embedding, weight=weight, mono_ns=mono_ns, matcher=matcher)
            state.embedded += 1
            state.embedded_ns = mono_ns
            state.recheck = max(0, state.recheck - 1)
            self._vote(camera, state)
        return self._news(camera, tracked.track, state, mono_ns)

    def end(self, camera: str, track: str, mono_ns: int) -> Identity | None:
        """Forget a track; returns its last word if that is new, or if it never decided."""
        state = self._tracks.pop((camera, track), None)
        if state is None:
            return None
        last = state.current if state.decided else state.evidence.verdict(current=None, ended=True)
        state.current = last
        if last is not None and last.decision is not Decision.UNDECIDED and last.says == state.told:
            return None
        return self._identity(camera, track, state, mono_ns, final=True)

    def end_camera(self, camera: str, mono_ns: int) -> list[Identity]:
        """End all tracks of a camera that was lost; returns their last words."""
        tracks = [track for name, track in self._tracks if name == camera]
        words = [self.end(camera, track, mono_ns) for track in tracks]
        return [word for word in words if word is not None]

    def recheck(self, camera: str, track: str) -> None:
        """Begin the evidence of this track anew: it crossed another one, and may be swapped with it.

        What is decided stands until enough new views speak; they are all looked at until then.
        """
        state = self._tracks.get((camera, track))
        if state is not None:
            state.recheck = self._options.min_views
            state.evidence.forget()
            state.pending, state.pending_views = None, 0

    def current(self, camera: str, track: str) -> tuple[Decision, str | None]:
        """Return what the track is held to be now, for an annotated picture."""
        state = self._tracks.get((camera, track))
        if state is None or state.current is None:
            return Decision.UNDECIDED, None
        return state.current.says

    def _note_frame(self, camera: str, mono_ns: int) -> None:
        """Remember the times of the camera's present frame and of the one before."""
        before, now = self._frames.get(camera, (mono_ns, mono_ns))
        if mono_ns > now:
            self._frames[camera] = (now, mono_ns)
        elif camera not in self._frames:
            self._frames[camera] = (before, now)

    def _unless_beside(self, camera: str, state: _Track, says: Verdict) -> Verdict:
        """Return `says`, or that it is ambiguous: a track beside this one is that person, and more so."""
        if says.person_ref is None or says.score is None:
            return says
        since = self._frames[camera][0]
        lead = _RIVAL_LEAD * (1.0 - self._matcher_provider().threshold)
        for (where, _), rival in self._tracks.items():
            theirs = rival.current
            if where != camera or rival is state or rival.seen_ns < since:
                continue
            if theirs is None or theirs.person_ref != says.person_ref or theirs.score is None:
                continue
            if says.score <= theirs.score + lead:
                return Verdict(Decision.UNDECIDED, None, Rejection.AMBIGUOUS, says.score, says.margin)
            rival.current = Verdict(
                Decision.UNDECIDED, None, Rejection.AMBIGUOUS, theirs.score, theirs.margin
            )
            rival.revised += 1
            rival.pending, rival.pending_views = None, 0
        return says

    def _vote(self, camera: str, state: _Track) -> None:
        """Ask the evidence; a first decision holds at once, a change only with patience."""
        says = self._unless_beside(camera, state, state.evidence.verdict(current=state.current))
        if state.current is None or says.says == state.current.says or not (state.decided or state.revised):
            state.current = says
            state.pending, state.pending_views = None, 0
            return
        same = state.pending == says.says
        state.pending, state.pending_views = says.says, state.pending_views + 1 if same else 1
        options = self._options
        patience = min(options.change_patience << min(2 * state.revised, 16), options.max_patience)
        if state.pending_views >= patience:
            state.current = says
            state.revised += 1
            state.pending, state.pending_views = None, 0

    def _reconsider(self, state: _Track, matcher: Matcher) -> None:
        """The register changed: a name that has gone is dropped at once, the rest waits for views."""
        named = state.current is not None and state.current.person_ref
        if named and named not in matcher.refs:
            state.current = state.evidence.verdict(current=None)
            state.revised += 1
            state.pending, state.pending_views = None, 0

    def _news(self, camera: str, track: str, state: _Track, mono_ns: int) -> Identity | None:
        says = (Decision.UNDECIDED, None) if state.current is None else state.current.says
        if says == state.told:
            return None
        waited = mono_ns - state.first_seen_ns >= self._options.explain_after_s * 1e9
        if says[0] is Decision.UNDECIDED and state.told is None and not waited:
            return None
        return self._identity(camera, track, state, mono_ns, final=False)

    def _identity(self, camera: str, track: str, state: _Track, mono_ns: int, *, final: bool) -> Identity:
        matcher = self._matcher_provider()
        now = state.current or state.evidence.verdict(current=None)
        state.told = now.says
        reason = now.reason
        if now.decision is Decision.UNDECIDED and reason is Rejection.TOO_FEW_VIEWS:
            reason = _dominant(state)
        views = len(state.evidence)
        return Identity(
            camera=camera,
            track=track,
            decision=now.decision,
            person_ref=now.person_ref,
            reason=reason,
            score=now.score,
            threshold=matcher.bar_of(now.person_ref),
            margin=now.margin,
            quality=state.evidence.weight / views if views else state.quality,
            votes=views,
            face_px=state.face_px,
            frame_index=state.frame_index,
            first_seen_ns=state.first_seen_ns,
            mono_ns=mono_ns,
            gallery_version=matcher.version,
            revised=state.revised,
            final=final,
            template=state.evidence.template(),
        )


def _dominant(state: _Track) -> Rejection:
    """Return what kept the track from being decided: the commonest rejection, unless most were usable."""
    for reason, count in state.rejections.most_common(1):
        if count >= state.embedded:
            return reason
    return Rejection.TOO_FEW_VIEWS
